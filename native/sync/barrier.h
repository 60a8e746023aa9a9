// A barrier: as many as it has parties meet there, again and again. README.md has the protocol.
#ifndef PHX_BARRIER_H
#define PHX_BARRIER_H

#include "../kill_point.h"
#include "section.h"
#include "wait.h"

typedef enum {
    PHX_BARRIER_FILLING,
    PHX_BARRIER_ACTING,  // all have come; one of them runs the action
    PHX_BARRIER_BROKEN,  // until a reset
} phx_barrier_state;

// All of it is read and written under the guard, but for `turn` and `sleepers`, and `parties`, which never changes.
typedef struct {
    phx_section guard;
    uint32_t turn;      // +1 with everything that a waiter must see; waiters park on it
    uint32_t sleepers;  // whether somebody may sleep
    uint32_t state;     // phx_barrier_state
    uint32_t parties;
    uint32_t arrived;             // seats taken
    uint32_t actor;               // slot word of who runs the action
    uint32_t generation;          // how many meetings have ended
    uint64_t broken_generations;  // bit k: the meeting `generation - 1 - k` ended broken
    uint32_t seats[];             // of this meeting: slot word, or 0; one for each party
} phx_barrier;

// One wait, the waiter's own.
typedef enum {
    PHX_BARRIER_WAITS,    // wait until the meeting has ended
    PHX_BARRIER_ACTS,     // the last to come: run the action, then phx_barrier_release or phx_barrier_abort
    PHX_BARRIER_PASSES,   // the last to come, and there is nothing to do: through
    PHX_BARRIER_OUTSIDE,  // the meeting is full and has not ended: wait, then enter again
} phx_barrier_role;

typedef struct {
    uint32_t generation, seat;  // `seat` is what a wait returns: 0 to parties - 1, each once
    phx_barrier_role role;
} phx_meeting;

uint64_t phx_barrier_bytes(uint32_t parties);
void phx_barrier_init(phx_barrier *barrier, uint32_t parties);

// PHX_OK, or PHX_BROKEN.
phx_status phx_barrier_enter(phx_barrier *barrier, phx_slot_word self, bool has_action, phx_meeting *meeting);
// PHX_OK, PHX_BROKEN (by whomever; the passing of the deadline breaks it too), or PHX_INTERRUPTED: call again.
phx_status phx_barrier_wait(phx_barrier *barrier, phx_slot_word self, const phx_meeting *meeting, int64_t deadline_ns);
// The action is done: PHX_OK, or PHX_BROKEN when the meeting was broken meanwhile.
phx_status phx_barrier_release(phx_barrier *barrier, phx_slot_word self, const phx_meeting *meeting);
// Gives a seat up in the middle of a wait (an exception came): the others go on waiting.
void phx_barrier_leave(phx_barrier *barrier, phx_slot_word self, const phx_meeting *meeting);
void phx_barrier_abort(phx_barrier *barrier, phx_slot_word self);
void phx_barrier_reset(phx_barrier *barrier, phx_slot_word self);

bool phx_barrier_is_broken(const phx_barrier *barrier);
uint32_t phx_barrier_waiting(const phx_barrier *barrier);

#endif
