#include "barrier.h"

#define GENERATIONS_REMEMBERED 64

uint64_t phx_barrier_bytes(uint32_t parties) { return sizeof(phx_barrier) + sizeof(uint32_t) * (uint64_t)parties; }

void phx_barrier_init(phx_barrier *barrier, uint32_t parties) {
    barrier->parties = parties;
    barrier->state = PHX_BARRIER_FILLING;
}

// -- what changes the state, under the guard -------------------------------------------------------------------------

// Pairs: barrier-sleepers. A waiter says that it may sleep, then the kernel reads `turn`; here `turn` changes first.
static void wake(phx_barrier *barrier) {
    phx_kill_point("barrier.turned");
    if (phx_exchange32(&barrier->sleepers, 0) != 0) {
        phx_unpark(&barrier->turn, -1);
    }
}

static void turn(phx_barrier *barrier) { phx_add32(&barrier->turn, 1); }

// [break] Sticky: this meeting and all that come find it broken, until a reset.
static void break_now(phx_barrier *barrier) {
    phx_store32(&barrier->state, PHX_BARRIER_BROKEN);
    turn(barrier);
}

// [end] This meeting has ended, the next begins with empty seats.
static void end_meeting(phx_barrier *barrier, bool broken) {
    for (uint32_t i = 0; i < barrier->parties; i++) {
        barrier->seats[i] = 0;
    }
    phx_store32(&barrier->arrived, 0);
    barrier->actor = 0;
    barrier->broken_generations = barrier->broken_generations << 1 | broken;
    barrier->generation++;
    phx_store32(&barrier->state, PHX_BARRIER_FILLING);
    turn(barrier);
}

// [guard] A process that died inside took part in the meeting, so a broken barrier is the repair: what it left
// half-written (seats, `arrived`, a half-ended meeting) nobody reads again before a reset has written it anew.
static void enter_guard(phx_barrier *barrier, phx_slot_word self) {
    if (phx_section_lock(&barrier->guard, self) == PHX_OWNER_DIED) {
        break_now(barrier);
    }
    phx_kill_point("barrier.guarded");
}

static void leave_guard(phx_barrier *barrier) { phx_section_unlock(&barrier->guard); }

static void leave_guard_and_wake(phx_barrier *barrier) {
    leave_guard(barrier);
    wake(barrier);
}

// -- arriving --------------------------------------------------------------------------------------------------------

static uint32_t free_seat(const phx_barrier *barrier) {
    uint32_t likely = barrier->arrived;
    if (likely < barrier->parties && barrier->seats[likely] == 0) {
        return likely;
    }
    uint32_t seat = 0;  // somebody has given a seat up
    while (seat + 1 < barrier->parties && barrier->seats[seat] != 0) {
        seat++;
    }
    return seat;
}

static void sit(phx_barrier *barrier, phx_slot_word self, phx_meeting *meeting) {
    meeting->seat = free_seat(barrier);
    barrier->seats[meeting->seat] = self;
    phx_store32(&barrier->arrived, barrier->arrived + 1);
    phx_kill_point("barrier.seated");
}

// The last to come ends the meeting, or makes the others wait for the action.
static void arrive(phx_barrier *barrier, phx_slot_word self, bool has_action, phx_meeting *meeting) {
    sit(barrier, self, meeting);
    if (barrier->arrived < barrier->parties) {
        meeting->role = PHX_BARRIER_WAITS;
    } else if (has_action) {
        meeting->role = PHX_BARRIER_ACTS;
        barrier->actor = self;
        phx_store32(&barrier->state, PHX_BARRIER_ACTING);
    } else {
        meeting->role = PHX_BARRIER_PASSES;
        end_meeting(barrier, false);
    }
}

phx_status phx_barrier_enter(phx_barrier *barrier, phx_slot_word self, bool has_action, phx_meeting *meeting) {
    enter_guard(barrier, self);
    *meeting = (phx_meeting){barrier->generation, 0, PHX_BARRIER_OUTSIDE};
    uint32_t state = barrier->state;
    if (state == PHX_BARRIER_FILLING) {
        arrive(barrier, self, has_action, meeting);
    }
    leave_guard(barrier);
    if (meeting->role == PHX_BARRIER_PASSES) {
        wake(barrier);
    }
    return state == PHX_BARRIER_BROKEN ? PHX_BROKEN : PHX_OK;
}

// -- waiting ---------------------------------------------------------------------------------------------------------

// How a meeting has ended: PHX_OK, PHX_BROKEN, or PHX_TIMED_OUT: it has not. Under the guard.
static phx_status outcome(const phx_barrier *barrier, const phx_meeting *meeting) {
    uint32_t ago = barrier->generation - meeting->generation;
    if (ago == 0) {
        return barrier->state == PHX_BARRIER_BROKEN ? PHX_BROKEN : PHX_TIMED_OUT;
    }
    if (ago > GENERATIONS_REMEMBERED) {
        return PHX_BROKEN;  // nobody knows any more
    }
    return (barrier->broken_generations >> (ago - 1) & 1) != 0 ? PHX_BROKEN : PHX_OK;
}

