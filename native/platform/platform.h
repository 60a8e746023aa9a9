// The whole operating-system surface. One .c file a mechanism, one folder a system; a port is one more folder.
#ifndef PHX_PLATFORM_H
#define PHX_PLATFORM_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PHX_FOREVER INT64_MAX  // as a deadline: never

// -- park and unpark on a word that several processes map ------------------------------------------------------------

typedef enum {
    PHX_PARK_WOKEN,        // woken, or the word had another value already; look again
    PHX_PARK_TIMED_OUT,    // the deadline has passed
    PHX_PARK_INTERRUPTED,  // a signal handler has run; run the language's handlers, look again
} phx_park_status;

// Sleeps while *word == expected, until unparked, until `deadline_ns` (phx_now_ns) or a signal.
phx_park_status phx_park(uint32_t *word, uint32_t expected, int64_t deadline_ns);
// Wakes up to `count` sleepers of `word`; how many were woken.
int phx_unpark(uint32_t *word, int count);
// One pause of a spinning loop.
static inline void phx_relax(void) { __builtin_ia32_pause(); }

// -- the clock -------------------------------------------------------------------------------------------------------

int64_t phx_now_ns(void);  // monotonic

// -- doorbells: one end of a socket pair each -------------------------------------------------------------------------

#define PHX_BELL_BYTE '\a'  // the token that rings; any other byte is foreign

typedef enum {
    PHX_BELL_RUNG,  // something can be read
    PHX_BELL_TIMED_OUT,
    PHX_BELL_INTERRUPTED,  // a signal handler has run
    PHX_BELL_GONE,         // nobody holds the other end any more
} phx_bell_status;

bool phx_bell_ring(int fd);  // false: the other end is gone
// How many tokens are in front (those that are looked at), and whether something foreign comes next.
uint32_t phx_bell_count(int fd, bool *is_foreign);
void phx_bell_consume(int fd, uint32_t count);
phx_bell_status phx_bell_wait(int fd, int64_t deadline_ns);
bool phx_bell_is_gone(int fd);
void phx_bell_close(int fd);

// -- descriptors that say yes or no: readable or not ----------------------------------------------------------------

int phx_level_open(void);  // not readable; or -1 with errno
void phx_level_set(int fd, bool is_readable);
void phx_level_close(int fd);

// -- threads of the core's own ---------------------------------------------------------------------------------------

// Without signals, with a small stack. 0, or an errno.
int phx_thread_start(pthread_t *thread, void *(*run)(void *), void *argument);

// -- processes -------------------------------------------------------------------------------------------------------

int32_t phx_pid(void);
// Tells one use of a pid from the next; 0 when there is no such process.
uint64_t phx_process_start_time(int32_t pid);
// False once the process has ended, also while nobody has reaped it. start_time 0: not compared.
bool phx_process_is_alive(int32_t pid, uint64_t start_time);
// Ends this process with SIGKILL when `pid` has ended: by the kernel if that is the parent and its thread `starter` (0:
// unknown) its main one, else by a thread of the core's own. Again after a change of credentials. 0, or an errno.
int phx_watch_process(int32_t pid, uint64_t start_time, int32_t starter);
// A number that tells this thread from all others of the process, never 0.
uint64_t phx_thread_id(void);
// Bytes that a fork leaves zeroed in the child, even one that no hook of ours has seen; NULL without memory.
void *phx_wiped_on_fork(size_t bytes);
_Noreturn void phx_kill_self(void);  // SIGKILL: what the kill points do

// -- memory ----------------------------------------------------------------------------------------------------------

typedef struct {
    uint64_t device, inode;  // which file, so that a descriptor that was closed and reused is noticed
} phx_file_identity;

// An anonymous shared file as large as may be (`*bytes`: wanted in, got out), sparse. A descriptor >= 0, or -errno.
int phx_memory_create(uint64_t *bytes);
int phx_memory_identify(int fd, phx_file_identity *identity, uint64_t *bytes);  // 0 or -errno
// A shared mapping of [offset, offset + bytes) of the file; NULL with errno.
void *phx_memory_map(int fd, uint64_t offset, size_t bytes);
// The same without a descriptor: from an existing shared mapping `base` of the file's beginning. NULL with errno.
void *phx_memory_map_beside(void *base, uint64_t offset, size_t bytes);
void phx_memory_unmap(void *address, size_t bytes);
// Makes the pages real before they are written. 0 or an errno (never a SIGBUS later).
int phx_memory_commit(void *address, size_t bytes);
// Gives the pages back to the system; they read as zero afterwards.
void phx_memory_discard(void *address, size_t bytes);
// Bytes that may still be committed before the machine or the container runs out of memory (cgroup v1 and v2, MemAvailable).
uint64_t phx_memory_available(void);
uint64_t phx_random(void);

// -- CPUs ------------------------------------------------------------------------------------------------------------

// Whether spinning can pay here: more than one CPU, no quota below two.
bool phx_may_spin(void);

#endif
