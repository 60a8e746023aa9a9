// What the files of PipeEnd share.
#ifndef PHX_PIPE_OBJECT_H
#define PHX_PIPE_OBJECT_H

#include "message.h"

#include "../channel/pipe.h"

typedef struct {
    PyObject_HEAD
    phx_pipe_end end;
    int users;  // threads that wait inside without the GIL: the last one releases what was closed meanwhile
    char is_readable, is_writable;
} pipe_object;

static inline pipe_object *as_pipe(PyObject *object) { return (pipe_object *)object; }
static inline int is_attached(const pipe_object *self) { return self->end.state.address != NULL; }

// What a method takes, by position or by name; those that are not given stay as they are. 0, or -1 with an exception.
int phx_pipe_parse(const char *method, const char *const *expected, Py_ssize_t count, PyObject *const *args,
                   Py_ssize_t positional, PyObject *names, PyObject **found);
int phx_pipe_raise_value(const char *text);  // -1
// 0, or -1 with the OSError that says so.
int phx_pipe_check_open(const pipe_object *self);
int phx_pipe_check_readable(const pipe_object *self);
int phx_pipe_check_writable(const pipe_object *self);

// Calls what a subclass has for a plain stream.
PyObject *phx_pipe_on_stream(PyObject *object, const char *method, PyObject *first, PyObject *second, PyObject *third);
void phx_pipe_release_if_unused(pipe_object *self);
PyObject *phx_pipe_close_end(PyObject *object, PyObject *unused);
PyObject *phx_pipe_stop_reading(PyObject *object, PyObject *unused);
// Waits for one round. PHX_OK look again, PHX_TIMED_OUT, PHX_BROKEN; PHX_INTERRUPTED with an exception.
phx_status phx_pipe_wait_round(pipe_object *self, int64_t deadline_ns);

PyObject *phx_pipe_send_object(PyObject *object, PyObject *const *args, Py_ssize_t positional, PyObject *names);
PyObject *phx_pipe_send_bytes(PyObject *object, PyObject *const *args, Py_ssize_t positional, PyObject *names);
PyObject *phx_pipe_recv_object(PyObject *object, PyObject *const *args, Py_ssize_t positional, PyObject *names);
PyObject *phx_pipe_recv_bytes(PyObject *object, PyObject *const *args, Py_ssize_t positional, PyObject *names);
PyObject *phx_pipe_recv_bytes_into(PyObject *object, PyObject *const *args, Py_ssize_t positional, PyObject *names);

#endif
