#include "event.h"

void phx_event_set(phx_event *event) {
    uint32_t seen = phx_load32(&event->word);
    do {
        if ((seen & PHX_EVENT_SET) != 0) {
            return;
        }
    } while (!phx_swap_if32(&event->word, &seen, (seen & ~3u) + PHX_EVENT_ONE_MORE + PHX_EVENT_SET));
    phx_kill_point("event.set");
    if ((seen & PHX_EVENT_SLEEPERS) != 0) {
        phx_unpark(&event->word, -1);
    }
}

void phx_event_clear(phx_event *event) { phx_and32(&event->word, ~PHX_EVENT_SET); }

static bool has_happened(uint32_t word, uint32_t mark) { return (word & PHX_EVENT_SET) != 0 || word >> 2 != mark; }

bool phx_event_spin(phx_event *event, uint32_t mark, int64_t limit_ns) {
    phx_spinner spinner = phx_spin_start(limit_ns);
    while (phx_spin_turn(&spinner)) {
        if (has_happened(phx_load32(&event->word), mark)) {
            return true;
        }
    }
    return false;
}

static phx_status park(phx_event *event, uint32_t mark, int64_t deadline_ns) {
    phx_status status = PHX_OK;
    for (;;) {
        uint32_t seen = phx_load32(&event->word);
        if (has_happened(seen, mark)) {
            return PHX_OK;
        }
        if (status != PHX_OK) {
            return status;
        }
        if ((seen & PHX_EVENT_SLEEPERS) == 0 && !phx_swap_if32(&event->word, &seen, seen | PHX_EVENT_SLEEPERS)) {
            continue;
        }
        phx_kill_point("event.waiting");
        status = phx_park_slice(&event->word, seen | PHX_EVENT_SLEEPERS, deadline_ns);
    }
}

phx_status phx_event_wait(phx_event *event, uint32_t mark, int64_t deadline_ns) {
    if (has_happened(phx_load32(&event->word), mark)) {
        return PHX_OK;
    }
    if (phx_has_passed(deadline_ns)) {
        return PHX_TIMED_OUT;
    }
    bool came = phx_event_spin(event, mark, PHX_SPIN_LIMIT_NS);
    phx_spin_end(came);
    return came ? PHX_OK : park(event, mark, deadline_ns);
}
