// A counting semaphore in one word. README.md has the protocol.
#ifndef PHX_SEMAPHORE_H
#define PHX_SEMAPHORE_H

#include "../kill_point.h"
#include "wait.h"

#define PHX_SEMAPHORE_MAX 0x7fffffffu  // the largest value: what the word has room for, and the system's own limit

typedef struct {
    uint32_t word;   // (value << 1) | whether somebody may sleep
    uint32_t bound;  // the largest value that a release may reach; written before the semaphore is shared
} phx_semaphore;

static inline void phx_semaphore_init(phx_semaphore *semaphore, uint32_t value, uint32_t bound) {
    semaphore->bound = bound;
    phx_store32(&semaphore->word, value << 1);
}

// PHX_OK, PHX_TIMED_OUT, or PHX_INTERRUPTED: run handlers and call again.
phx_status phx_semaphore_acquire(phx_semaphore *semaphore, int64_t deadline_ns);
bool phx_semaphore_spin(phx_semaphore *semaphore, int64_t limit_ns);
void phx_semaphore_wake(phx_semaphore *semaphore);

static inline uint32_t phx_semaphore_value(const phx_semaphore *semaphore) { return phx_load32(&semaphore->word) >> 1; }

// [take] One less, unless there is none.
static inline bool phx_semaphore_try(phx_semaphore *semaphore) {
    uint32_t seen = phx_load_relaxed32(&semaphore->word);
    while (seen > 1) {
        if (phx_swap_if32(&semaphore->word, &seen, seen - 2)) {
            phx_kill_point("semaphore.acquired");
            return true;
        }
    }
    return false;
}

// PHX_OK, or PHX_OVERFLOW: nothing has changed.
static inline phx_status phx_semaphore_release(phx_semaphore *semaphore) {
    uint32_t seen = phx_load_relaxed32(&semaphore->word);
    do {
        if (seen >> 1 >= semaphore->bound) {
            return PHX_OVERFLOW;
        }
    } while (!phx_swap_if32(&semaphore->word, &seen, (seen & ~1u) + 2));  // [give] the bit goes: one is woken for it
    phx_kill_point("semaphore.released");
    if (__builtin_expect(seen & 1, 0)) {
        phx_semaphore_wake(semaphore);
    }
    return PHX_OK;
}

#endif
