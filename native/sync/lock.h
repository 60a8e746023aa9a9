// The user's lock: one word, owned by a process of the tree, released by whoever wants to. README.md has the protocol.
#ifndef PHX_LOCK_H
#define PHX_LOCK_H

#include "../kill_point.h"
#include "wait.h"

typedef enum {
    PHX_DEATH_RAISES,     // every acquire of a dead owner's lock gives PHX_OWNER_DIED, until phx_lock_recover
    PHX_DEATH_GIVES,      // the next acquire takes it over
    PHX_DEATH_IS_IGNORED  // it stays locked until somebody releases it
} phx_on_owner_death;

typedef struct {
    uint32_t word;            // 0 free; (owner's slot word << 1) | whether somebody may sleep
    uint32_t on_owner_death;  // phx_on_owner_death; written before the lock is shared
    uint64_t thread;          // the owning thread's key. Only a thread's own key means something to it
} phx_lock;

// PHX_OK, PHX_TIMED_OUT, PHX_OWNER_DIED, or PHX_INTERRUPTED: run handlers and call again. `self` is phx_self().
phx_status phx_lock_acquire(phx_lock *lock, phx_slot_word self, int64_t deadline_ns);
// Spins with the caller's own locks held, for `limit_ns` at most; whether it got the lock.
bool phx_lock_spin(phx_lock *lock, phx_slot_word self, int64_t limit_ns);
// A dead owner's lock becomes free; of another lock nothing changes.
void phx_lock_recover(phx_lock *lock);
void phx_lock_wake(phx_lock *lock);

// [claim] One swap, from free to mine. `bit`: whether somebody else may sleep.
static inline bool phx_lock_claim(phx_lock *lock, phx_slot_word self, uint32_t bit) {
    uint32_t expected = 0;
    if (!phx_swap_if32(&lock->word, &expected, self << 1 | bit)) {
        return false;
    }
    phx_kill_point("lock.claimed");
    phx_store_relaxed64(&lock->thread, phx_thread_key(self));
    phx_kill_point("lock.acquired");
    return true;
}

static inline bool phx_lock_try(phx_lock *lock, phx_slot_word self) { return phx_lock_claim(lock, self, 0); }

// PHX_OK, or PHX_OVERFLOW when it was free.
static inline phx_status phx_lock_release(phx_lock *lock) {
    phx_kill_point("lock.releasing");
    uint32_t old = phx_exchange32(&lock->word, 0);  // [release]
    phx_kill_point("lock.released");
    if (__builtin_expect(old & 1, 0)) {
        phx_lock_wake(lock);
    }
    return __builtin_expect(old == 0, 0) ? PHX_OVERFLOW : PHX_OK;
}

static inline bool phx_lock_is_locked(const phx_lock *lock) { return phx_load32(&lock->word) != 0; }
static inline phx_slot_word phx_lock_owner(const phx_lock *lock) { return phx_load32(&lock->word) >> 1; }
// Whether this thread was the last to acquire it, and the lock has not been released since.
static inline bool phx_lock_is_mine(const phx_lock *lock, phx_slot_word self) {
    return phx_lock_owner(lock) == self && phx_load_relaxed64(&lock->thread) == phx_thread_key(self);
}

#endif
