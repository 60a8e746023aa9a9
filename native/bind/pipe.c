// PipeEnd: one end of a connection. Attached to a pipe of the arena, or a plain stream whose methods a subclass has.
#include "pipe_object.h"

#include <limits.h>

static PyTypeObject *pipe_type;

// -- making and ending -----------------------------------------------------------------------------------------------

static PyObject *new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)args, (void)kwargs;
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    PyObject *object = allocate(type, 0);
    if (object != NULL) {
        as_pipe(object)->end.fd = -1;
    }
    return object;
}

static int init(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"handle", "readable", "writable", NULL};
    PyObject *handle;
    int readable = 1, writable = 1;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|pp:Connection", names, &handle, &readable, &writable)) {
        return -1;
    }
    PyObject *number = PyNumber_Index(handle);
    long fd = number == NULL ? -1 : PyLong_AsLong(number);
    Py_XDECREF(number);
    if (PyErr_Occurred()) {
        return -1;
    }
    if (fd < 0 || fd > INT_MAX) {
        return phx_pipe_raise_value("invalid handle");
    }
    if (!readable && !writable) {
        return phx_pipe_raise_value("at least one of `readable` and `writable` must be True");
    }
    as_pipe(object)->end.fd = (int)fd;
    as_pipe(object)->is_readable = (char)readable;
    as_pipe(object)->is_writable = (char)writable;
    return 0;
}

PyObject *phx_pipe_close_end(PyObject *object, PyObject *unused) {
    (void)unused;
    phx_pipe_close(&as_pipe(object)->end);
    phx_pipe_release_if_unused(as_pipe(object));
    Py_RETURN_NONE;
}

static void dealloc(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    phx_pipe_close(&as_pipe(object)->end);
    phx_pipe_release(&as_pipe(object)->end);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF(type);
}

// -- waiting ---------------------------------------------------------------------------------------------------------

static bool has_end_or_foreign(const pipe_object *self) {
    bool is_foreign;
    phx_bell_count(self->end.fd, &is_foreign);
    return is_foreign || phx_bell_is_gone(self->end.fd);
}

static PyObject *poll_until(pipe_object *self, int64_t deadline_ns) {
    for (;;) {
        if (phx_pipe_has_items(&self->end) || has_end_or_foreign(self)) {
            Py_RETURN_TRUE;
        }
        if (deadline_ns == 0) {
            Py_RETURN_FALSE;
        }
        switch (phx_pipe_wait_round(self, deadline_ns)) {
        case PHX_TIMED_OUT: Py_RETURN_FALSE;
        case PHX_INTERRUPTED: return NULL;
        case PHX_BROKEN: Py_RETURN_TRUE;
        default: break;
        }
    }
}

static PyObject *poll_end(PyObject *object, PyObject *const *args, Py_ssize_t positional, PyObject *names) {
    static const char *const expected[] = {"timeout"};
    PyObject *timeout = Py_False;
    int64_t deadline_ns;
    if (phx_pipe_parse("poll", expected, 1, args, positional, names, &timeout) < 0 ||
        phx_pipe_check_readable(as_pipe(object)) < 0 || phx_deadline_from(timeout, &deadline_ns) < 0) {
        return NULL;
    }
    if (!is_attached(as_pipe(object))) {
        return phx_pipe_on_stream(object, "_stream_poll", timeout, NULL, NULL);
    }
    return poll_until(as_pipe(object), deadline_ns);
}

static PyObject *arm(PyObject *object, PyObject *unused) {
    (void)unused;
    pipe_object *self = as_pipe(object);
    if (phx_pipe_check_open(self) < 0) {
        return NULL;
    }
    return PyBool_FromLong(is_attached(self) && self->is_readable && !phx_pipe_arm(&self->end));
}

static PyObject *is_ready(PyObject *object, PyObject *unused) {
    (void)unused;
    pipe_object *self = as_pipe(object);
    if (phx_pipe_check_open(self) < 0) {
        return NULL;
    }
    return PyBool_FromLong(!is_attached(self) || !self->is_readable || phx_pipe_has_items(&self->end) ||
                           has_end_or_foreign(self));
}

