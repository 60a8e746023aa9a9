// The arena: blocks, leases, slots; deaths at every step and at every instruction; forks seen and unseen.
#define _GNU_SOURCE
#include "step.h"

#include "../atomic.h"
#include "../sync/section.h"

#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>

typedef struct {
    uint64_t blocks, leases, slots;
} counts;

static counts count(void) {
    phx_arena_figures figures;
    phx_arena_stats(&figures);
    return (counts){figures.blocks, figures.leases, figures.slots};
}

static void expect_as(counts before) {
    counts now = count();
    CHECK(now.blocks == before.blocks && now.leases == before.leases && now.slots == before.slots);
}

static phx_hold made(uint64_t bytes) {
    phx_hold hold;
    CHECK(phx_block_new(bytes, false, &hold) == PHX_OK);
    return hold;
}

// -- blocks do not overlap ---------------------------------------------------------------------------------------------

enum { NEIGHBOURS = 24 };

static const uint64_t sizes[] = {64, 5000, 65536, 200000, (uint64_t)2 << 20};

typedef struct {
    uint64_t bytes;
    counts before;
    phx_hold kept;
    phx_hold channel;
    phx_handle handle;
} world;

static void mark(const phx_hold *hold, unsigned char with) {
    memset(hold->address, with, 64);
    ((unsigned char *)hold->address)[hold->bytes - 1] = with;
}

static void expect_mark(const phx_hold *hold, unsigned char with) {
    const unsigned char *at = hold->address;
    CHECK(at[0] == with && at[63] == with && at[hold->bytes - 1] == with);
}

// Allocates as many as cross the ends of runs and units, and looks whether one is inside another.
static void expect_apart(uint64_t bytes) {
    phx_hold holds[NEIGHBOURS];
    for (unsigned char i = 0; i < NEIGHBOURS; i++) {
        holds[i] = made(bytes);
        mark(&holds[i], (unsigned char)(i + 1));
    }
    for (unsigned char i = 0; i < NEIGHBOURS; i++) {
        expect_mark(&holds[i], (unsigned char)(i + 1));
        phx_block_release(&holds[i]);
    }
}

static void test_sizes(void) {
    counts before = count();
    for (size_t i = 0; i < COUNT(sizes); i++) {
        expect_apart(sizes[i]);
        phx_hold zeroed;
        CHECK(phx_block_new(sizes[i], true, &zeroed) == PHX_OK);
        for (uint64_t byte = 0; byte < sizes[i]; byte++) {
            CHECK(((char *)zeroed.address)[byte] == 0);
        }
        CHECK((uintptr_t)zeroed.address % (sizes[i] < 4096 ? 64 : 4096) == 0);
        phx_block_release(&zeroed);
    }
    phx_hold none;
    CHECK(phx_block_new(0, false, &none) == PHX_NO_MEMORY);
    CHECK(phx_block_new((uint64_t)1 << 41, false, &none) == PHX_NO_MEMORY);
    CHECK(phx_block_new(UINT64_MAX, false, &none) == PHX_NO_MEMORY);
    expect_as(before);
}

// -- deaths ------------------------------------------------------------------------------------------------------------

static void before_block(void *argument) {
    world *of = argument;
    of->before = count();
    of->kept = made(of->bytes);
    mark(&of->kept, 0xee);
}

// Twice the pieces of a unit at most: the second or third is carved anew, at the end of a run or a unit.
static void make_and_drop(void *argument) {
    world *of = argument;
    phx_hold first = made(of->bytes), second = made(of->bytes);
    phx_block_release(&first);
    phx_block_release(&second);
    phx_block_release(&of->kept);
}

static void after_block(void *argument, bool finished) {
    (void)finished;
    world *of = argument;
    phx_arena_sweep();
    counts now = count();
    CHECK(now.blocks == of->before.blocks + 1 && now.leases == of->before.leases + 1);
    expect_apart(of->bytes);
    expect_mark(&of->kept, 0xee);
    phx_block_release(&of->kept);
    expect_as(of->before);
}

static void before_handle(void *argument) {
    world *of = argument;
    of->before = count();
    of->kept = made(64);
    of->channel = made(64);
    memset(of->channel.address, 0, 64);
}

