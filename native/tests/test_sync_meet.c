// Conditions, events and barriers: who is told, that a dead waiter costs nobody anything, and that no meeting hangs.
#include "../sync/barrier.h"
#include "../sync/condition.h"
#include "../sync/event.h"
#include "../sync/lock.h"
#include "sync_testing.h"

#define ROUNDS 300
#define LONG_MS 20000  // a bound for what must come at once: it fails a test instead of hanging it

typedef struct {
    phx_lock lock;
    phx_condition condition;
    uint32_t seated, told;
    uint64_t value;
} room;

static void enter(phx_lock *lock) {
    phx_status status;
    UNTIL_DECIDED(status, phx_lock_acquire(lock, phx_self(), PHX_FOREVER));
    CHECK(status == PHX_OK);
}

// -- Condition -------------------------------------------------------------------------------------------------------

static bool wait_in(room *all, int64_t deadline_ns) {
    phx_place place;
    phx_status status;
    phx_condition_sit(&all->condition, phx_self(), &place);
    phx_add32(&all->seated, 1);
    phx_lock_release(&all->lock);
    UNTIL_DECIDED(status, phx_condition_wait(&all->condition, &place, deadline_ns));
    bool told = phx_condition_leave(&all->condition, &place);
    CHECK(told || status == PHX_TIMED_OUT);
    enter(&all->lock);
    return told;
}

static void *wait_once(void *argument) {
    room *all = argument;
    enter(&all->lock);
    if (wait_in(all, after_ms(LONG_MS))) {
        phx_add32(&all->told, 1);
    }
    phx_lock_release(&all->lock);
    return NULL;
}

static void wait_once_in_child(void *argument) { wait_once(argument); }

static uint32_t notify(room *all, uint32_t count) {
    enter(&all->lock);
    uint32_t called = phx_condition_notify(&all->condition, phx_self(), count);
    phx_lock_release(&all->lock);
    return called;
}

static void until(uint32_t *word, uint32_t value) {
    int64_t deadline_ns = after_ms(LONG_MS);
    while (phx_load32(word) != value) {
        CHECK(!phx_has_passed(deadline_ns));
        usleep(200);
    }
}

