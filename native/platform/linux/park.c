// Parking on a word: futexes of the shared kind (the private kind would wake nobody in another process).
#include "../platform.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int64_t phx_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

phx_park_status phx_park(uint32_t *word, uint32_t expected, int64_t deadline_ns) {
    struct timespec until, *limit = NULL;
    if (deadline_ns != PHX_FOREVER) {
        until.tv_sec = deadline_ns / 1000000000;
        until.tv_nsec = deadline_ns % 1000000000;
        limit = &until;
    }
    // FUTEX_WAIT_BITSET takes an absolute time of the monotonic clock, so a signal cannot lengthen the wait.
    if (syscall(SYS_futex, word, FUTEX_WAIT_BITSET, expected, limit, NULL, FUTEX_BITSET_MATCH_ANY) == 0) {
        return PHX_PARK_WOKEN;
    }
    switch (errno) {
    case ETIMEDOUT: return PHX_PARK_TIMED_OUT;
    case EINTR: return PHX_PARK_INTERRUPTED;
    default:  // EAGAIN: the word has changed
        return PHX_PARK_WOKEN;
    }
}

int phx_unpark(uint32_t *word, int count) {
    long woken = syscall(SYS_futex, word, FUTEX_WAKE, count < 0 ? INT_MAX : count, NULL, NULL, 0);
    return woken > 0 ? (int)woken : 0;
}
