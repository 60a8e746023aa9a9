// What the tests of native/sync share: an arena block, children that may die, threads, and waits that go on.
#ifndef PHX_SYNC_TESTING_H
#define PHX_SYNC_TESTING_H

#include "../kill_point.h"
#include "../memory/arena.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                                    \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

#define COUNT(array) (sizeof(array) / sizeof *(array))

// Waits again for as long as only a signal or the end of a slice has interrupted.
#define UNTIL_DECIDED(status, call)                                                                                    \
    do {                                                                                                               \
        status = (call);                                                                                               \
    } while (status == PHX_INTERRUPTED)

static inline int64_t after_ms(int64_t ms) { return phx_now_ns() + ms * 1000000; }

// A zeroed block that stays: a driver is short-lived.
static inline void *shared(uint64_t bytes) {
    phx_hold hold;
    CHECK(phx_arena_open() == PHX_OK);
    CHECK(phx_block_new(bytes, true, &hold) == PHX_OK);
    return hold.address;
}

typedef struct {
    pid_t pid;
    phx_slot_word slot;
} child;

// A forked child that runs `work` and ends with status 0, or is killed at `kill_at` (NULL: nowhere).
static inline child start(void (*work)(void *), void *argument, const char *kill_at) {
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        phx_kill_points_set(kill_at);
        work(argument);
        _exit(0);
    }
    phx_slot_word slot = phx_slot_of_last_fork();
    phx_slot_set_pid(slot, pid);
    return (child){pid, slot};
}

// Waits for its end, but leaves its slot to whoever finds it dead, as when somebody else's child has died.
static inline void expect_end(child one, bool killed) {
    int status;
    CHECK(waitpid(one.pid, &status, 0) == one.pid);
    CHECK(killed ? WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL : WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

// Its death is seen while it is still a zombie.
static inline void expect_zombie(child one) {
    siginfo_t info;
    CHECK(waitid(P_PID, (id_t)one.pid, &info, WEXITED | WNOWAIT) == 0);
}

static inline void run_threads(int count, void *(*work)(void *), void *argument) {
    pthread_t threads[16];
    for (int i = 0; i < count; i++) {
        CHECK(pthread_create(&threads[i], NULL, work, argument) == 0);
    }
    for (int i = 0; i < count; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
}

#endif
