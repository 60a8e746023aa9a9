// The user's recursive lock: a lock, the owning thread's key, and how many times it has acquired.
#ifndef PHX_RLOCK_H
#define PHX_RLOCK_H

#include "lock.h"

typedef struct {
    phx_lock lock;
    uint64_t depth;  // only the owning thread reads or writes it
} phx_rlock;

phx_status phx_rlock_acquire_slow(phx_rlock *rlock, phx_slot_word self, int64_t deadline_ns);
bool phx_rlock_spin(phx_rlock *rlock, phx_slot_word self, int64_t limit_ns);
// Gives it up however deep, and back again after a wait; the depth to go back to.
uint64_t phx_rlock_release_all(phx_rlock *rlock);

// A key names one thread for ever, and only its thread writes it: equal means mine, whatever the word says meanwhile.
static inline bool phx_rlock_is_mine(const phx_rlock *rlock, phx_slot_word self) {
    return phx_load_relaxed64(&rlock->lock.thread) == phx_thread_key(self);
}

static inline bool phx_rlock_try(phx_rlock *rlock, phx_slot_word self) {
    if (phx_load_relaxed32(&rlock->lock.word) == 0) {
        if (!phx_lock_try(&rlock->lock, self)) {
            return false;
        }
        rlock->depth = 1;
        phx_kill_point("rlock.acquired");
        return true;
    }
    if (!phx_rlock_is_mine(rlock, self)) {
        return false;
    }
    rlock->depth++;
    return true;
}

static inline phx_status phx_rlock_acquire(phx_rlock *rlock, phx_slot_word self, int64_t deadline_ns) {
    return phx_rlock_try(rlock, self) ? PHX_OK : phx_rlock_acquire_slow(rlock, self, deadline_ns);
}

// PHX_OK, or PHX_NOT_OWNER.
static inline phx_status phx_rlock_release(phx_rlock *rlock, phx_slot_word self) {
    if (!phx_rlock_is_mine(rlock, self)) {
        return PHX_NOT_OWNER;
    }
    if (--rlock->depth == 0) {
        phx_store_relaxed64(&rlock->lock.thread, 0);
        phx_kill_point("rlock.releasing");
        return phx_lock_release(&rlock->lock);
    }
    return PHX_OK;
}

#endif