// [check] Who must be alive for this meeting to end: the one who acts, or the next who sits. Each waiter checks its
// next one, so every dead one is found by the living one before it. 0: nobody but living threads of this process.
static phx_slot_word whom_to_check(const phx_barrier *barrier, const phx_meeting *meeting, phx_slot_word self) {
    if (barrier->state == PHX_BARRIER_ACTING) {
        return barrier->actor == self ? 0 : barrier->actor;
    }
    for (uint32_t step = 1; step < barrier->parties; step++) {
        uint32_t seat = (meeting->seat + step) % barrier->parties;
        if (barrier->seats[seat] != 0 && barrier->seats[seat] != self) {
            return barrier->seats[seat];
        }
    }
    return 0;
}

// Breaks the meeting unless it has ended meanwhile.
static phx_status break_meeting(phx_barrier *barrier, phx_slot_word self, const phx_meeting *meeting) {
    enter_guard(barrier, self);
    phx_status status = outcome(barrier, meeting);
    if (status != PHX_TIMED_OUT) {
        leave_guard(barrier);
        return status;
    }
    break_now(barrier);
    leave_guard_and_wake(barrier);
    return PHX_BROKEN;
}

// One look round: how the meeting has ended, or PHX_TIMED_OUT. Breaks it when the deadline has passed, or somebody died.
static phx_status look(phx_barrier *barrier, phx_slot_word self, const phx_meeting *meeting, int64_t deadline_ns) {
    enter_guard(barrier, self);
    phx_status status = outcome(barrier, meeting);
    bool acting = barrier->state == PHX_BARRIER_ACTING;
    phx_slot_word other = status == PHX_TIMED_OUT ? whom_to_check(barrier, meeting, self) : 0;
    leave_guard(barrier);
    if (status != PHX_TIMED_OUT) {
        return status;
    }
    // All have come before the deadline once somebody acts, so then it has no more say.
    if ((!acting && phx_has_passed(deadline_ns)) || (other != 0 && !phx_slot_is_alive(other))) {
        return break_meeting(barrier, self, meeting);
    }
    return PHX_TIMED_OUT;
}

static bool spin(phx_barrier *barrier, uint32_t seen) {
    phx_spinner spinner = phx_spin_start(PHX_SPIN_LIMIT_NS);
    bool turned = false;
    while (!turned && phx_spin_turn(&spinner)) {
        turned = phx_load32(&barrier->turn) != seen;
    }
    phx_spin_end(turned);
    return turned;
}

// `turn` is read before the look: what changes after it is seen by the kernel.
phx_status phx_barrier_wait(phx_barrier *barrier, phx_slot_word self, const phx_meeting *meeting, int64_t deadline_ns) {
    phx_status parked = PHX_OK;
    for (;;) {
        uint32_t seen = phx_load32(&barrier->turn);
        phx_status status = look(barrier, self, meeting, deadline_ns);
        if (status != PHX_TIMED_OUT) {
            return status;
        }
        if (parked == PHX_INTERRUPTED) {
            return parked;
        }
        if (parked == PHX_OK && spin(barrier, seen)) {
            continue;
        }
        phx_store32(&barrier->sleepers, 1);
        phx_fence();  // pairs: barrier-sleepers
        phx_kill_point("barrier.waiting");
        // Past the deadline only the action is waited for, one slice after the other.
        parked = phx_park_slice(&barrier->turn, seen, phx_has_passed(deadline_ns) ? PHX_FOREVER : deadline_ns);
    }
}

// -- leaving ---------------------------------------------------------------------------------------------------------

phx_status phx_barrier_release(phx_barrier *barrier, phx_slot_word self, const phx_meeting *meeting) {
    enter_guard(barrier, self);
    phx_status status = outcome(barrier, meeting);
    if (status == PHX_TIMED_OUT) {
        end_meeting(barrier, false);
        status = PHX_OK;
    }
    leave_guard_and_wake(barrier);
    return status;
}

void phx_barrier_leave(phx_barrier *barrier, phx_slot_word self, const phx_meeting *meeting) {
    enter_guard(barrier, self);
    if (meeting->role == PHX_BARRIER_WAITS && outcome(barrier, meeting) == PHX_TIMED_OUT &&
        barrier->state == PHX_BARRIER_FILLING) {
        barrier->seats[meeting->seat] = 0;
        phx_store32(&barrier->arrived, barrier->arrived - 1);
    }
    leave_guard(barrier);
}

void phx_barrier_abort(phx_barrier *barrier, phx_slot_word self) {
    enter_guard(barrier, self);
    break_now(barrier);
    leave_guard_and_wake(barrier);
}

void phx_barrier_reset(phx_barrier *barrier, phx_slot_word self) {
    enter_guard(barrier, self);
    if (barrier->state != PHX_BARRIER_FILLING || barrier->arrived > 0) {
        end_meeting(barrier, true);
    }
    leave_guard_and_wake(barrier);
}

bool phx_barrier_is_broken(const phx_barrier *barrier) { return phx_load32(&barrier->state) == PHX_BARRIER_BROKEN; }

uint32_t phx_barrier_waiting(const phx_barrier *barrier) {
    return phx_load32(&barrier->state) == PHX_BARRIER_BROKEN ? 0 : phx_load32(&barrier->arrived);
}