static PyObject *fileno_of(PyObject *object, PyObject *unused) {
    (void)unused;
    pipe_object *self = as_pipe(object);
    if (phx_pipe_check_open(self) < 0) {
        return NULL;
    }
    if (is_attached(self) && self->is_readable) {
        phx_pipe_watch(&self->end);
    }
    return PyLong_FromLong(self->end.fd);
}

static PyObject *expect_foreign(PyObject *object, PyObject *unused) {
    (void)unused;
    pipe_object *self = as_pipe(object);
    if (phx_pipe_check_writable(self) < 0) {
        return NULL;
    }
    if (is_attached(self)) {
        phx_pipe_expect_foreign(&self->end);
    }
    Py_RETURN_NONE;
}

static PyObject *ring_again(PyObject *object, PyObject *unused) {
    (void)unused;
    pipe_object *self = as_pipe(object);
    if (phx_pipe_check_writable(self) < 0) {
        return NULL;
    }
    if (is_attached(self)) {
        phx_pipe_ring_again(&self->end);
    }
    Py_RETURN_NONE;
}

// -- pipes -----------------------------------------------------------------------------------------------------------

static PyObject *attach_pair(PyObject *object, PyObject *args) {
    PyObject *other;
    int duplex;
    if (!PyArg_ParseTuple(args, "O!p:_attach_pair", pipe_type, &other, &duplex) || phx_ensure_arena() != 0) {
        return NULL;
    }
    if (is_attached(as_pipe(object)) || is_attached(as_pipe(other)) || object == other) {
        PyErr_SetString(PyExc_ValueError, "both must be plain streams");
        return NULL;
    }
    phx_status status = phx_pipe_new(&as_pipe(object)->end, &as_pipe(other)->end, duplex);
    if (status != PHX_OK) {
        return phx_raise(status);
    }
    Py_RETURN_NONE;
}

static PyObject *grant_or_none(const phx_hold *hold) {
    return hold->address == NULL ? Py_NewRef(Py_None) : phx_grant(hold, "Connection");
}

static PyObject *grant(PyObject *object, PyObject *unused) {
    (void)unused;
    pipe_object *self = as_pipe(object);
    if (!is_attached(self)) {
        Py_RETURN_NONE;
    }
    PyObject *state = grant_or_none(&self->end.state);
    PyObject *in = state == NULL ? NULL : grant_or_none(&self->end.in);
    PyObject *out = in == NULL ? NULL : grant_or_none(&self->end.out);
    if (out != NULL) {
        return Py_BuildValue("(INNN)", self->end.side, state, in, out);
    }
    Py_XDECREF(state);
    Py_XDECREF(in);
    return NULL;
}

static int take_or_none(PyObject *handle, phx_hold *hold) { return handle == Py_None ? 0 : phx_take(handle, hold); }

static PyObject *attach(PyObject *object, PyObject *handles) {
    pipe_object *self = as_pipe(object);
    phx_pipe_end end = {.fd = self->end.fd};
    PyObject *state, *in, *out;
    if (!PyArg_ParseTuple(handles, "IOOO:_attach", &end.side, &state, &in, &out)) {
        return NULL;
    }
    if (is_attached(self) || end.side > 1) {
        PyErr_SetString(PyExc_ValueError, "attached already, or no handles of a pipe");
        return NULL;
    }
    if (phx_take(state, &end.state) < 0 || take_or_none(in, &end.in) < 0 || take_or_none(out, &end.out) < 0) {
        phx_pipe_release(&end);
        return NULL;
    }
    self->end = end;
    Py_RETURN_NONE;
}

// -- the type --------------------------------------------------------------------------------------------------------

static PyObject *get_closed(PyObject *object, void *unused) {
    (void)unused;
    return PyBool_FromLong(as_pipe(object)->end.fd < 0);
}

static PyObject *get_readable(PyObject *object, void *unused) {
    (void)unused;
    return PyBool_FromLong(as_pipe(object)->is_readable);
}

static PyObject *get_writable(PyObject *object, void *unused) {
    (void)unused;
    return PyBool_FromLong(as_pipe(object)->is_writable);
}

