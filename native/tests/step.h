// Kills a forked child after exactly so many instructions: what a death between any two stores leaves.
#ifndef PHX_STEP_H
#define PHX_STEP_H

#include "sync_testing.h"

#include <errno.h>
#include <sys/ptrace.h>

// A sanitizer's bookkeeping is most of the instructions then, and tells nothing.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CAN_STEP false
#else
#define CAN_STEP true
#endif

// About how long one scenario may take; PHALANX_EVERY_STEP=1 takes every instruction instead, however long.
#define SCENARIO_NS ((int64_t)1000000000)

static long step_now;  // for the message of a check that fails
static const char *scenario_now;

typedef enum { STEP_DIED, STEP_DONE, STEP_REFUSED } step_end;

// Runs `work` in a child and kills it after `steps` instructions. Its slot is left to the caller.
static inline step_end step_and_kill(void (*work)(void *), void *argument, long steps, phx_slot_word *slot) {
    int status;
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) {
            _exit(7);
        }
        raise(SIGSTOP);
        work(argument);
        _exit(0);
    }
    *slot = phx_slot_of_last_fork();
    phx_slot_set_pid(*slot, pid);
    CHECK(waitpid(pid, &status, 0) == pid);
    if (WIFEXITED(status)) {
        phx_slot_end(*slot);
        return STEP_REFUSED;
    }
    for (long step = 0; step < steps; step++) {
        CHECK(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) == 0);
        CHECK(waitpid(pid, &status, 0) == pid);
        if (WIFEXITED(status)) {
            CHECK(WEXITSTATUS(status) == 0);
            return STEP_DONE;
        }
        CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
    }
    CHECK(kill(pid, SIGKILL) == 0);
    CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return STEP_DIED;
}

typedef struct {
    const char *name;
    void (*before)(void *);                // in the parent
    void (*work)(void *);                  // in the child
    void (*after)(void *, bool finished);  // in the parent: what must hold
} scenario;

static inline void tell_step(int number) {
    (void)number;
    fprintf(stderr, "%s, killed after %ld instructions\n", scenario_now, step_now);
}

// How far on the next death is: at random, the further the longer this has taken.
static inline long next_stride(int64_t began_ns) {
    if (getenv("PHALANX_EVERY_STEP") != NULL) {
        return 1;
    }
    return 1 + (long)(phx_random() % (uint64_t)(1 + 4 * ((phx_now_ns() - began_ns) / (SCENARIO_NS / 16))));
}

// The scenario with a death at one instruction after the other, at distances that keep it short, until it ends by itself.
static inline void every_step(const scenario *one, void *argument) {
    int64_t began_ns = phx_now_ns();
    long deaths = 0;
    signal(SIGABRT, tell_step);
    scenario_now = one->name;
    for (long steps = 1; CAN_STEP; steps += next_stride(began_ns)) {
        phx_slot_word slot;
        step_now = steps;
        one->before(argument);
        step_end end = step_and_kill(one->work, argument, steps, &slot);
        if (end == STEP_REFUSED) {
            fprintf(stderr, "%s: not run, ptrace is not allowed here\n", one->name);
            return;
        }
        if (deaths % 37 != 36) {  // of one in 37 nobody tells: it is found dead
            phx_slot_end(slot);
        }
        one->after(argument, end == STEP_DONE);
        phx_slot_end(slot);
        if (end == STEP_DONE) {
            break;
        }
        deaths++;
    }
    signal(SIGABRT, SIG_DFL);
    if (deaths > 0) {
        fprintf(stderr, "  %s: %ld deaths\n", one->name, deaths);
    }
}

#endif