static void condition_tells_as_many_as_asked(void) {
    room *all = shared(sizeof *all);
    pthread_t threads[6];
    CHECK(notify(all, 1) == 0);
    for (size_t i = 0; i < COUNT(threads); i++) {
        CHECK(pthread_create(&threads[i], NULL, wait_once, all) == 0);
    }
    until(&all->seated, 6);
    CHECK(notify(all, 2) == 2);
    until(&all->told, 2);
    CHECK(phx_condition_waiting(&all->condition) == 4);
    CHECK(notify(all, 9) == 4);
    until(&all->told, 6);
    CHECK(notify(all, PHX_CONDITION_ALL) == 0);
    for (size_t i = 0; i < COUNT(threads); i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
}

static void condition_calls_the_oldest_first(void) {
    room *all = shared(sizeof *all);
    phx_place places[4];
    for (size_t i = 0; i < 3; i++) {
        phx_condition_sit(&all->condition, phx_self(), &places[i]);
    }
    CHECK(!phx_condition_leave(&all->condition, &places[0]));
    phx_condition_sit(&all->condition, phx_self(), &places[3]);  // on the seat that has become free: the first
    CHECK(phx_condition_notify(&all->condition, phx_self(), 2) == 2);
    CHECK(phx_condition_leave(&all->condition, &places[1]) && phx_condition_leave(&all->condition, &places[2]));
    CHECK(phx_condition_wait(&all->condition, &places[3], 0) == PHX_TIMED_OUT);
    CHECK(!phx_condition_leave(&all->condition, &places[3]));
}

static void condition_has_room_for_all(void) {
    room *all = shared(sizeof *all);
    static phx_place places[PHX_CONDITION_SEATS + 3];
    for (size_t i = 0; i < COUNT(places); i++) {
        phx_condition_sit(&all->condition, phx_self(), &places[i]);
    }
    CHECK(places[PHX_CONDITION_SEATS - 1].seat != NULL && places[PHX_CONDITION_SEATS].seat == NULL);
    CHECK(phx_condition_notify(&all->condition, phx_self(), 1) == 1);
    CHECK(phx_condition_wait(&all->condition, &places[0], PHX_FOREVER) == PHX_OK);
    CHECK(phx_condition_wait(&all->condition, &places[1], 0) == PHX_TIMED_OUT);
    CHECK(phx_condition_wait(&all->condition, &places[PHX_CONDITION_SEATS + 2], PHX_FOREVER) == PHX_OK);
    CHECK(phx_condition_notify(&all->condition, phx_self(), PHX_CONDITION_ALL) == PHX_CONDITION_SEATS - 1);
}

// Seats of the dead are given away again, and a notification goes to somebody who can use it.
static void condition_forgets_the_dead(void) {
    static const char *const points[] = {"condition.seated", "condition.waiting"};
    for (size_t i = 0; i < COUNT(points); i++) {
        room *all = shared(sizeof *all);
        all->lock.on_owner_death = PHX_DEATH_GIVES;
        for (int dead = 0; dead < 3; dead++) {
            expect_end(start(wait_once_in_child, all, points[i]), true);
        }
        child alive = start(wait_once_in_child, all, NULL);
        until(&all->seated, i == 0 ? 1 : 4);
        CHECK(notify(all, 1) == 1);
        expect_end(alive, false);
        CHECK(all->told == 1 && phx_condition_waiting(&all->condition) == 0);
    }
}

static void fill_all_seats(void *argument) {
    phx_place place;
    do {
        phx_condition_sit(argument, phx_self(), &place);
    } while (place.seat != NULL);
}

static void condition_sweeps_when_full(void) {
    room *all = shared(sizeof *all);
    phx_place place;
    expect_end(start(fill_all_seats, &all->condition, NULL), false);
    phx_condition_sit(&all->condition, phx_self(), &place);
    CHECK(place.seat != NULL && phx_condition_waiting(&all->condition) == 1);
}

static void notify_in_child(void *argument) { notify(argument, 1); }

// The lost wake-up of a dead notifier costs its receiver one slice, the lock it held is known to be a dead one's.
static void condition_survives_its_notifier(void) {
    room *all = shared(sizeof *all);
    all->lock.on_owner_death = PHX_DEATH_GIVES;
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, wait_once, all) == 0);
    until(&all->seated, 1);
    expect_end(start(notify_in_child, all, "condition.notified"), true);
    CHECK(pthread_join(thread, NULL) == 0 && all->told == 1);
}

// -- Event -----------------------------------------------------------------------------------------------------------

static void wait_for_event(void *argument) {
    phx_event *event = argument;
    uint32_t mark = phx_event_mark(event);
    phx_status status;
    UNTIL_DECIDED(status, phx_event_wait(event, mark, after_ms(LONG_MS)));
    CHECK(status == PHX_OK);
}

static void *wait_for_event_in_thread(void *argument) {
    wait_for_event(argument);
    return NULL;
}

static void event_alone(void) {
    phx_event *event = shared(sizeof *event);
    uint32_t mark = phx_event_mark(event);
    phx_status status;
    UNTIL_DECIDED(status, phx_event_wait(event, mark, after_ms(5)));
    CHECK(status == PHX_TIMED_OUT && !phx_event_is_set(event));
    phx_event_set(event);
    phx_event_set(event);
    CHECK(phx_event_is_set(event) && phx_event_wait(event, phx_event_mark(event), 0) == PHX_OK);
    phx_event_clear(event);
    CHECK(!phx_event_is_set(event));
    CHECK(phx_event_wait(event, mark, 0) == PHX_OK);  // it was set since
    CHECK(phx_event_wait(event, phx_event_mark(event), 0) == PHX_TIMED_OUT);
}

static void set_event(void *argument) { phx_event_set(argument); }

