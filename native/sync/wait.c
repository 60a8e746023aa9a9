#include "wait.h"

// How long to spin at most, of this process alone. Races only make it a little wrong.
static uint32_t budget_ns = PHX_SPIN_LIMIT_NS;

#define TURNS_BETWEEN_CLOCKS 16
#define SPINS_BETWEEN_PROBES 16  // the full spin is then a sixteenth of the cost of the sleeps between

phx_spinner phx_spin_start(int64_t limit_ns) {
    if (!phx_may_spin()) {
        return (phx_spinner){0, 0};
    }
    int64_t budget = phx_load_relaxed32(&budget_ns);
    return (phx_spinner){phx_now_ns() + (limit_ns < budget ? limit_ns : budget), 1};
}

bool phx_spin_turn(phx_spinner *spinner) {
    if (spinner->turns == 0) {
        return false;
    }
    phx_relax();
    if (++spinner->turns % TURNS_BETWEEN_CLOCKS == 0) {
        return phx_now_ns() < spinner->until_ns;
    }
    return true;
}

// Half as long after each spin in vain, down to a least one that costs next to nothing. That one would never learn that
// waits have become short again, if they are longer than itself: so now and then a spin has its full length.
void phx_spin_end(bool paid) {
    static uint32_t in_vain;
    uint32_t next = PHX_SPIN_LIMIT_NS;
    if (!paid && phx_add32(&in_vain, 1) % SPINS_BETWEEN_PROBES != 0) {
        next = phx_load_relaxed32(&budget_ns) / 2;
    }
    phx_store_relaxed32(&budget_ns, next > PHX_SPIN_LEAST_NS ? next : PHX_SPIN_LEAST_NS);
}

phx_status phx_park_slice(uint32_t *word, uint32_t expected, int64_t deadline_ns) {
    if (deadline_ns <= 0) {
        return PHX_TIMED_OUT;
    }
    int64_t slice_end = phx_now_ns() + PHX_OWNER_CHECK_NS;
    bool last = deadline_ns <= slice_end;
    switch (phx_park(word, expected, last ? deadline_ns : slice_end)) {
    case PHX_PARK_TIMED_OUT: return last ? PHX_TIMED_OUT : PHX_INTERRUPTED;
    case PHX_PARK_INTERRUPTED: return PHX_INTERRUPTED;
    case PHX_PARK_WOKEN: break;
    }
    return PHX_OK;
}

_Thread_local uint32_t phx_thread_number __attribute__((tls_model("initial-exec")));

uint32_t phx_thread_number_new(void) {
    static uint32_t last;
    return phx_thread_number = phx_add32(&last, 1) + 1;
}
