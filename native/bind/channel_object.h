// The Channel object, for the files that have its methods.
#ifndef PHX_CHANNEL_OBJECT_H
#define PHX_CHANNEL_OBJECT_H

#include "leftover.h"

typedef struct {
    PyObject_HEAD
    phx_hold hold;
    phx_leftover *leftover;  // of get_many; this process's
    int closed;              // of CLOSED_FOR
    int was_used;            // by a put of this object
} channel_object;

enum { CLOSED_FOR_GET = 1, CLOSED_FOR_PUT = 2 };

static inline channel_object *as_channel(PyObject *object) { return (channel_object *)object; }

// 0, or -1 with the exception of a channel that is closed in that direction, or was never made.
int phx_channel_check_open(PyObject *object, int direction);

// -- waiting ---------------------------------------------------------------------------------------------------------

typedef struct {
    bool (*spin)(const phx_hold *, int64_t);
    phx_status (*wait)(const phx_hold *, int64_t);
} phx_wait_kind;

int phx_channel_deadline_of(int block, PyObject *timeout, int64_t *deadline_ns);
// Between two looks: 1 look again, 0 the deadline passed, -1 an exception (of a signal handler).
int phx_channel_go_on(int64_t deadline_ns);
// Spins with the GIL, then without, then sleeps, for one round: 1 look again, 0 the deadline passed, -1 an exception.
int phx_channel_wait_round(const phx_hold *hold, const phx_wait_kind *kind, int64_t deadline_ns);

// -- methods (channel_put.c) -----------------------------------------------------------------------------------------

PyObject *phx_channel_method_put(PyObject *object, PyObject *const *args, Py_ssize_t positional, PyObject *names);
PyObject *phx_channel_method_put_nowait(PyObject *object, PyObject *item);
PyObject *phx_channel_method_put_bytes(PyObject *object, PyObject *args, PyObject *kwargs);
PyObject *phx_channel_method_put_many(PyObject *object, PyObject *args, PyObject *kwargs);
PyObject *phx_channel_raise_full(void);

#endif
