// PipeEnd: one end of a connection. Attached to a pipe of the arena, or a plain stream whose methods a subclass has.
#include "message.h"

#include "../channel/pipe.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#define STORAGE_BYTES 2048  // most records fit: no heap for them
#define RAW_BYTES 64  // a kind of record: what send_bytes sent, which may be a pickle; PHX_BYTES is a bytes object

typedef struct {
    PyObject_HEAD
    phx_pipe_end end;
    int users;  // threads that wait inside without the GIL: the last one releases what was closed meanwhile
    char is_readable, is_writable;
} pipe_object;

static PyTypeObject *pipe_type;

static pipe_object *as_pipe(PyObject *object) { return (pipe_object *)object; }
static int is_attached(const pipe_object *self) { return self->end.state.address != NULL; }

// -- arguments -------------------------------------------------------------------------------------------------------

// What a method takes, by position or by name; those that are not given stay as they are.
static int parse(const char *method, const char *const *expected, Py_ssize_t count, PyObject *const *args,
                 Py_ssize_t positional, PyObject *names, PyObject **found) {
    if (positional > count) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most %zd arguments (%zd given)", method, count, positional);
        return -1;
    }
    for (Py_ssize_t i = 0; i < positional; i++) {
        found[i] = args[i];
    }
    Py_ssize_t named = names == NULL ? 0 : PyTuple_Size(names);
    for (Py_ssize_t i = 0; i < named; i++) {
        PyObject *name = PyTuple_GetItem(names, i);
        Py_ssize_t at = positional;
        while (at < count && PyUnicode_CompareWithASCIIString(name, expected[at]) != 0) {
            at++;
        }
        if (at == count) {
            PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", method, name);
            return -1;
        }
        found[at] = args[positional + i];
    }
    if (count > 0 && found[0] == NULL) {
        PyErr_Format(PyExc_TypeError, "%s() missing required argument: '%s'", method, expected[0]);
        return -1;
    }
    return 0;
}

static int to_size(PyObject *object, Py_ssize_t *size) {
    *size = PyNumber_AsSsize_t(object, PyExc_OverflowError);
    return *size == -1 && PyErr_Occurred() ? -1 : 0;
}

static int raise_value(const char *text) {
    PyErr_SetString(PyExc_ValueError, text);
    return -1;
}

static int raise_os(const char *text) {
    PyErr_SetString(PyExc_OSError, text);
    return -1;
}

static int check_open(const pipe_object *self) { return self->end.fd >= 0 ? 0 : raise_os("handle is closed"); }

static int check_readable(const pipe_object *self) {
    return check_open(self) < 0 ? -1 : self->is_readable ? 0 : raise_os("connection is write-only");
}

static int check_writable(const pipe_object *self) {
    return check_open(self) < 0 ? -1 : self->is_writable ? 0 : raise_os("connection is read-only");
}

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
        return raise_value("invalid handle");
    }
    if (!readable && !writable) {
        return raise_value("at least one of `readable` and `writable` must be True");
    }
    as_pipe(object)->end.fd = (int)fd;
    as_pipe(object)->is_readable = (char)readable;
    as_pipe(object)->is_writable = (char)writable;
    return 0;
}

static void release_if_unused(pipe_object *self) {
    if (self->end.fd < 0 && self->users == 0) {
        phx_pipe_release(&self->end);
    }
}

static PyObject *close_end(PyObject *object, PyObject *unused) {
    (void)unused;
    phx_pipe_close(&as_pipe(object)->end);
    release_if_unused(as_pipe(object));
    Py_RETURN_NONE;
}

static void dealloc(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    phx_pipe_close(&as_pipe(object)->end);
    phx_pipe_release(&as_pipe(object)->end);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF(type);
}

// What follows cannot be read: receive no more.
static PyObject *stop_reading(PyObject *object, PyObject *unused) {
    pipe_object *self = as_pipe(object);
    if (!self->is_writable) {
        return close_end(object, unused);
    }
    self->is_readable = 0;
    Py_RETURN_NONE;
}

// -- plain streams ---------------------------------------------------------------------------------------------------

static PyObject *on_stream(PyObject *object, const char *method, PyObject *first, PyObject *second, PyObject *third) {
    PyObject *function = PyObject_GetAttrString(object, method);
    PyObject *result = function == NULL ? NULL : PyObject_CallFunctionObjArgs(function, first, second, third, NULL);
    Py_XDECREF(function);
    return result;
}

// -- sending ---------------------------------------------------------------------------------------------------------

static PyObject *raise_broken_pipe(void) {
    PyObject *arguments = Py_BuildValue("(is)", EPIPE, "Broken pipe");
    if (arguments != NULL) {
        PyErr_SetObject(PyExc_BrokenPipeError, arguments);
        Py_DECREF(arguments);
    }
    return NULL;
}

