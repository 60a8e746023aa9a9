#include "semaphore.h"

bool phx_semaphore_spin(phx_semaphore *semaphore, int64_t limit_ns) {
    phx_spinner spinner = phx_spin_start(limit_ns);
    while (phx_spin_turn(&spinner)) {
        if (phx_semaphore_try(semaphore)) {
            return true;
        }
    }
    return false;
}

// [chain] Like a try, by somebody who was woken for all who sleep: the bit stays set, and what is left wakes another.
static bool take_for_sleepers(phx_semaphore *semaphore) {
    uint32_t seen = phx_load32(&semaphore->word);
    while (seen > 1) {
        if (phx_swap_if32(&semaphore->word, &seen, (seen - 2) | 1)) {
            phx_kill_point("semaphore.acquired");
            if (seen >> 1 > 1) {
                phx_semaphore_wake(semaphore);
            }
            return true;
        }
    }
    return false;
}

static phx_status park(phx_semaphore *semaphore, int64_t deadline_ns) {
    bool woken = false;
    phx_status status = PHX_OK;
    for (;;) {
        if (woken ? take_for_sleepers(semaphore) : phx_semaphore_try(semaphore)) {
            return PHX_OK;
        }
        uint32_t none = 0;
        if (!phx_swap_if32(&semaphore->word, &none, 1) && none != 1) {
            continue;
        }
        if (status != PHX_OK) {
            return status;
        }
        phx_kill_point("semaphore.waiting");
        status = phx_park_slice(&semaphore->word, 1, deadline_ns);
        woken = true;
    }
}

phx_status phx_semaphore_acquire(phx_semaphore *semaphore, int64_t deadline_ns) {
    if (phx_semaphore_try(semaphore)) {
        return PHX_OK;
    }
    if (phx_has_passed(deadline_ns)) {
        return PHX_TIMED_OUT;
    }
    bool got = phx_semaphore_spin(semaphore, PHX_SPIN_LIMIT_NS);
    phx_spin_end(got);
    return got ? PHX_OK : park(semaphore, deadline_ns);
}

void phx_semaphore_wake(phx_semaphore *semaphore) { phx_unpark(&semaphore->word, 1); }
