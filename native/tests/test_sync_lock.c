// Locks, recursive locks and semaphores: what they exclude, who may release, and that a death stops nobody.
#include "../sync/rlock.h"
#include "../sync/semaphore.h"
#include "sync_testing.h"

#define ROUNDS 2000

typedef struct {
    phx_lock lock;
    phx_rlock rlock;
    phx_semaphore semaphore, answer;
    uint64_t counter;
} world;

static void acquire(phx_lock *lock) {
    phx_status status;
    UNTIL_DECIDED(status, phx_lock_acquire(lock, phx_self(), PHX_FOREVER));
    CHECK(status == PHX_OK);
}

// -- Lock ------------------------------------------------------------------------------------------------------------

static void lock_alone(void) {
    phx_lock *lock = shared(sizeof *lock);
    phx_status status;
    CHECK(phx_lock_try(lock, phx_self()) && phx_lock_is_locked(lock) && phx_lock_is_mine(lock, phx_self()));
    CHECK(!phx_lock_try(lock, phx_self()));
    CHECK(phx_lock_acquire(lock, phx_self(), 0) == PHX_TIMED_OUT);
    UNTIL_DECIDED(status, phx_lock_acquire(lock, phx_self(), after_ms(5)));
    CHECK(status == PHX_TIMED_OUT);
    phx_lock_recover(lock);
    CHECK(phx_lock_is_locked(lock));
    CHECK(phx_lock_release(lock) == PHX_OK && phx_lock_release(lock) == PHX_OVERFLOW && !phx_lock_is_locked(lock));
}

static void count_under_lock(void *argument) {
    world *shared_world = argument;
    for (int i = 0; i < ROUNDS; i++) {
        acquire(&shared_world->lock);
        shared_world->counter++;
        CHECK(phx_lock_release(&shared_world->lock) == PHX_OK);
    }
}

static void *count_in_thread(void *argument) {
    count_under_lock(argument);
    return NULL;
}

static void lock_excludes(void) {
    world *all = shared(sizeof *all);
    run_threads(4, count_in_thread, all);
    CHECK(all->counter == 4 * ROUNDS);
    child children[3];
    for (size_t i = 0; i < COUNT(children); i++) {
        children[i] = start(count_under_lock, all, NULL);
    }
    for (size_t i = 0; i < COUNT(children); i++) {
        expect_end(children[i], false);
    }
    CHECK(all->counter == 7 * ROUNDS);
}

static void release_it(void *argument) { CHECK(phx_lock_release(argument) == PHX_OK); }

static void lock_is_released_by_another_process(void) {
    phx_lock *lock = shared(sizeof *lock);
    acquire(lock);
    expect_end(start(release_it, lock, NULL), false);
    CHECK(!phx_lock_is_locked(lock));
}

static void acquire_and_stay(void *argument) { acquire(argument); }

static void lock_of_the_dead(void) {
    phx_lock *lock = shared(sizeof *lock);
    child one = start(acquire_and_stay, lock, "lock.acquired");
    expect_zombie(one);
    phx_status status;
    CHECK(phx_lock_acquire(lock, phx_self(), 0) == PHX_OWNER_DIED);
    UNTIL_DECIDED(status, phx_lock_acquire(lock, phx_self(), PHX_FOREVER));
    CHECK(status == PHX_OWNER_DIED);
    lock->on_owner_death = PHX_DEATH_IS_IGNORED;
    CHECK(phx_lock_acquire(lock, phx_self(), 0) == PHX_TIMED_OUT);
    lock->on_owner_death = PHX_DEATH_GIVES;
    CHECK(phx_lock_acquire(lock, phx_self(), 0) == PHX_OK && phx_lock_is_mine(lock, phx_self()));
    phx_lock_release(lock);
    lock->on_owner_death = PHX_DEATH_RAISES;
    expect_end(one, true);

    expect_end(start(acquire_and_stay, lock, NULL), false);  // an ordinary end is a death too
    CHECK(phx_lock_acquire(lock, phx_self(), 0) == PHX_OWNER_DIED);
    phx_lock_recover(lock);
    CHECK(!phx_lock_is_locked(lock));
}

static void acquire_whatever(phx_lock *lock) {
    phx_status status;
    do {
        UNTIL_DECIDED(status, phx_lock_acquire(lock, phx_self(), PHX_FOREVER));
        if (status == PHX_OWNER_DIED) {
            phx_lock_recover(lock);
        }
    } while (status != PHX_OK);
}

