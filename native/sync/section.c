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

phx_status phx_section_lock_slow(phx_section *section, phx_slot_word self) {
    for (int spin = 0; spin < SPINS && phx_may_spin(); spin++) {
        if (try_take(section, self << 1)) {
            return PHX_OK;
        }
        phx_relax();
    }
    // From here on the word is taken with the sleepers' bit set: there may be others, and a wake too many does no harm.
    while (!try_take(section, self << 1 | 1)) {
        uint32_t seen = phx_load_relaxed32(&section->word);
        if (seen == 0 || ((seen & 1) == 0 && !phx_swap_if32(&section->word, &seen, seen | 1))) {
            continue;
        }
        if (phx_park(&section->word, seen | 1, phx_now_ns() + PHX_OWNER_CHECK_NS) == PHX_PARK_TIMED_OUT &&
            try_inherit(section, seen | 1, self)) {
            return PHX_OWNER_DIED;
        }
    }
    return PHX_OK;
}