// Waits for one round: 0 look again, -1 with an exception.
static int wait_for_space(pipe_object *self) {
    phx_pipe_end end = self->end;
    phx_status status = PHX_OK;
    if (phx_channel_spin_space(&end.out, PHX_SPIN_WITH_GIL_NS)) {
        return 0;
    }
    self->users++;
    Py_BEGIN_ALLOW_THREADS
    if (!phx_channel_spin_space(&end.out, PHX_SPIN_NS)) {
        status = phx_pipe_wait_space(&end, PHX_FOREVER);
    }
    Py_END_ALLOW_THREADS
    self->users--;
    release_if_unused(self);
    if (status == PHX_INTERRUPTED && PyErr_CheckSignals() < 0) {
        return -1;
    }
    return check_open(self);
}

static PyObject *publish(pipe_object *self, phx_encoded *encoded) {
    phx_status status;
    while ((status = phx_pipe_put(&self->end, &encoded->message)) == PHX_TIMED_OUT) {
        if (wait_for_space(self) < 0) {
            phx_encoded_drop(encoded);
            return NULL;
        }
    }
    if (status == PHX_OK) {
        phx_encoded_sent(encoded);
        Py_RETURN_NONE;
    }
    phx_encoded_drop(encoded);
    if (status == PHX_OVERFLOW) {
        raise_value("the message is too large for one record");
        return NULL;
    }
    return status == PHX_BROKEN ? raise_broken_pipe() : phx_raise(status);
}

static PyObject *send_object(PyObject *object, PyObject *const *args, Py_ssize_t positional, PyObject *names) {
    static const char *const expected[] = {"obj"};
    PyObject *item = NULL;
    phx_encoded encoded;
    if (parse("send", expected, 1, args, positional, names, &item) < 0 || check_writable(as_pipe(object)) < 0) {
        return NULL;
    }
    if (!is_attached(as_pipe(object))) {
        return on_stream(object, "_stream_send", item, NULL, NULL);
    }
    if (phx_encode(item, &encoded) < 0) {
        return NULL;
    }
    if (check_open(as_pipe(object)) < 0) {  // pickling runs any code
        phx_encoded_drop(&encoded);
        return NULL;
    }
    return publish(as_pipe(object), &encoded);
}

// Narrows a view to `size` bytes from `offset` on, all the rest without a size.
static int narrow(Py_buffer *view, PyObject *offset, PyObject *size) {
    Py_ssize_t from = 0, count;
    if (offset != NULL && to_size(offset, &from) < 0) {
        return -1;
    }
    if (from < 0) {
        return raise_value("offset is negative");
    }
    if (view->len < from) {
        return raise_value("buffer length < offset");
    }
    count = view->len - from;
    if (size != NULL && size != Py_None) {
        if (to_size(size, &count) < 0) {
            return -1;
        }
        if (count < 0) {
            return raise_value("size is negative");
        }
        if (count > view->len - from) {
            return raise_value("buffer length < offset + size");
        }
    }
    view->buf = (char *)view->buf + from;
    view->len = count;
    return 0;
}