static void event_wakes_all(void) {
    phx_event *event = shared(sizeof *event);
    pthread_t threads[4];
    for (size_t i = 0; i < COUNT(threads); i++) {
        CHECK(pthread_create(&threads[i], NULL, wait_for_event_in_thread, event) == 0);
    }
    usleep(2000);
    expect_end(start(set_event, event, NULL), false);
    for (size_t i = 0; i < COUNT(threads); i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
}

static void event_survives_each_step(void) {
    phx_event *event = shared(sizeof *event);
    expect_end(start(wait_for_event, event, "event.waiting"), true);
    child waiter = start(wait_for_event, event, NULL);
    usleep(2000);
    expect_end(start(set_event, event, "event.set"), true);
    expect_end(waiter, false);
}

// -- Barrier ---------------------------------------------------------------------------------------------------------

typedef struct {
    uint32_t arrivals, acted;
    uint32_t returned[8];
    bool has_action;
    phx_barrier barrier;  // last: its seats follow
} hall;

static hall *new_hall(uint32_t parties) {
    hall *all = shared(sizeof *all + sizeof(uint32_t) * parties);
    phx_barrier_init(&all->barrier, parties);
    return all;
}

static phx_status meet(hall *all, int64_t deadline_ns, phx_meeting *meeting) {
    phx_status status = phx_barrier_enter(&all->barrier, phx_self(), all->has_action, meeting);
    if (status != PHX_OK || meeting->role == PHX_BARRIER_PASSES) {
        return status;
    }
    if (meeting->role == PHX_BARRIER_ACTS) {
        phx_add32(&all->acted, 1);
        phx_kill_point("test.acting");
        return phx_barrier_release(&all->barrier, phx_self(), meeting);
    }
    UNTIL_DECIDED(status, phx_barrier_wait(&all->barrier, phx_self(), meeting, deadline_ns));
    return status;
}

// Nobody is a round ahead: whoever has come through a round's second meeting saw all arrive for its first.
static void *march(void *argument) {
    hall *all = argument;
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        phx_meeting meeting;
        phx_add32(&all->arrivals, 1);
        CHECK(meet(all, PHX_FOREVER, &meeting) == PHX_OK && meeting.seat < all->barrier.parties);
        phx_add32(&all->returned[meeting.seat], 1);
        CHECK(phx_load32(&all->arrivals) == round * all->barrier.parties);
        CHECK(meet(all, PHX_FOREVER, &meeting) == PHX_OK);
    }
    return NULL;
}

static void march_in_child(void *argument) { march(argument); }

static void check_marched(const hall *all) {
    for (uint32_t i = 0; i < all->barrier.parties; i++) {
        CHECK(all->returned[i] == ROUNDS);
    }
    CHECK(all->acted == (all->has_action ? 2 * ROUNDS : 0) && phx_barrier_waiting(&all->barrier) == 0);
}

static void barrier_keeps_step(bool has_action) {
    hall *all = new_hall(4);
    all->has_action = has_action;
    run_threads(4, march, all);
    check_marched(all);
    hall *other = new_hall(3);
    other->has_action = has_action;
    child children[2] = {start(march_in_child, other, NULL), start(march_in_child, other, NULL)};
    march(other);
    expect_end(children[0], false);
    expect_end(children[1], false);
    check_marched(other);
}

static void barrier_of_thousand(void) {
    hall *all = new_hall(1000);
    static phx_meeting meetings[1000];
    for (size_t i = 0; i < 1000; i++) {
        CHECK(phx_barrier_enter(&all->barrier, phx_self(), false, &meetings[i]) == PHX_OK && meetings[i].seat == i);
    }
    CHECK(meetings[999].role == PHX_BARRIER_PASSES);
    CHECK(phx_barrier_wait(&all->barrier, phx_self(), &meetings[500], PHX_FOREVER) == PHX_OK);
}

static void barrier_breaks(void) {
    hall *all = new_hall(3);
    phx_meeting first, second, third;
    phx_status status;
    CHECK(phx_barrier_enter(&all->barrier, phx_self(), false, &first) == PHX_OK);
    CHECK(phx_barrier_enter(&all->barrier, phx_self(), false, &second) == PHX_OK);
    CHECK(phx_barrier_waiting(&all->barrier) == 2);
    phx_barrier_leave(&all->barrier, phx_self(), &first);  // gives its seat up, and another takes it
    CHECK(phx_barrier_waiting(&all->barrier) == 1);
    CHECK(phx_barrier_enter(&all->barrier, phx_self(), false, &third) == PHX_OK && third.seat == first.seat);
    UNTIL_DECIDED(status, phx_barrier_wait(&all->barrier, phx_self(), &second, after_ms(5)));
    CHECK(status == PHX_BROKEN && phx_barrier_is_broken(&all->barrier));
    CHECK(phx_barrier_wait(&all->barrier, phx_self(), &third, PHX_FOREVER) == PHX_BROKEN);
    CHECK(phx_barrier_enter(&all->barrier, phx_self(), false, &first) == PHX_BROKEN);
    phx_barrier_reset(&all->barrier, phx_self());
    CHECK(!phx_barrier_is_broken(&all->barrier) && phx_barrier_waiting(&all->barrier) == 0);
    CHECK(phx_barrier_wait(&all->barrier, phx_self(), &third, PHX_FOREVER) == PHX_BROKEN);  // also for who comes late
    CHECK(phx_barrier_enter(&all->barrier, phx_self(), false, &first) == PHX_OK);
    phx_barrier_reset(&all->barrier, phx_self());
    CHECK(phx_barrier_wait(&all->barrier, phx_self(), &first, PHX_FOREVER) == PHX_BROKEN);
    phx_barrier_abort(&all->barrier, phx_self());
    CHECK(phx_barrier_is_broken(&all->barrier));
}

