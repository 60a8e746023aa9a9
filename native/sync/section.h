// A section lock: the robust lock of the core's own critical sections. One word, owned by a process of the tree.
//
// It is not for users: who waits for it waits without running signal handlers, because no owner keeps it for long, and
// no owner runs Python inside. When the owner has died, the next to come gets PHX_OWNER_DIED and holds the lock: it
// must repair what the lock guards, then go on.
#ifndef PHX_SECTION_H
#define PHX_SECTION_H

#include "../atomic.h"
#include "../memory/arena.h"

typedef struct {
    uint32_t word;  // 0 free; (owner's slot word << 1) | whether somebody may sleep
} phx_section;

phx_status phx_section_lock_slow(phx_section *section, phx_slot_word self);
// For who wants to do something else between (let go of the interpreter, run signal handlers). Both return PHX_OK or
// PHX_OWNER_DIED with the lock, PHX_INTERRUPTED without it: after a short spin; after a slice of sleep, or a signal.
phx_status phx_section_spin(phx_section *section, phx_slot_word self);
phx_status phx_section_sleep(phx_section *section, phx_slot_word self);
// Takes the lock from `dead`, which the caller knows to have ended: then it must repair. False if `dead` has it not.
bool phx_section_inherit(phx_section *section, phx_slot_word dead, phx_slot_word self);
// Lets go of a lock whose guarded data could not be repaired: the next to come gets PHX_OWNER_DIED again.
void phx_section_abandon(phx_section *section);
// Whether its holder has died, so that the next to come will repair.
bool phx_section_is_orphaned(const phx_section *section);
void phx_section_wake(phx_section *section);

static inline bool phx_section_try(phx_section *section, phx_slot_word self) {
    uint32_t expected = 0;
    return __builtin_expect(phx_swap_if32(&section->word, &expected, self << 1), true);
}

// PHX_OK or PHX_OWNER_DIED; in both cases the caller holds the lock. `self` is phx_self().
static inline phx_status phx_section_lock(phx_section *section, phx_slot_word self) {
    return phx_section_try(section, self) ? PHX_OK : phx_section_lock_slow(section, self);
}

static inline void phx_section_unlock(phx_section *section) {
    if (__builtin_expect(phx_exchange32(&section->word, 0) & 1, false)) {
        phx_section_wake(section);
    }
}

#endif