static void lock_survives_each_step(void) {
    static const char *const points[] = {"lock.claimed",  "lock.acquired", "lock.acquired:50", "lock.releasing",
                                         "lock.released", "lock.waiting",  "lock.released:50"};
    for (size_t i = 0; i < COUNT(points); i++) {
        world *all = shared(sizeof *all);
        acquire(&all->lock);  // so that the child waits at first
        child one = start(count_under_lock, all, points[i]);
        usleep(1000);
        CHECK(phx_lock_release(&all->lock) == PHX_OK);
        for (int round = 0; round < ROUNDS; round++) {
            acquire_whatever(&all->lock);
            CHECK(phx_lock_release(&all->lock) == PHX_OK);
        }
        int status;
        CHECK(waitpid(one.pid, &status, 0) == one.pid);  // "lock.waiting" is not passed by one that never has to
        CHECK(WIFSIGNALED(status) || i == 5);
        acquire_whatever(&all->lock);
    }
}

// -- RLock -----------------------------------------------------------------------------------------------------------

static void *fail_to_release(void *argument) {
    CHECK(phx_rlock_release(argument, phx_self()) == PHX_NOT_OWNER);
    CHECK(phx_rlock_acquire(argument, phx_self(), 0) == PHX_TIMED_OUT);
    return NULL;
}

static void fail_in_child(void *argument) { fail_to_release(argument); }

static void *take_and_end(void *argument) {
    CHECK(phx_rlock_acquire(argument, phx_self(), PHX_FOREVER) == PHX_OK);
    return NULL;
}

static void rlock_belongs_to_a_thread(void) {
    phx_rlock *rlock = shared(sizeof *rlock);
    CHECK(phx_rlock_release(rlock, phx_self()) == PHX_NOT_OWNER);
    for (int i = 0; i < 3; i++) {
        CHECK(phx_rlock_acquire(rlock, phx_self(), 0) == PHX_OK);
    }
    run_threads(1, fail_to_release, rlock);
    expect_end(start(fail_in_child, rlock, NULL), false);
    CHECK(phx_rlock_release_all(rlock) == 3 && !phx_lock_is_locked(&rlock->lock));
    CHECK(phx_rlock_acquire(rlock, phx_self(), 0) == PHX_OK);
    CHECK(phx_rlock_release(rlock, phx_self()) == PHX_OK && phx_rlock_release(rlock, phx_self()) == PHX_NOT_OWNER);

    run_threads(1, take_and_end, rlock);  // the end of a thread is no death, and its successor is somebody else
    run_threads(1, fail_to_release, rlock);
}

static void *count_recursively(void *argument) {
    world *all = argument;
    for (int i = 0; i < ROUNDS; i++) {
        phx_status status;
        UNTIL_DECIDED(status, phx_rlock_acquire(&all->rlock, phx_self(), PHX_FOREVER));
        CHECK(status == PHX_OK && phx_rlock_acquire(&all->rlock, phx_self(), 0) == PHX_OK);
        all->counter++;
        CHECK(phx_rlock_release(&all->rlock, phx_self()) == PHX_OK);
        CHECK(phx_rlock_release(&all->rlock, phx_self()) == PHX_OK);
    }
    return NULL;
}

static void rlock_excludes(void) {
    world *all = shared(sizeof *all);
    run_threads(4, count_recursively, all);
    CHECK(all->counter == 4 * ROUNDS);
}

static void count_recursively_in_child(void *argument) { count_recursively(argument); }

static void rlock_survives_each_step(void) {
    static const char *const points[] = {"lock.acquired", "rlock.acquired", "rlock.releasing", "lock.released"};
    for (size_t i = 0; i < COUNT(points); i++) {
        world *all = shared(sizeof *all);
        expect_end(start(count_recursively_in_child, all, points[i]), true);
        phx_status status;
        UNTIL_DECIDED(status, phx_rlock_acquire(&all->rlock, phx_self(), PHX_FOREVER));
        if (status == PHX_OWNER_DIED) {
            phx_lock_recover(&all->rlock.lock);
            status = phx_rlock_acquire(&all->rlock, phx_self(), 0);
        }
        CHECK(status == PHX_OK && all->rlock.depth == 1);
    }
}

// -- Semaphore -------------------------------------------------------------------------------------------------------