static void barrier_is_full_while_acting(void) {
    hall *all = new_hall(1);
    phx_meeting actor, other;
    CHECK(phx_barrier_enter(&all->barrier, phx_self(), true, &actor) == PHX_OK && actor.role == PHX_BARRIER_ACTS);
    CHECK(phx_barrier_enter(&all->barrier, phx_self(), true, &other) == PHX_OK);
    CHECK(other.role == PHX_BARRIER_OUTSIDE);
    CHECK(phx_barrier_release(&all->barrier, phx_self(), &actor) == PHX_OK);
    CHECK(phx_barrier_wait(&all->barrier, phx_self(), &other, PHX_FOREVER) == PHX_OK);
    CHECK(phx_barrier_enter(&all->barrier, phx_self(), true, &actor) == PHX_OK);
    phx_barrier_abort(&all->barrier, phx_self());
    CHECK(phx_barrier_release(&all->barrier, phx_self(), &actor) == PHX_BROKEN);
}

static void meet_in_child(void *argument) {
    phx_meeting meeting;
    meet(argument, PHX_FOREVER, &meeting);
}

// Of three, two wait (one of them a child) or all have come and the child acts: its death breaks the meeting.
static void barrier_survives_each_step(void) {
    static const char *const points[] = {"barrier.guarded", "barrier.seated", "barrier.waiting", "test.acting"};
    for (size_t i = 0; i < COUNT(points); i++) {
        hall *all = new_hall(i == 3 ? 2 : 3);
        all->has_action = true;
        phx_meeting mine;
        CHECK(phx_barrier_enter(&all->barrier, phx_self(), true, &mine) == PHX_OK);
        child one = start(meet_in_child, all, points[i]);
        phx_status status;
        UNTIL_DECIDED(status, phx_barrier_wait(&all->barrier, phx_self(), &mine, after_ms(i == 0 ? 500 : LONG_MS)));
        CHECK(status == PHX_BROKEN);
        expect_end(one, true);
        phx_barrier_reset(&all->barrier, phx_self());
        child other = start(meet_in_child, all, NULL);
        child third = i == 3 ? other : start(meet_in_child, all, NULL);
        CHECK(meet(all, PHX_FOREVER, &mine) == PHX_OK);
        expect_end(other, false);
        if (i != 3) {
            expect_end(third, false);
        }
    }
}

// The meeting has ended when it dies: the wake-up alone is missing, and comes with the next slice.
static void barrier_survives_its_last(void) {
    hall *all = new_hall(2);
    phx_meeting mine;
    CHECK(phx_barrier_enter(&all->barrier, phx_self(), false, &mine) == PHX_OK);
    child one = start(meet_in_child, all, "barrier.turned");
    phx_status status;
    UNTIL_DECIDED(status, phx_barrier_wait(&all->barrier, phx_self(), &mine, PHX_FOREVER));
    CHECK(status == PHX_OK);
    expect_end(one, true);
}

int main(void) {
    condition_tells_as_many_as_asked();
    condition_calls_the_oldest_first();
    condition_has_room_for_all();
    condition_forgets_the_dead();
    condition_sweeps_when_full();
    condition_survives_its_notifier();
    event_alone();
    event_wakes_all();
    event_survives_each_step();
    barrier_keeps_step(false);
    barrier_keeps_step(true);
    barrier_of_thousand();
    barrier_breaks();
    barrier_is_full_while_acting();
    barrier_survives_each_step();
    barrier_survives_its_last();
    return 0;
}
