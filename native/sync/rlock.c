#include "rlock.h"

bool phx_rlock_spin(phx_rlock *rlock, phx_slot_word self, int64_t limit_ns) {
    if (!phx_lock_spin(&rlock->lock, self, limit_ns)) {
        return false;
    }
    rlock->depth = 1;
    return true;
}

phx_status phx_rlock_acquire_slow(phx_rlock *rlock, phx_slot_word self, int64_t deadline_ns) {
    phx_status status = phx_lock_acquire(&rlock->lock, self, deadline_ns);
    if (status == PHX_OK) {
        rlock->depth = 1;
        phx_kill_point("rlock.acquired");
    }
    return status;
}

uint64_t phx_rlock_release_all(phx_rlock *rlock) {
    uint64_t depth = rlock->depth;
    rlock->depth = 0;
    phx_store_relaxed64(&rlock->lock.thread, 0);
    phx_lock_release(&rlock->lock);
    return depth;
}