// The life of a handle through a channel, whose first word counts what was published.
static void lend_and_take(void *argument) {
    world *of = argument;
    phx_handle handle;
    phx_hold taken;
    CHECK(phx_lease_lend(&of->kept, &handle) == PHX_OK);
    phx_leases_address(&handle, 1, of->channel.block, 0);
    phx_store64(of->channel.address, 1);
    phx_leases_sent(&handle, 1);
    CHECK(phx_leases_claim(&handle, 1) == 1);
    CHECK(phx_lease_take(handle, &taken) == PHX_OK);
    phx_block_release(&taken);
}

static void after_handle(void *argument, bool finished) {
    (void)finished;
    world *of = argument;
    phx_arena_sweep();
    phx_block_release(&of->kept);
    counts now = count();
    CHECK(now.blocks >= of->before.blocks + 1 && now.blocks <= of->before.blocks + 2);  // the channel may have it
    phx_block_release(&of->channel);
    expect_as(of->before);
}

static void hold_and_fork(void *argument) {
    world *of = argument;
    phx_hold again;
    CHECK(phx_block_hold_again(&of->kept, &again) == PHX_OK);
    pid_t pid = fork();
    if (pid == 0) {
        for (;;) {
            pause();  // until the test kills it, whoever has died
        }
    }
    phx_slot_set_pid(phx_slot_of_last_fork(), pid);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    phx_slot_end(phx_slot_of_last_fork());
    phx_block_release(&again);
}

static void test_every_instruction(void) {
    for (size_t i = 0; i < COUNT(sizes); i++) {
        world of = {.bytes = sizes[i]};
        every_step(&(scenario){"new and release", before_block, make_and_drop, after_block}, &of);
    }
    world of = {0};
    every_step(&(scenario){"a handle's life", before_handle, lend_and_take, after_handle}, &of);
}

static const char *const block_points[] = {"arena.locked",    "arena.block_taken", "arena.leased",     "arena.moving",
                                           "arena.releasing", "arena.releasing:2", "arena.releasing:3"};
static const char *const handle_points[] = {"arena.moving", "arena.moving:2", "arena.moving:3", "arena.releasing"};

static void test_kill_points(void) {
    for (size_t i = 0; i < COUNT(block_points); i++) {
        world of = {.bytes = 64};
        before_block(&of);
        expect_end(start(make_and_drop, &of, block_points[i]), true);
        after_block(&of, false);
    }
    for (size_t i = 0; i < COUNT(handle_points); i++) {
        world of = {0};
        before_handle(&of);
        expect_end(start(lend_and_take, &of, handle_points[i]), true);
        after_handle(&of, false);
    }
    for (int point = 0; point < 2; point++) {
        world of = {.bytes = 64};
        before_block(&of);
        expect_end(start(hold_and_fork, &of, point == 0 ? "fork.reserved" : "arena.leased"), point == 0);
        after_block(&of, false);
    }
}

// A child that dies before it has adopted its slot: its parent tells the pid, so it is found.
static void test_death_before_adoption(void) {
    world of = {.bytes = 64};
    before_block(&of);
    phx_kill_points_set("fork.adopted");  // the child inherits it
    pid_t pid = fork();
    CHECK(pid > 0);
    phx_kill_points_set(NULL);
    child victim = {pid, phx_slot_of_last_fork()};
    phx_slot_set_pid(victim.slot, pid);
    expect_end(victim, true);
    after_block(&of, false);
}

// -- forks -------------------------------------------------------------------------------------------------------------

static void *allocate(void *argument) {
    uint32_t *stop = argument;
    while (phx_load32(stop) == 0) {
        phx_hold hold = made(64 + phx_random() % 100000);
        mark(&hold, 7);
        expect_mark(&hold, 7);
        phx_block_release(&hold);
    }
    return NULL;
}

static void allocate_some(void *unused) {
    (void)unused;
    for (int i = 0; i < 50; i++) {
        phx_hold hold = made(64 + phx_random() % 100000);
        phx_block_release(&hold);
    }
}

static void *fork_and_fork(void *unused) {
    (void)unused;
    for (int i = 0; i < 25; i++) {
        child one = start(allocate_some, NULL, NULL);
        CHECK(one.slot != 0 && one.slot != phx_self());
        expect_end(one, false);
        phx_slot_end(one.slot);
    }
    return NULL;
}