static void take(phx_semaphore *semaphore) {
    phx_status status;
    UNTIL_DECIDED(status, phx_semaphore_acquire(semaphore, PHX_FOREVER));
    CHECK(status == PHX_OK);
}

static void semaphore_alone(void) {
    phx_semaphore *semaphore = shared(sizeof *semaphore);
    phx_semaphore_init(semaphore, 2, 2);
    CHECK(phx_semaphore_release(semaphore) == PHX_OVERFLOW && phx_semaphore_value(semaphore) == 2);
    CHECK(phx_semaphore_try(semaphore) && phx_semaphore_try(semaphore) && !phx_semaphore_try(semaphore));
    phx_status status;
    UNTIL_DECIDED(status, phx_semaphore_acquire(semaphore, after_ms(5)));
    CHECK(status == PHX_TIMED_OUT && phx_semaphore_value(semaphore) == 0);
    CHECK(phx_semaphore_release(semaphore) == PHX_OK && phx_semaphore_value(semaphore) == 1);
    phx_semaphore_init(semaphore, PHX_SEMAPHORE_MAX, PHX_SEMAPHORE_MAX);
    CHECK(phx_semaphore_release(semaphore) == PHX_OVERFLOW && phx_semaphore_value(semaphore) == PHX_SEMAPHORE_MAX);
}

static void answer(void *argument) {
    world *all = argument;
    for (int i = 0; i < ROUNDS; i++) {
        take(&all->semaphore);
        phx_semaphore_release(&all->answer);
    }
}

static void semaphore_hands_over(void) {
    world *all = shared(sizeof *all);
    phx_semaphore_init(&all->semaphore, 0, PHX_SEMAPHORE_MAX);
    phx_semaphore_init(&all->answer, 0, PHX_SEMAPHORE_MAX);
    child one = start(answer, all, NULL);
    for (int i = 0; i < ROUNDS; i++) {
        phx_semaphore_release(&all->semaphore);
        take(&all->answer);
    }
    expect_end(one, false);
}

static void *take_many(void *argument) {
    for (int i = 0; i < ROUNDS; i++) {
        take(&((world *)argument)->semaphore);
    }
    return NULL;
}

// Releases in bursts, so that one wake-up must often do for several who sleep.
static void semaphore_forgets_nobody(void) {
    world *all = shared(sizeof *all);
    phx_semaphore_init(&all->semaphore, 0, PHX_SEMAPHORE_MAX);
    pthread_t threads[4];
    for (size_t i = 0; i < COUNT(threads); i++) {
        CHECK(pthread_create(&threads[i], NULL, take_many, all) == 0);
    }
    for (int i = 0; i < 4 * ROUNDS / 40; i++) {
        for (int burst = 0; burst < 40; burst++) {
            phx_semaphore_release(&all->semaphore);
        }
        usleep(50);
    }
    for (size_t i = 0; i < COUNT(threads); i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    CHECK(phx_semaphore_value(&all->semaphore) == 0);
}

static void semaphore_survives_each_step(void) {
    static const char *const points[] = {"semaphore.acquired", "semaphore.waiting", "semaphore.released"};
    for (size_t i = 0; i < COUNT(points); i++) {
        world *all = shared(sizeof *all);
        phx_semaphore_init(&all->semaphore, 0, PHX_SEMAPHORE_MAX);
        phx_semaphore_init(&all->answer, 0, PHX_SEMAPHORE_MAX);
        child one = start(answer, all, points[i]);
        if (i != 1) {
            phx_semaphore_release(&all->semaphore);
        }
        expect_end(one, true);
        uint32_t expected = i == 2 ? 1 : 0;  // published before the wake-up
        CHECK(phx_semaphore_value(&all->answer) == expected);
        child other = start(answer, all, NULL);
        for (int round = 0; round < ROUNDS; round++) {
            phx_semaphore_release(&all->semaphore);
            take(&all->answer);
        }
        expect_end(other, false);
    }
}

int main(void) {
    lock_alone();
    lock_excludes();
    lock_is_released_by_another_process();
    lock_of_the_dead();
    lock_survives_each_step();
    rlock_belongs_to_a_thread();
    rlock_excludes();
    rlock_survives_each_step();
    semaphore_alone();
    semaphore_hands_over();
    semaphore_forgets_nobody();
    semaphore_survives_each_step();
    return 0;
}