static PyObject *send_bytes(PyObject *object, PyObject *const *args, Py_ssize_t positional, PyObject *names) {
    static const char *const expected[] = {"buf", "offset", "size"};
    PyObject *given[3] = {NULL, NULL, NULL}, *result = NULL;
    Py_buffer view;
    if (parse("send_bytes", expected, 3, args, positional, names, given) < 0 || check_writable(as_pipe(object)) < 0 ||
        PyObject_GetBuffer(given[0], &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    Py_buffer part = view;
    phx_encoded encoded;
    if (narrow(&part, given[1], given[2]) < 0) {
        goto done;
    }
    if (!is_attached(as_pipe(object))) {
        PyObject *bytes = PyMemoryView_FromMemory(part.buf, part.len, PyBUF_READ);
        result = bytes == NULL ? NULL : on_stream(object, "_stream_send_bytes", bytes, NULL, NULL);
        Py_XDECREF(bytes);
    } else if (phx_encode_bytes(&part, &encoded) == 0) {
        encoded.message.kind = RAW_BYTES;
        result = publish(as_pipe(object), &encoded);
    }
done:
    PyBuffer_Release(&view);
    return result;
}

// -- receiving -------------------------------------------------------------------------------------------------------

// Waits for one round. PHX_OK look again, PHX_TIMED_OUT, PHX_BROKEN; PHX_INTERRUPTED with an exception.
static phx_status wait_for_items(pipe_object *self, int64_t deadline_ns) {
    phx_pipe_end end = self->end;
    phx_status status = PHX_OK;
    if (phx_channel_spin_items(&end.in, PHX_SPIN_WITH_GIL_NS)) {
        return PHX_OK;
    }
    self->users++;
    Py_BEGIN_ALLOW_THREADS
    if (!phx_channel_spin_items(&end.in, PHX_SPIN_NS)) {
        status = phx_pipe_wait_items(&end, deadline_ns);
    }
    Py_END_ALLOW_THREADS
    self->users--;
    release_if_unused(self);
    if (status == PHX_INTERRUPTED && PyErr_CheckSignals() == 0) {
        status = PHX_OK;
    }
    return status != PHX_INTERRUPTED && check_readable(self) < 0 ? PHX_INTERRUPTED : status;
}

// Takes one record, waiting for it. 0, or -1 with an exception.
static int receive(pipe_object *self, phx_batch *batch) {
    bool is_peer_gone = false;
    for (;;) {
        phx_status status = phx_pipe_take(&self->end, batch);
        if (status == PHX_OK) {
            return 0;
        }
        if (status != PHX_TIMED_OUT) {
            phx_raise(status);
            return -1;
        }
        if (is_peer_gone) {
            PyErr_SetNone(PyExc_EOFError);
            return -1;
        }
        status = wait_for_items(self, PHX_FOREVER);
        if (status == PHX_INTERRUPTED) {
            return -1;
        }
        is_peer_gone = status == PHX_BROKEN;
    }
}

static PyObject *convert(PyObject *object, const char *method, PyObject *item) {
    PyObject *converted = item == NULL ? NULL : on_stream(object, method, item, NULL, NULL);
    Py_XDECREF(item);
    return converted;
}

// What was sent as an object may be received as bytes (its pickle), and the other way round.
static PyObject *decode_as(PyObject *object, phx_message *message, bool as_object, int *is_gone) {
    if (message->kind == RAW_BYTES) {
        message->kind = PHX_BYTES;
        PyObject *bytes = phx_decode(message, is_gone);
        return as_object ? convert(object, "_unpickled", bytes) : bytes;
    }
    if (as_object) {
        return phx_decode(message, is_gone);
    }
    if (message->kind == PHX_BYTES) {
        return convert(object, "_pickled", phx_decode(message, is_gone));
    }
    return phx_decode_bytes(message, is_gone);
}

static PyObject *receive_as(pipe_object *self, bool as_object) {
    _Alignas(8) uint8_t storage[STORAGE_BYTES];
    PyObject *item;
    int is_gone;
    do {
        phx_batch batch;
        phx_message message;
        size_t position = 0;
        item = NULL;
        is_gone = 0;
        phx_batch_begin(&batch, storage, sizeof storage);
        if (receive(self, &batch) == 0 && phx_batch_next(&batch, &position, &message)) {
            item = decode_as((PyObject *)self, &message, as_object, &is_gone);
        }
        phx_batch_end(&batch);
    } while (item == NULL && is_gone && check_readable(self) == 0);
    return item;
}

static PyObject *recv_object(PyObject *object, PyObject *const *args, Py_ssize_t positional, PyObject *names) {
    (void)args;
    if (positional > 0 || names != NULL) {
        PyErr_SetString(PyExc_TypeError, "recv() takes no arguments");
        return NULL;
    }
    if (check_readable(as_pipe(object)) < 0) {
        return NULL;
    }
    if (!is_attached(as_pipe(object))) {
        return on_stream(object, "_stream_recv", NULL, NULL, NULL);
    }
    return receive_as(as_pipe(object), true);
}

static PyObject *refuse_long(PyObject *object, PyObject *bytes, Py_ssize_t limit) {
    if (bytes == NULL || limit < 0 || PyBytes_Size(bytes) <= limit) {
        return bytes;
    }
    Py_DECREF(bytes);
    PyObject *stopped = stop_reading(object, NULL);
    Py_XDECREF(stopped);
    raise_os("bad message length");
    return NULL;
}

static PyObject *recv_bytes(PyObject *object, PyObject *const *args, Py_ssize_t positional, PyObject *names) {
    static const char *const expected[] = {"maxlength"};
    PyObject *given = Py_None;
    Py_ssize_t limit = -1;
    if (parse("recv_bytes", expected, 1, args, positional, names, &given) < 0 || check_readable(as_pipe(object)) < 0 ||
        (given != Py_None && to_size(given, &limit) < 0)) {
        return NULL;
    }
    if (given != Py_None && limit < 0) {
        raise_value("negative maxlength");
        return NULL;
    }
    if (!is_attached(as_pipe(object))) {
        return on_stream(object, "_stream_recv_bytes", given, NULL, NULL);
    }
    return refuse_long(object, receive_as(as_pipe(object), false), limit);
}

static PyObject *raise_too_short(PyObject *message) {
    PyObject *class = phx_error_class("BufferTooShort");
    if (class != NULL) {
        PyObject *error = PyObject_CallFunctionObjArgs(class, message, NULL);
        if (error != NULL) {
            PyErr_SetObject(class, error);
            Py_DECREF(error);
        }
    }
    return NULL;
}

static PyObject *copy_into(const Py_buffer *view, Py_ssize_t offset, PyObject *message) {
    char *data;
    Py_ssize_t size;
    if (message == NULL || PyBytes_AsStringAndSize(message, &data, &size) < 0) {
        return NULL;
    }
    if (size > view->len - offset) {
        return raise_too_short(message);
    }
    memcpy((char *)view->buf + offset, data, (size_t)size);
    return PyLong_FromSsize_t(size);
}

static PyObject *recv_bytes_into(PyObject *object, PyObject *const *args, Py_ssize_t positional, PyObject *names) {
    static const char *const expected[] = {"buf", "offset"};
    PyObject *given[2] = {NULL, NULL}, *result = NULL;
    Py_ssize_t offset = 0;
    Py_buffer view;
    if (parse("recv_bytes_into", expected, 2, args, positional, names, given) < 0 ||
        check_readable(as_pipe(object)) < 0 || (given[1] != NULL && to_size(given[1], &offset) < 0) ||
        PyObject_GetBuffer(given[0], &view, PyBUF_WRITABLE) < 0) {
        return NULL;
    }
    if (offset < 0) {
        raise_value("negative offset");
    } else if (offset > view.len) {
        raise_value("offset too large");
    } else {
        PyObject *message = is_attached(as_pipe(object)) ? receive_as(as_pipe(object), false)
                                                         : on_stream(object, "_stream_recv_bytes", Py_None, NULL, NULL);
        result = copy_into(&view, offset, message);
        Py_XDECREF(message);
    }
    PyBuffer_Release(&view);
    return result;
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
        switch (wait_for_items(self, deadline_ns)) {
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
    if (parse("poll", expected, 1, args, positional, names, &timeout) < 0 || check_readable(as_pipe(object)) < 0 ||
        phx_deadline_from(timeout, &deadline_ns) < 0) {
        return NULL;
    }
    if (!is_attached(as_pipe(object))) {
        return on_stream(object, "_stream_poll", timeout, NULL, NULL);
    }
    return poll_until(as_pipe(object), deadline_ns);
}

static PyObject *arm(PyObject *object, PyObject *unused) {
    (void)unused;
    pipe_object *self = as_pipe(object);
    if (check_open(self) < 0) {
        return NULL;
    }
    return PyBool_FromLong(is_attached(self) && self->is_readable && !phx_pipe_arm(&self->end));
}

static PyObject *is_ready(PyObject *object, PyObject *unused) {
    (void)unused;
    pipe_object *self = as_pipe(object);
    if (check_open(self) < 0) {
        return NULL;
    }
    return PyBool_FromLong(!is_attached(self) || !self->is_readable || phx_pipe_has_items(&self->end) ||
                           has_end_or_foreign(self));
}

static PyObject *fileno_of(PyObject *object, PyObject *unused) {
    (void)unused;
    pipe_object *self = as_pipe(object);
    if (check_open(self) < 0) {
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
    if (check_writable(self) < 0) {
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
    if (check_writable(self) < 0) {
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
    {"send", FAST(send_object),
     "send($self, obj)\n--\n\nSend an object. OSError; BrokenPipeError if nobody can receive it any more; whatever "
     "pickling\n"
     "raises, and then nothing has been sent."},
    {"recv", FAST(recv_object),
     "recv($self)\n--\n\nThe next object. EOFError when the other side has closed and nothing is left; whatever "
     "unpickling\n"
     "raises."},
    {"send_bytes", FAST(send_bytes),
     "send_bytes($self, buf, offset=0, size=None)\n--\n\nSend the bytes of a buffer as one message: `size` of them "
     "from `offset`\n"
     "on, without a size all the rest. ValueError for an offset or size that is negative or beyond the buffer, "
     "TypeError\n"
     "for what is no buffer."},
    {"recv_bytes", FAST(recv_bytes),
     "recv_bytes($self, maxlength=None)\n--\n\nThe next message as bytes. EOFError at the end. If it is longer than\n"
     "`maxlength`, OSError, and nothing more can be received."},
    {"recv_bytes_into", FAST(recv_bytes_into),
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
    {"close", close_end, METH_NOARGS, "close($self)\n--\n\nClose the connection; a second call does nothing."},
    {"_stop_reading", stop_reading, METH_NOARGS, NULL},
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