// Two threads fork while two others allocate: each child has a slot of its own, and nothing stays.
static void test_threads_that_fork(void) {
    uint32_t stop = 0;
    counts before = count();
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        CHECK(pthread_create(&threads[i], NULL, i < 2 ? allocate : fork_and_fork, &stop) == 0);
    }
    CHECK(pthread_join(threads[2], NULL) == 0 && pthread_join(threads[3], NULL) == 0);
    phx_store32(&stop, 1);
    CHECK(pthread_join(threads[0], NULL) == 0 && pthread_join(threads[1], NULL) == 0);
    expect_as(before);
}

static void test_childs_holds(void) {
    counts before = count();
    phx_hold kept = made(100);
    mark(&kept, 5);
    phx_hold *copy = &kept;
    pid_t pid = fork();
    if (pid == 0) {
        phx_hold again;
        CHECK(phx_block_hold_again(copy, &again) == PHX_OK);
        phx_block_release(copy);
        expect_mark(&again, 5);
        _exit(0);
    }
    child one = {pid, phx_slot_of_last_fork()};
    expect_end(one, false);
    phx_block_release(&kept);
    CHECK(count().blocks == before.blocks + 1);  // the dead child's, until somebody notices
    phx_slot_end(one.slot);
    expect_as(before);
}

static void child_of_unseen_fork(const phx_hold *kept, phx_slot_word parent) {
    CHECK(phx_self() != parent && phx_slot_is_alive(phx_self()));
    expect_mark(kept, 9);
    phx_hold own = *kept;
    phx_block_release(&own);  // its own lease, not its parent's
    allocate_some(NULL);
    _exit(0);
}

