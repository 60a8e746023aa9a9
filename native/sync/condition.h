// A condition: seats for those who wait, called oldest first. README.md has the protocol.
//
// The user's own lock, held by whoever sits down or notifies, is the caller's business. A wait is: sit, release that
// lock, wait until it is over, leave, acquire that lock again.
#ifndef PHX_CONDITION_H
#define PHX_CONDITION_H

#include "../kill_point.h"
#include "wait.h"

#define PHX_CONDITION_SEATS 254  // so that a condition fills 2 KiB; more waiters stand
#define PHX_CONDITION_ALL UINT32_MAX

typedef struct {
    uint32_t word;    // 0 free; (the waiter's slot word << 1) | whether it has been notified
    uint32_t ticket;  // who sat down first has the smaller one; meaningful in a taken seat
} phx_seat;

typedef struct {
    uint32_t tickets;     // the next ticket
    uint32_t seats_used;  // no seat from here on was ever taken
    uint32_t rounds;      // how many notifies: those who stand park on it
    uint32_t standing;    // whether somebody may stand
    phx_seat seats[PHX_CONDITION_SEATS];
} phx_condition;

_Static_assert(sizeof(phx_condition) == 2048, "a layout that every process of the tree shares");

// One wait, the waiter's own.
typedef struct {
    phx_seat *seat;  // NULL for one who stands
    uint32_t round;  // of one who stands: which round it waits to pass
} phx_place;

// With the user's lock held.
void phx_condition_sit(phx_condition *condition, phx_slot_word self, phx_place *place);
// Notifies up to `count` of those who sat down before, and all who stand. How many of them sat. With the lock held.
uint32_t phx_condition_notify(phx_condition *condition, phx_slot_word self, uint32_t count);

// Without the lock. PHX_OK notified, PHX_TIMED_OUT, PHX_INTERRUPTED: run handlers and call again.
phx_status phx_condition_wait(phx_condition *condition, const phx_place *place, int64_t deadline_ns);
bool phx_condition_spin(phx_condition *condition, const phx_place *place, int64_t limit_ns);
// Ends every wait, however it went: whether it has been notified.
bool phx_condition_leave(phx_condition *condition, const phx_place *place);

// How many sit and have not been notified, dead ones too.
uint32_t phx_condition_waiting(const phx_condition *condition);

#endif
