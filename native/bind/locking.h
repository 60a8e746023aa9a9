// What the other types of bind/ need of locks, and how they all wait.
#ifndef PHX_LOCKING_H
#define PHX_LOCKING_H

#include "../sync/rlock.h"
#include "held.h"

// Runs `call`, which gives a phx_status, without the GIL, until it gives anything but PHX_INTERRUPTED, running signal
// handlers in between. PHX_INTERRUPTED afterwards: a handler has raised, and its exception is set.
#define PHX_WAIT(status, call)                                                                                         \
    do {                                                                                                               \
        Py_BEGIN_ALLOW_THREADS                                                                                         \
        status = (call);                                                                                               \
        Py_END_ALLOW_THREADS                                                                                           \
    } while (status == PHX_INTERRUPTED && PyErr_CheckSignals() == 0)

// True for PHX_OK, False for PHX_TIMED_OUT, NULL with an exception for all else.
PyObject *phx_outcome(phx_status status);

// The arguments (block=True, timeout=None), and (timeout=None), as a deadline: 0, or -1 with an exception.
int phx_wait_arguments(PyObject *const *args, Py_ssize_t count, PyObject *names, int64_t *deadline_ns);
int phx_timeout_argument(PyObject *const *args, Py_ssize_t count, PyObject *names, int64_t *deadline_ns);

typedef enum {
    PHX_LOCK_OTHER,      // an object with methods `acquire` and `release`
    PHX_LOCK_PLAIN,      // exactly phalanx's Lock: hold.address is a phx_lock
    PHX_LOCK_RECURSIVE,  // exactly phalanx's RLock: hold.address is a phx_rlock
} phx_lock_kind;

// What a lock is to C code that wants to use it without calling its methods: those of a subclass may do more.
phx_lock_kind phx_lock_kind_of(PyObject *lock);
// The same for what the block behind it is, subclasses too.
phx_lock_kind phx_lock_layout_of(PyObject *lock);
// A new RLock.
PyObject *phx_rlock_object(void);

// `lock.acquire()` and `lock.release()` of any lock: 0, or -1 with an exception.
int phx_lock_enter_slow(PyObject *lock, phx_lock_kind kind);
int phx_lock_leave_slow(PyObject *lock, phx_lock_kind kind);

static inline int phx_lock_enter(PyObject *lock, phx_lock_kind kind) {
    if (kind == PHX_LOCK_RECURSIVE && phx_rlock_try((phx_rlock *)PHX_HELD_ADDRESS(lock), phx_self())) {
        return 0;
    }
    return phx_lock_enter_slow(lock, kind);
}

static inline int phx_lock_leave(PyObject *lock, phx_lock_kind kind) {
    if (kind == PHX_LOCK_RECURSIVE && phx_rlock_release((phx_rlock *)PHX_HELD_ADDRESS(lock), phx_self()) == PHX_OK) {
        return 0;
    }
    return phx_lock_leave_slow(lock, kind);
}

#endif
