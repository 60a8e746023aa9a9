#include "condition.h"

#define NOTIFIED 1u

// -- sitting down ----------------------------------------------------------------------------------------------------

static uint32_t used(const phx_condition *condition) {
    uint32_t seats = phx_load32(&condition->seats_used);
    return seats < PHX_CONDITION_SEATS ? seats : PHX_CONDITION_SEATS;
}

// [sit] The ticket first, then the word: a taken seat has its ticket. The swap holds even if two broke the user's lock.
static bool take(phx_condition *condition, phx_seat *seat, phx_slot_word self, phx_place *place) {
    uint32_t seen = 0;
    if (phx_load_relaxed32(&seat->word) != 0) {
        return false;
    }
    phx_store_relaxed32(&seat->ticket, phx_load_relaxed32(&condition->tickets));
    if (!phx_swap_if32(&seat->word, &seen, self << 1)) {
        return false;
    }
    phx_add32(&condition->tickets, 1);
    *place = (phx_place){seat, 0};
    return true;
}

static bool take_any(phx_condition *condition, phx_slot_word self, phx_place *place) {
    uint32_t seats = used(condition);
    for (uint32_t i = 0; i < seats; i++) {
        if (take(condition, &condition->seats[i], self, place)) {
            return true;
        }
    }
    return false;
}

static bool take_unused(phx_condition *condition, phx_slot_word self, phx_place *place) {
    for (uint32_t i = used(condition); i < PHX_CONDITION_SEATS; i++) {
        phx_store32(&condition->seats_used, i + 1);
        if (take(condition, &condition->seats[i], self, place)) {
            return true;
        }
    }
    return false;
}

// Frees the seats of dead waiters; whether there were any.
static bool sweep(phx_condition *condition) {
    bool found = false;
    for (uint32_t i = 0; i < PHX_CONDITION_SEATS; i++) {
        uint32_t seen = phx_load32(&condition->seats[i].word);
        if (seen != 0 && !phx_slot_is_alive(seen >> 1)) {
            found |= phx_swap_if32(&condition->seats[i].word, &seen, 0);
        }
    }
    return found;
}

static void stand(phx_condition *condition, phx_place *place) {
    *place = (phx_place){NULL, phx_load32(&condition->rounds)};
    phx_store32(&condition->standing, 1);
}

void phx_condition_sit(phx_condition *condition, phx_slot_word self, phx_place *place) {
    bool sits = take_any(condition, self, place) || take_unused(condition, self, place) ||
                (sweep(condition) && take_any(condition, self, place));
    if (!sits) {
        stand(condition, place);
    }
    phx_kill_point("condition.seated");
}

// -- waiting ---------------------------------------------------------------------------------------------------------

static bool is_over(const phx_condition *condition, const phx_place *place) {
    return place->seat == NULL ? phx_load32(&condition->rounds) != place->round
                               : (phx_load32(&place->seat->word) & NOTIFIED) != 0;
}

bool phx_condition_spin(phx_condition *condition, const phx_place *place, int64_t limit_ns) {
    phx_spinner spinner = phx_spin_start(limit_ns);
    while (phx_spin_turn(&spinner)) {
        if (is_over(condition, place)) {
            return true;
        }
    }
    return false;
}

static phx_status park(phx_condition *condition, const phx_place *place, int64_t deadline_ns) {
    if (place->seat == NULL) {
        return phx_park_slice(&condition->rounds, place->round, deadline_ns);
    }
    uint32_t seen = phx_load32(&place->seat->word);
    return (seen & NOTIFIED) != 0 ? PHX_OK : phx_park_slice(&place->seat->word, seen, deadline_ns);
}

phx_status phx_condition_wait(phx_condition *condition, const phx_place *place, int64_t deadline_ns) {
    if (phx_has_passed(deadline_ns)) {
        return is_over(condition, place) ? PHX_OK : PHX_TIMED_OUT;
    }
    bool came = phx_condition_spin(condition, place, PHX_SPIN_LIMIT_NS);
    phx_spin_end(came);
    phx_status status = PHX_OK;
    while (!is_over(condition, place)) {
        if (status != PHX_OK) {
            return status;
        }
        phx_kill_point("condition.waiting");
        status = park(condition, place, deadline_ns);
    }
    phx_kill_point("condition.woken");
    return PHX_OK;
}

bool phx_condition_leave(phx_condition *condition, const phx_place *place) {
    if (place->seat == NULL) {
        return is_over(condition, place);
    }
    return (phx_exchange32(&place->seat->word, 0) & NOTIFIED) != 0;  // [leave] notified before this, or never
}

// -- notifying -------------------------------------------------------------------------------------------------------

static bool is_waiting(uint32_t word) { return word != 0 && (word & NOTIFIED) == 0; }

// [call] Notifies who sits on a seat; false when nobody does, or a dead process. A sleeper that was woken was alive;
// of one that did not sleep (it spins, runs a handler, or is dead) its process tells.
static bool call(phx_seat *seat, phx_slot_word self) {
    uint32_t seen = phx_load32(&seat->word);
    if (!is_waiting(seen) || !phx_swap_if32(&seat->word, &seen, seen | NOTIFIED)) {
        return false;
    }
    phx_kill_point("condition.notified");
    if (phx_unpark(&seat->word, 1) > 0 || seen >> 1 == self || phx_slot_is_alive(seen >> 1)) {
        return true;
    }
    seen |= NOTIFIED;
    phx_swap_if32(&seat->word, &seen, 0);
    return false;
}

static phx_seat *oldest(phx_condition *condition) {
    phx_seat *found = NULL;
    uint32_t seats = used(condition);
    for (uint32_t i = 0; i < seats; i++) {
        phx_seat *seat = &condition->seats[i];
        if (!is_waiting(phx_load32(&seat->word))) {
            continue;
        }
        if (found == NULL || (int32_t)(phx_load_relaxed32(&seat->ticket) - phx_load_relaxed32(&found->ticket)) < 0) {
            found = seat;
        }
    }
    return found;
}

static uint32_t call_all(phx_condition *condition, phx_slot_word self) {
    uint32_t called = 0, seats = used(condition);
    for (uint32_t i = 0; i < seats; i++) {
        called += call(&condition->seats[i], self);
    }
    return called;
}

static uint32_t call_oldest(phx_condition *condition, phx_slot_word self, uint32_t count) {
    uint32_t called = 0;
    phx_seat *seat;
    while (called < count && (seat = oldest(condition)) != NULL) {
        called += call(seat, self);
    }
    return called;
}

// Those who stand are all told: they cannot be counted, so they cannot be told one by one.
static void call_standing(phx_condition *condition) {
    phx_add32(&condition->rounds, 1);
    if (phx_load32(&condition->standing) != 0 && phx_exchange32(&condition->standing, 0) != 0) {
        phx_unpark(&condition->rounds, -1);
    }
}

uint32_t phx_condition_notify(phx_condition *condition, phx_slot_word self, uint32_t count) {
    if (count == 0) {
        return 0;
    }
    call_standing(condition);
    return count >= PHX_CONDITION_SEATS ? call_all(condition, self) : call_oldest(condition, self, count);
}

uint32_t phx_condition_waiting(const phx_condition *condition) {
    uint32_t waiting = 0, seats = used(condition);
    for (uint32_t i = 0; i < seats; i++) {
        waiting += is_waiting(phx_load32(&condition->seats[i].word));
    }
    return waiting;
}
