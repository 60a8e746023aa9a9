// How everything here waits: spin for about as long as one sleep and wake would cost, then park in slices.
#ifndef PHX_WAIT_H
#define PHX_WAIT_H

#include "../atomic.h"
#include "../memory/arena.h"
#include "../platform/platform.h"
#include "../status.h"

// The longest sleep without a look round: whether an owner has died, whether a wake-up was lost with its sender. Five
// looks a second cost no measurable CPU, and a waiter learns of a death in time.
#define PHX_OWNER_CHECK_NS ((int64_t)200000000)
// The longest spin: about the cost of one futex sleep and wake, so that a wait costs at most twice the best choice.
#define PHX_SPIN_LIMIT_NS 30000
// What is left of the spin after spinning has not paid for long.
#define PHX_SPIN_LEAST_NS 1000

// -- spinning --------------------------------------------------------------------------------------------------------

typedef struct {
    int64_t until_ns;
    uint32_t turns;
} phx_spinner;

// A spin of at most `limit_ns`; shorter when spinning has lately not paid, none where it cannot pay.
phx_spinner phx_spin_start(int64_t limit_ns);
// One pause; false when the time is over. Call it before each look.
bool phx_spin_turn(phx_spinner *spinner);
// Whether what was waited for came during the spin: what the next spins' length follows.
void phx_spin_end(bool paid);

// -- parking ---------------------------------------------------------------------------------------------------------

// Sleeps on `word` for one slice at most.
// PHX_OK: look again. PHX_TIMED_OUT: the deadline has passed. PHX_INTERRUPTED: a signal handler ran, or the slice is
// over (a signal may have come just before the sleep): go back to where handlers can run, then call again.
phx_status phx_park_slice(uint32_t *word, uint32_t expected, int64_t deadline_ns);

static inline bool phx_has_passed(int64_t deadline_ns) {
    return deadline_ns <= 0 || (deadline_ns != PHX_FOREVER && deadline_ns <= phx_now_ns());
}

// -- who waits -------------------------------------------------------------------------------------------------------

// This thread's number within its process, 0 before it has one. (pthread_self would be given to the next thread again,
// which would then own what the one before it left locked.)
extern _Thread_local uint32_t phx_thread_number __attribute__((tls_model("initial-exec"), visibility("hidden")));
uint32_t phx_thread_number_new(void);

// Names one thread of the tree for ever, never 0: its process's slot word, and a number that no later thread gets.
static inline uint64_t phx_thread_key(phx_slot_word self) {
    uint32_t number = phx_thread_number;
    return (uint64_t)self << 32 | (__builtin_expect(number != 0, 1) ? number : phx_thread_number_new());
}

#endif
