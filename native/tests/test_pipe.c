// The pipe: a sleeper is always woken, whoever died at whatever instruction; the descriptor tells the truth; the end.
#include "step.h"

#include "../atomic.h"
#include "../channel/pipe.h"

#include <string.h>
#include <sys/socket.h>

enum { KIND = 9, LAST = 77, MESSAGES = 20000, THREADS = 4 };

// Messages go from the second end to the first.
typedef struct {
    phx_pipe_end first, second;
} world;

// -- helpers ---------------------------------------------------------------------------------------------------------

static void open_pipe(world *of) {
    int fds[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    *of = (world){.first.fd = fds[0], .second.fd = fds[1]};
    CHECK(phx_pipe_new(&of->first, &of->second, false) == PHX_OK);
}

static void close_pipe(world *of) {
    phx_pipe_close(&of->first);
    phx_pipe_close(&of->second);
    phx_pipe_release(&of->first);
    phx_pipe_release(&of->second);
}

static phx_status put(phx_pipe_end *end, uint64_t number) {
    phx_message message = {.payload = &number, .payload_bytes = sizeof number, .kind = KIND};
    return phx_pipe_put(end, &message);
}

static void put_waiting(phx_pipe_end *end, uint64_t number) {
    phx_status status;
    while ((status = put(end, number)) == PHX_TIMED_OUT) {
        phx_pipe_wait_space(end, after_ms(10000));
    }
    CHECK(status == PHX_OK);
}

// The next number; 0 when there is none.
static uint64_t take(phx_pipe_end *end) {
    _Alignas(8) char storage[256];
    phx_batch batch;
    phx_message message;
    size_t position = 0;
    uint64_t number = 0;
    phx_batch_begin(&batch, storage, sizeof storage);
    phx_status status = phx_pipe_take(end, &batch);
    CHECK(status == PHX_OK || status == PHX_TIMED_OUT);
    if (status == PHX_OK) {
        CHECK(phx_batch_next(&batch, &position, &message) && message.payload_bytes == sizeof number);
        memcpy(&number, message.payload, sizeof number);
    }
    phx_batch_end(&batch);
    return number;
}

// The next number, waiting for it without a spin; 0 at the end.
static uint64_t take_waiting(phx_pipe_end *end) {
    bool is_gone = false;
    for (;;) {
        uint64_t number = take(end);
        if (number != 0 || is_gone) {
            return number;
        }
        phx_status status;
        UNTIL_DECIDED(status, phx_pipe_wait_items(end, after_ms(10000)));
        CHECK(status != PHX_TIMED_OUT);
        is_gone = status == PHX_BROKEN;
    }
}

static bool is_readable(const phx_pipe_end *end) { return phx_bell_wait(end->fd, 0) == PHX_BELL_RUNG; }

// What must hold of an empty pipe, whatever has happened to it: the next message wakes a sleeper.
static void expect_wakes(world *of) {
    CHECK(phx_pipe_arm(&of->first));
    CHECK(phx_pipe_arm(&of->first));  // a token too many, left by a death, wakes for nothing once
    CHECK(!is_readable(&of->first));
    CHECK(put(&of->second, LAST) == PHX_OK);
    CHECK(is_readable(&of->first));
    CHECK(take(&of->first) == LAST);
    CHECK(take(&of->first) == 0);
}

// -- deaths at every instruction -------------------------------------------------------------------------------------

static void before_asleep(void *argument) {
    world *of = argument;
    open_pipe(of);
    CHECK(phx_pipe_arm(&of->first));
}

static void before_busy(void *argument) {
    world *of = argument;
    open_pipe(of);
    CHECK(put(&of->second, 1) == PHX_OK && take(&of->first) == 1);  // the token rests in the socket
}

static void before_watched(void *argument) {
    before_busy(argument);
    phx_pipe_watch(&((world *)argument)->first);
}

static void before_two_wait(void *argument) {
    before_busy(argument);
    CHECK(put(&((world *)argument)->second, 2) == PHX_OK && put(&((world *)argument)->second, 3) == PHX_OK);
}

static void before_two_wait_watched(void *argument) {
    before_two_wait(argument);
    phx_pipe_watch(&((world *)argument)->first);
}

static void send_one(void *argument) { CHECK(put(&((world *)argument)->second, 2) == PHX_OK); }
static void receive_one(void *argument) { CHECK(take(&((world *)argument)->first) == 2); }
static void arm_once(void *argument) { CHECK(phx_pipe_arm(&((world *)argument)->first)); }

// The message of the dead is there, or it is not; the survivor's is.
static void after_sending(void *argument, bool finished) {
    world *of = argument;
    CHECK(put(&of->second, 3) == PHX_OK);
    CHECK(is_readable(&of->first));
    uint64_t number = take_waiting(&of->first);
    CHECK(number == 2 || (number == 3 && !finished));
    CHECK(number == 3 || take_waiting(&of->first) == 3);
    expect_wakes(of);
    close_pipe(of);
}

static void after_receiving(void *argument, bool finished) {
    world *of = argument;
    uint64_t number = take_waiting(&of->first);
    CHECK(number == 3 || (number == 2 && !finished));
    CHECK(number == 3 || take_waiting(&of->first) == 3);
    expect_wakes(of);
    close_pipe(of);
}

static void after_arming(void *argument, bool finished) {
    (void)finished;
    expect_wakes(argument);
    close_pipe(argument);
}

static const scenario scenarios[] = {
    {"send to a sleeper", before_asleep, send_one, after_sending},
    {"send to one awake", before_busy, send_one, after_sending},
    {"send to a watched descriptor", before_watched, send_one, after_sending},
    {"receive", before_two_wait, receive_one, after_receiving},
    {"receive with the descriptor watched", before_two_wait_watched, receive_one, after_receiving},
    {"arm", before_busy, arm_once, after_arming},
    {"arm again", before_asleep, arm_once, after_arming},
};

static void test_every_instruction(void) {
    world of;
    for (size_t i = 0; i < COUNT(scenarios); i++) {
        every_step(&scenarios[i], &of);
    }
}

// -- the descriptor --------------------------------------------------------------------------------------------------

static void test_watching(void) {
    for (int waiting = 0; waiting < 3; waiting++) {
        world of;
        before_asleep(&of);
        for (uint64_t number = 1; number <= (uint64_t)waiting; number++) {
            CHECK(put(&of.second, number) == PHX_OK);
        }
        phx_pipe_watch(&of.first);
        for (uint64_t number = 1; number <= (uint64_t)waiting; number++) {
            CHECK(is_readable(&of.first));
            CHECK(take(&of.first) == number);
        }
        CHECK(!is_readable(&of.first));
        expect_wakes(&of);
        CHECK(!is_readable(&of.first));
        close_pipe(&of);
    }
}

static void test_foreign_bytes_are_kept(void) {
    world of;
    char byte;
    before_busy(&of);
    phx_pipe_expect_foreign(&of.second);
    CHECK(send(of.second.fd, "x", 1, 0) == 1);
    phx_pipe_ring_again(&of.second);
    CHECK(put(&of.second, 2) == PHX_OK && take_waiting(&of.first) == 2);
    CHECK(phx_pipe_arm(&of.first));  // takes out the token in front
    CHECK(recv(of.first.fd, &byte, 1, MSG_DONTWAIT) == 1 && byte == 'x');
    CHECK(take(&of.first) == 0);
    expect_wakes(&of);
    close_pipe(&of);
}

// -- the end ---------------------------------------------------------------------------------------------------------

static void test_end(void) {
    world of;
    open_pipe(&of);
    CHECK(put(&of.second, 1) == PHX_OK);
    phx_pipe_close(&of.second);
    CHECK(take_waiting(&of.first) == 1);
    CHECK(take_waiting(&of.first) == 0);
    close_pipe(&of);
    before_busy(&of);
    phx_pipe_close(&of.first);
    CHECK(put(&of.second, 2) == PHX_BROKEN);
    close_pipe(&of);
    before_asleep(&of);
    phx_pipe_close(&of.first);
    CHECK(put(&of.second, 2) == PHX_BROKEN);
    close_pipe(&of);
}

// -- at once ---------------------------------------------------------------------------------------------------------

static uint64_t received_sum;

static void *receive_all(void *argument) {
    phx_pipe_end end = ((world *)argument)->first;
    uint64_t number;
    while ((number = take_waiting(&end)) != LAST + MESSAGES) {
        phx_add64(&received_sum, number);
    }
    return NULL;
}

static void *send_all(void *argument) {
    phx_pipe_end end = ((world *)argument)->second;
    for (uint64_t number = 1; number <= MESSAGES; number++) {
        put_waiting(&end, number);
    }
    put_waiting(&end, LAST + MESSAGES);
    return NULL;
}

static void *send_and_receive(void *argument) {
    static uint32_t next;
    return phx_add32(&next, 1) % 2 == 0 ? send_all(argument) : receive_all(argument);
}

static void test_threads(void) {
    world of;
    open_pipe(&of);
    received_sum = 0;
    run_threads(THREADS, send_and_receive, &of);
    CHECK(received_sum == (uint64_t)MESSAGES * (MESSAGES + 1) / 2 * (THREADS / 2));
    close_pipe(&of);
}

static void send_from_child(void *argument) {
    phx_pipe_close(&((world *)argument)->first);
    send_all(argument);
}

static void test_processes(void) {
    world of;
    open_pipe(&of);
    child one = start(send_from_child, &of, NULL), two = start(send_from_child, &of, NULL);
    phx_pipe_close(&of.second);
    uint64_t sum = 0, number;
    while ((number = take_waiting(&of.first)) != 0) {
        sum += number;
    }
    CHECK(sum == 2 * ((uint64_t)MESSAGES * (MESSAGES + 1) / 2 + LAST + MESSAGES));
    expect_end(one, false);
    expect_end(two, false);
    close_pipe(&of);
}

int main(void) {
    CHECK(phx_arena_open() == PHX_OK);
    test_watching();
    test_foreign_bytes_are_kept();
    test_end();
    test_every_instruction();
    test_threads();
    test_processes();
    return 0;
}