static PyObject *get_handle(PyObject *object, void *unused) {
    (void)unused;
    int fd = as_pipe(object)->end.fd;
    return fd < 0 ? Py_NewRef(Py_None) : PyLong_FromLong(fd);
}

static PyObject *get_attached(PyObject *object, void *unused) {
    (void)unused;
    return PyBool_FromLong(is_attached(as_pipe(object)));
}

#define FAST(function) (PyCFunction)(void (*)(void)) function, METH_FASTCALL | METH_KEYWORDS
static PyMethodDef methods[] = {
    {"send", FAST(phx_pipe_send_object),
     "send($self, obj)\n--\n\nSend an object. OSError; BrokenPipeError if nobody can receive it any more; whatever "
     "pickling\n"
     "raises, and then nothing has been sent."},
    {"recv", FAST(phx_pipe_recv_object),
     "recv($self)\n--\n\nThe next object. EOFError when the other side has closed and nothing is left; whatever "
     "unpickling\n"
     "raises."},
    {"send_bytes", FAST(phx_pipe_send_bytes),
     "send_bytes($self, buf, offset=0, size=None)\n--\n\nSend the bytes of a buffer as one message: `size` of them "
     "from `offset`\n"
     "on, without a size all the rest. ValueError for an offset or size that is negative or beyond the buffer, "
     "TypeError\n"
     "for what is no buffer."},
    {"recv_bytes", FAST(phx_pipe_recv_bytes),
     "recv_bytes($self, maxlength=None)\n--\n\nThe next message as bytes. EOFError at the end. If it is longer than\n"
     "`maxlength`, OSError, and nothing more can be received."},
    {"recv_bytes_into", FAST(phx_pipe_recv_bytes_into),
     "recv_bytes_into($self, buf, offset=0)\n--\n\nWrite the next message into a buffer, from byte `offset` on; the "
     "number of\n"
     "bytes. EOFError at the end, ValueError for an offset outside the buffer, `BufferTooShort` (with the whole "
     "message\n"
     "as its `args[0]`) if it does not fit."},
    {"poll", FAST(poll_end),
     "poll($self, timeout=0.0)\n--\n\nWhether a message, or the end, can be received within `timeout` seconds (None: "
     "wait\n"
     "without a limit)."},
    {"fileno", fileno_of, METH_NOARGS, "fileno($self)\n--\n\nThe file descriptor; OSError if closed."},
    {"close", phx_pipe_close_end, METH_NOARGS, "close($self)\n--\n\nClose the connection; a second call does nothing."},
    {"_stop_reading", phx_pipe_stop_reading, METH_NOARGS, NULL},
    {"_arm", arm, METH_NOARGS, NULL},
    {"_is_ready", is_ready, METH_NOARGS, NULL},
    {"_expect_foreign", expect_foreign, METH_NOARGS, NULL},
    {"_ring_again", ring_again, METH_NOARGS, NULL},
    {"_attach_pair", attach_pair, METH_VARARGS, NULL},
    {"_attach", attach, METH_O, NULL},
    {"_grant", grant, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef properties[] = {
    {"closed", get_closed, NULL, "True once `close` has been called.", NULL},
    {"readable", get_readable, NULL, "True if messages can be received.", NULL},
    {"writable", get_writable, NULL, "True if messages can be sent.", NULL},
    {"_handle", get_handle, NULL, NULL, NULL},
    {"_is_attached", get_attached, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_new, (void *)new},
    {Py_tp_init, (void *)init},
    {Py_tp_dealloc, (void *)dealloc},
    {Py_tp_methods, methods},
    {Py_tp_getset, properties},
    {Py_tp_doc, (void *)"PipeEnd(handle, readable=True, writable=True)\n--\n\nOne end of a stream of messages."},
    {0, NULL},
};

static PyType_Spec spec = {"phalanx._native.PipeEnd", sizeof(pipe_object), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
                           slots};

int phx_bind_pipe(PyObject *module) {
    pipe_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &spec, NULL);
    return pipe_type == NULL ? -1 : PyModule_AddType(module, pipe_type);
}
