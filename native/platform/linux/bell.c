// Doorbells: a socket pair in which a byte wakes the sleeper, and whose end tells that the peer is gone.
#define _GNU_SOURCE
#include "../platform.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PEEK_BYTES 16

bool phx_bell_ring(int fd) {
    const char token = PHX_BELL_BYTE;
    for (;;) {
        if (send(fd, &token, 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1) {
            return true;
        }
        if (errno != EINTR) {
            return errno == EAGAIN;  // full: then it is readable
        }
    }
}

uint32_t phx_bell_count(int fd, bool *is_foreign) {
    char front[PEEK_BYTES];
    ssize_t length;
    do {
        length = recv(fd, front, sizeof front, MSG_PEEK | MSG_DONTWAIT);
    } while (length < 0 && errno == EINTR);
    uint32_t count = 0;
    while ((ssize_t)count < length && front[count] == PHX_BELL_BYTE) {
        count++;
    }
    *is_foreign = (ssize_t)count < length;
    return count;
}

void phx_bell_consume(int fd, uint32_t count) {
    char tokens[PEEK_BYTES];
    while (count > 0) {
        ssize_t length = recv(fd, tokens, count < sizeof tokens ? count : sizeof tokens, MSG_DONTWAIT);
        if (length > 0) {
            count -= (uint32_t)length;
        } else if (length == 0 || errno != EINTR) {
            return;
        }
    }
}

static phx_bell_status heard(short events) { return (events & ~POLLIN) != 0 ? PHX_BELL_GONE : PHX_BELL_RUNG; }

phx_bell_status phx_bell_wait(int fd, int64_t deadline_ns) {
    struct pollfd poller = {.fd = fd, .events = POLLIN | POLLRDHUP};
    struct timespec left, *limit = NULL;
    if (deadline_ns != PHX_FOREVER) {
        int64_t ns = deadline_ns - phx_now_ns();
        ns = ns < 0 ? 0 : ns;
        left = (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
        limit = &left;
    }
    int ready = ppoll(&poller, 1, limit, NULL);
    if (ready < 0) {
        return PHX_BELL_INTERRUPTED;
    }
    return ready == 0 ? PHX_BELL_TIMED_OUT : heard(poller.revents);
}

bool phx_bell_is_gone(int fd) {
    struct pollfd poller = {.fd = fd, .events = POLLRDHUP};
    return poll(&poller, 1, 0) > 0;
}

void phx_bell_close(int fd) { close(fd); }
