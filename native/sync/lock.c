#include "lock.h"

bool phx_lock_spin(phx_lock *lock, phx_slot_word self, int64_t limit_ns) {
    phx_spinner spinner = phx_spin_start(limit_ns);
    while (phx_spin_turn(&spinner)) {
        if (phx_load_relaxed32(&lock->word) == 0 && phx_lock_try(lock, self)) {
            return true;
        }
    }
    return false;
}

static bool spin(phx_lock *lock, phx_slot_word self) {
    bool got = phx_lock_spin(lock, self, PHX_SPIN_LIMIT_NS);
    phx_spin_end(got);
    return got;
}

// [check] What a lock that `seen` was read from means to somebody who wants it: PHX_OK taken over, PHX_OWNER_DIED, or
// PHX_TIMED_OUT: its owner lives.
static phx_status check_owner(phx_lock *lock, uint32_t seen, phx_slot_word self) {
    phx_slot_word owner = seen >> 1;
    if (lock->on_owner_death == PHX_DEATH_IS_IGNORED || owner == self || phx_slot_is_alive(owner)) {
        return PHX_TIMED_OUT;
    }
    if (lock->on_owner_death == PHX_DEATH_RAISES) {
        return phx_load32(&lock->word) >> 1 == owner ? PHX_OWNER_DIED : PHX_TIMED_OUT;
    }
    if (!phx_swap_if32(&lock->word, &seen, self << 1 | 1)) {
        return PHX_TIMED_OUT;
    }
    phx_store_relaxed64(&lock->thread, phx_thread_key(self));
    phx_kill_point("lock.taken_over");
    return PHX_OK;
}

// Sets the sleepers' bit; false when the word has changed under our hands.
static bool announce(phx_lock *lock, uint32_t *seen) {
    if ((*seen & 1) != 0) {
        return true;
    }
    if (!phx_swap_if32(&lock->word, seen, *seen | 1)) {
        return false;
    }
    *seen |= 1;
    return true;
}

// Somebody who was woken leaves only with the lock or with the sleepers' bit set: the wake-up was for all who sleep.
static phx_status park(phx_lock *lock, phx_slot_word self, int64_t deadline_ns) {
    uint32_t may_sleep = 0;
    phx_status status = PHX_OK;
    for (;;) {
        uint32_t seen = phx_load32(&lock->word);
        if (seen == 0) {
            if (phx_lock_claim(lock, self, may_sleep)) {
                return PHX_OK;
            }
            continue;
        }
        if (!announce(lock, &seen)) {
            continue;
        }
        phx_status owner = check_owner(lock, seen, self);
        if (owner != PHX_TIMED_OUT) {
            return owner;
        }
        if (status != PHX_OK) {
            return status;
        }
        phx_kill_point("lock.waiting");
        status = phx_park_slice(&lock->word, seen, deadline_ns);
        may_sleep = 1;
    }
}

// Nothing is announced: whoever does not wait needs no waking.
static phx_status look(phx_lock *lock, phx_slot_word self) {
    uint32_t seen = phx_load32(&lock->word);
    if (seen == 0) {
        return phx_lock_try(lock, self) ? PHX_OK : PHX_TIMED_OUT;
    }
    return check_owner(lock, seen, self);
}

phx_status phx_lock_acquire(phx_lock *lock, phx_slot_word self, int64_t deadline_ns) {
    if (phx_lock_try(lock, self)) {
        return PHX_OK;
    }
    if (phx_has_passed(deadline_ns)) {
        return look(lock, self);
    }
    return spin(lock, self) ? PHX_OK : park(lock, self, deadline_ns);
}

void phx_lock_recover(phx_lock *lock) {
    uint32_t seen = phx_load32(&lock->word);
    if (seen == 0 || phx_slot_is_alive(seen >> 1)) {
        return;
    }
    phx_kill_point("lock.recovering");
    // A swap, so that of two who recover one frees it: the other's would free the next owner's.
    while (seen != 0 && !phx_slot_is_alive(seen >> 1)) {
        if (phx_swap_if32(&lock->word, &seen, 0)) {
            phx_lock_wake(lock);
            return;
        }
    }
}

void phx_lock_wake(phx_lock *lock) { phx_unpark(&lock->word, 1); }