// A fork that bypasses the C library's handlers.
static void test_unseen_fork(void) {
    counts before = count();
    phx_hold kept = made(100);
    phx_slot_word self = phx_self();
    mark(&kept, 9);
    int status;
    long pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    CHECK(pid >= 0);
    if (pid == 0) {
        child_of_unseen_fork(&kept, self);
    }
    CHECK(waitpid((pid_t)pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    expect_mark(&kept, 9);
    CHECK(phx_arena_sweep() == 1);
    phx_block_release(&kept);
    expect_as(before);
}

// -- handles -----------------------------------------------------------------------------------------------------------

static void test_stale_handles(void) {
    counts before = count();
    phx_hold kept = made(64), taken;
    phx_handle handle, wrong;
    CHECK(phx_lease_lend(&kept, &handle) == PHX_OK);
    wrong = (phx_handle){handle.block, handle.serial + 1, handle.lease};
    CHECK(phx_lease_take(wrong, &taken) == PHX_STALE);
    wrong = (phx_handle){handle.block, handle.serial, UINT32_MAX};
    CHECK(phx_lease_take(wrong, &taken) == PHX_STALE);
    CHECK(phx_lease_take((phx_handle){0}, &taken) == PHX_STALE);
    CHECK(phx_lease_take(handle, &taken) == PHX_OK);
    CHECK(phx_lease_take(handle, &taken) == PHX_STALE);
    phx_block_release(&taken);
    CHECK(phx_lease_lend(&kept, &handle) == PHX_OK);
    phx_lease_drop(handle);
    phx_lease_drop(handle);
    CHECK(phx_lease_take(handle, &taken) == PHX_STALE);
    phx_block_release(&kept);
    phx_block_release(&kept);
    expect_as(before);
}

// What a parent is about to send is not its child's to drop.
static void test_handle_is_not_a_childs(void) {
    counts before = count();
    phx_hold kept = made(64), taken;
    phx_handle handle;
    CHECK(phx_lease_give(&kept, &handle) == PHX_OK);
    pid_t pid = fork();
    if (pid == 0) {
        phx_lease_drop(handle);
        _exit(0);
    }
    child one = {pid, phx_slot_of_last_fork()};
    expect_end(one, false);
    phx_slot_end(one.slot);
    CHECK(phx_lease_take(handle, &taken) == PHX_OK);
    phx_block_release(&taken);
    expect_as(before);
}

static void test_grant(void) {
    counts before = count();
    phx_slot_word slot;
    phx_handle handle;
    phx_hold kept = made(64);
    CHECK(phx_slot_reserve(&slot) == PHX_OK);
    CHECK(phx_lease_lend(&kept, &handle) == PHX_OK && phx_lease_grant(handle, slot) == PHX_OK);
    phx_block_release(&kept);
    CHECK(count().blocks == before.blocks + 1);
    phx_slot_end(slot);  // it was never started
    expect_as(before);
    kept = made(64);
    CHECK(phx_lease_lend(&kept, &handle) == PHX_OK && phx_lease_grant(handle, slot) == PHX_STALE);
    phx_lease_drop(handle);
    phx_block_release(&kept);
    expect_as(before);
}

// -- the section lock ----------------------------------------------------------------------------------------------------

static phx_section *section;

static void lock_and_stay(void *unused) {
    (void)unused;
    CHECK(phx_section_lock(section, phx_self()) == PHX_OK);
    phx_kill_self();
}

static void nothing(int number) { (void)number; }

// Signals that come faster than the slices of sleep end do not hide the owner's death.
static void test_section_under_signals(void) {
    expect_end(start(lock_and_stay, NULL, NULL), true);
    struct sigaction action = {.sa_handler = nothing}, old;
    struct itimerval often = {{0, 5000}, {0, 5000}}, never = {{0, 0}, {0, 0}};
    sigaction(SIGALRM, &action, &old);
    setitimer(ITIMER_REAL, &often, NULL);
    CHECK(phx_section_lock(section, phx_self()) == PHX_OWNER_DIED);
    setitimer(ITIMER_REAL, &never, NULL);
    sigaction(SIGALRM, &old, NULL);
    phx_section_unlock(section);
    phx_arena_sweep();
}

static void test_section_abandoned(void) {
    CHECK(phx_section_lock(section, phx_self()) == PHX_OK && !phx_section_is_orphaned(section));
    CHECK(phx_section_spin(section, phx_self()) == PHX_INTERRUPTED);
    CHECK(phx_section_sleep(section, phx_self()) == PHX_INTERRUPTED);
    phx_section_abandon(section);
    CHECK(phx_section_is_orphaned(section));
    CHECK(phx_section_lock(section, phx_self()) == PHX_OWNER_DIED);
    phx_section_unlock(section);
    CHECK(phx_section_lock(section, phx_self()) == PHX_OK);
    phx_section_unlock(section);
}

static uint64_t *guarded;

static void *count_up(void *unused) {
    for (int i = 0; i < 20000; i++) {
        CHECK(phx_section_lock(section, phx_self()) == PHX_OK);
        ++*guarded;
        phx_section_unlock(section);
    }
    return unused;
}

static void count_up_process(void *unused) { count_up(unused); }

static void test_section_excludes(void) {
    child children[2];
    *guarded = 0;
    for (int i = 0; i < 2; i++) {
        children[i] = start(count_up_process, NULL, NULL);
    }
    run_threads(2, count_up, NULL);
    for (int i = 0; i < 2; i++) {
        expect_end(children[i], false);
        phx_slot_end(children[i].slot);
    }
    CHECK(*guarded == 80000);
}

// -- random kills --------------------------------------------------------------------------------------------------------

static void allocate_for_ever(void *argument) {
    uint32_t stop = 0;
    (void)argument;
    allocate(&stop);
}

// Processes that allocate are killed at random instants; afterwards nothing is left of them.
static void test_random_kills(void) {
    counts before = count();
    for (int round = 0; round < 40; round++) {
        child children[3];
        for (int i = 0; i < 3; i++) {
            children[i] = start(allocate_for_ever, NULL, NULL);
        }
        struct timespec pause = {0, (long)(phx_random() % 3000000)};
        nanosleep(&pause, NULL);
        for (int i = 0; i < 3; i++) {
            kill(children[i].pid, SIGKILL);
        }
        for (int i = 0; i < 3; i++) {
            expect_end(children[i], true);
            phx_slot_end(children[i].slot);
        }
        expect_apart(64);
    }
    expect_as(before);
}

int main(void) {
    CHECK(phx_arena_open() == PHX_OK);
    section = shared(sizeof *section);
    guarded = shared(sizeof *guarded);
    test_sizes();
    test_stale_handles();
    test_handle_is_not_a_childs();
    test_grant();
    test_section_under_signals();
    test_section_abandoned();
    test_section_excludes();
    test_childs_holds();
    test_unseen_fork();
    test_kill_points();
    test_death_before_adoption();
    test_threads_that_fork();
    test_random_kills();
    test_every_instruction();
    return 0;
}
