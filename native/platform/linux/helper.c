// Threads of the core's own, and descriptors that say yes or no.
#define _GNU_SOURCE
#include "../platform.h"

#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define STACK_BYTES (64 * 1024)

int phx_thread_start(pthread_t *thread, void *(*run)(void *), void *argument) {
    pthread_attr_t attributes;
    sigset_t all, before;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);  // signals are for the program's own threads
    int error = pthread_create(thread, &attributes, run, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return error;
}

int phx_level_open(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

void phx_level_set(int fd, bool is_readable) {
    eventfd_t count;
    if (is_readable) {
        eventfd_write(fd, 1);
    } else {
        eventfd_read(fd, &count);
    }
}

void phx_level_close(int fd) { close(fd); }
