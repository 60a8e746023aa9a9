#include "section.h"

#include "limits.h"

#define SPINS 100

void phx_section_wake(phx_section *section) { phx_unpark(&section->word, 1); }

static bool try_take(phx_section *section, uint32_t desired) {
    uint32_t expected = 0;
    return phx_load_relaxed32(&section->word) == 0 && phx_swap_if32(&section->word, &expected, desired);
}

// The lock is taken from a dead owner as it is taken when free, by one exchange: of several that find it dead, one wins.
static bool try_inherit(phx_section *section, uint32_t seen, phx_slot_word self) {
    return !phx_slot_is_alive(seen >> 1) && phx_swap_if32(&section->word, &seen, self << 1 | 1);
}

phx_status phx_section_spin(phx_section *section, phx_slot_word self) {
    for (int spin = 0; spin < SPINS && phx_may_spin(); spin++) {
        if (try_take(section, self << 1)) {
            return PHX_OK;
        }
        phx_relax();
    }
    return PHX_INTERRUPTED;
}

phx_status phx_section_sleep(phx_section *section, phx_slot_word self) {
    // The word is taken with the sleepers' bit set: there may be others, and a wake too many does no harm.
    while (!try_take(section, self << 1 | 1)) {
        uint32_t seen = phx_load_relaxed32(&section->word);
        if (seen == 0 || ((seen & 1) == 0 && !phx_swap_if32(&section->word, &seen, seen | 1))) {
            continue;
        }
        seen |= 1;
        bool ended = phx_slot_has_ended(seen >> 1);  // known without a system call, or without a sleep
        if (!ended && phx_park(&section->word, seen, phx_now_ns() + PHX_OWNER_CHECK_NS) == PHX_PARK_WOKEN) {
            continue;
        }
        // A signal looks at the owner too: signals that come faster than slices end would hide its death for ever.
        if (try_inherit(section, seen, self)) {
            return PHX_OWNER_DIED;
        }
        if (!ended) {
            return PHX_INTERRUPTED;
        }
    }
    return PHX_OK;
}

phx_status phx_section_lock_slow(phx_section *section, phx_slot_word self) {
    phx_status status = phx_section_spin(section, self);
    while (status == PHX_INTERRUPTED) {
        status = phx_section_sleep(section, self);
    }
    return status;
}

bool phx_section_inherit(phx_section *section, phx_slot_word dead, phx_slot_word self) {
    uint32_t seen = phx_load_relaxed32(&section->word);
    while (seen != 0 && seen >> 1 == dead) {
        if (phx_swap_if32(&section->word, &seen, self << 1 | 1)) {
            return true;
        }
    }
    return false;
}

// No process has the slot word 0, so the next to come finds a dead owner.
void phx_section_abandon(phx_section *section) {
    phx_exchange32(&section->word, 1);
    phx_section_wake(section);
}

bool phx_section_is_orphaned(const phx_section *section) {
    uint32_t seen = phx_load32(&section->word);
    return seen != 0 && !phx_slot_is_alive(seen >> 1);
}
