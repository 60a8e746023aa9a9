// Which processes live: pidfds, or /proc where there are none.
#define _GNU_SOURCE
#include "../platform.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int32_t phx_pid(void) { return (int32_t)getpid(); }

uint64_t phx_thread_id(void) { return (uint64_t)pthread_self(); }

_Noreturn void phx_kill_self(void) {
    for (;;) {
        kill(getpid(), SIGKILL);
        pause();
    }
}

// The state letter and the start time (in clock ticks since boot) from /proc/PID/stat.
static bool read_stat(int32_t pid, char *state, uint64_t *start_time) {
    char path[32], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    if (length <= 0) {
        return false;
    }
    text[length] = 0;
    const char *field = strrchr(text, ')');  // the name before it may hold anything
    if (field == NULL || field[1] == 0) {
        return false;
    }
    *state = field[2];
    field += 2;
    for (int number = 3; number < 22 && field != NULL; number++) {  // start time is field 22
        field = strchr(field + 1, ' ');
    }
    *start_time = field == NULL ? 0 : strtoull(field, NULL, 10);
    return true;
}

uint64_t phx_process_start_time(int32_t pid) {
    char state;
    uint64_t start_time;
    return read_stat(pid, &state, &start_time) ? start_time : 0;
}

static bool is_same_and_running(int32_t pid, uint64_t start_time) {
    char state;
    uint64_t seen;
    if (!read_stat(pid, &state, &seen)) {
        return kill(pid, 0) == 0 || errno == EPERM;  // no /proc: the best that can be known
    }
    return state != 'Z' && state != 'X' && (start_time == 0 || seen == start_time);
}

static int open_pidfd(int32_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }

static bool has_ended(int pidfd, int timeout_ms) {
    struct pollfd query = {.fd = pidfd, .events = POLLIN};
    return poll(&query, 1, timeout_ms) == 1;
}

bool phx_process_is_alive(int32_t pid, uint64_t start_time) {
    if (pid <= 0) {
        return false;
    }
    int pidfd = open_pidfd(pid);
    if (pidfd < 0) {
        return errno != ESRCH && is_same_and_running(pid, start_time);
    }
    bool alive = !has_ended(pidfd, 0);
    close(pidfd);
    // The pid may have been given to another process meanwhile.
    uint64_t seen =
        start_time == 0 ? 0 : phx_process_start_time(pid);  // 0 when it cannot be known: no descriptor is left
    return alive && (seen == 0 || seen == start_time);
}

typedef struct {
    int32_t pid;
    uint64_t start_time;
} watched;

static void *watch(void *argument) {
    watched target = *(watched *)argument;
    free(argument);
    int pidfd = open_pidfd(target.pid);
    if (pidfd < 0) {
        while (is_same_and_running(target.pid, target.start_time)) {
            usleep(200000);  // no pidfds on this kernel
        }
        phx_kill_self();
    }
    if (target.start_time == 0 || phx_process_start_time(target.pid) == target.start_time) {
        while (!has_ended(pidfd, -1)) {
        }
    }
    phx_kill_self();
}

static int watch_by_thread(int32_t pid, uint64_t start_time) {
    watched *target = malloc(sizeof *target);
    if (target == NULL) {
        return ENOMEM;
    }
    *target = (watched){pid, start_time};
    pthread_t thread;
    int error = phx_thread_start(&thread, watch, target);
    if (error != 0) {
        free(target);
    } else {
        pthread_detach(thread);
    }
    return error;
}

// The kernel's notice comes when the *thread* ends that started this process: only of a main thread is it sure that it
// lives as long as its process. A change of credentials cancels it.
static bool watch_by_kernel(int32_t pid) {
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) {
        return false;
    }
    if (getppid() == pid) {
        return true;
    }
    prctl(PR_SET_PDEATHSIG, 0);  // it has ended already, or a fork server is the parent
    return false;
}

int phx_watch_process(int32_t pid, uint64_t start_time, int32_t starter) {
    static struct {
        int32_t watcher, pid;  // a forked child finds its parent as the watcher
        bool by_kernel;
    } known;
    bool is_again = known.watcher == getpid() && known.pid == pid;
    bool by_kernel = (is_again ? known.by_kernel : starter == pid) && watch_by_kernel(pid);
    int error = by_kernel || (is_again && !known.by_kernel) ? 0 : watch_by_thread(pid, start_time);
    if (error == 0) {
        known.watcher = getpid();
        known.pid = pid;
        known.by_kernel = by_kernel;
    }
    return error;
}

void *phx_wiped_on_fork(size_t bytes) {
    void *page = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        return NULL;
    }
    madvise(page, bytes, MADV_WIPEONFORK);  // refused before Linux 4.14: then the hooks alone tell of a fork
    return page;
}
