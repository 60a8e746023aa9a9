// What goes through a PipeEnd: sending, receiving, and their arguments.
#include "pipe_object.h"

#include <errno.h>
#include <string.h>

#define STORAGE_BYTES 2048  // most records fit: no heap for them
#define RAW_BYTES 64  // a kind of record: what send_bytes sent, which may be a pickle; PHX_BYTES is a bytes object

// -- arguments -------------------------------------------------------------------------------------------------------

// What a method takes, by position or by name; those that are not given stay as they are.
int phx_pipe_parse(const char *method, const char *const *expected, Py_ssize_t count, PyObject *const *args,
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

int phx_pipe_raise_value(const char *text) {
    PyErr_SetString(PyExc_ValueError, text);
    return -1;
}

static int raise_os(const char *text) {
    PyErr_SetString(PyExc_OSError, text);
    return -1;
}

int phx_pipe_check_open(const pipe_object *self) { return self->end.fd >= 0 ? 0 : raise_os("handle is closed"); }

int phx_pipe_check_readable(const pipe_object *self) {
    return phx_pipe_check_open(self) < 0 ? -1 : self->is_readable ? 0 : raise_os("connection is write-only");
}

int phx_pipe_check_writable(const pipe_object *self) {
    return phx_pipe_check_open(self) < 0 ? -1 : self->is_writable ? 0 : raise_os("connection is read-only");
}

// -- ending ------------------------------------------------------------------------------------------------------------

void phx_pipe_release_if_unused(pipe_object *self) {
    if (self->end.fd < 0 && self->users == 0) {
        phx_pipe_release(&self->end);
    }
}

// What follows cannot be read: receive no more.
PyObject *phx_pipe_stop_reading(PyObject *object, PyObject *unused) {
    pipe_object *self = as_pipe(object);
    if (!self->is_writable) {
        return phx_pipe_close_end(object, unused);
    }
    self->is_readable = 0;
    Py_RETURN_NONE;
}

// -- plain streams ---------------------------------------------------------------------------------------------------

PyObject *phx_pipe_on_stream(PyObject *object, const char *method, PyObject *first, PyObject *second, PyObject *third) {
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
    phx_pipe_release_if_unused(self);
    if (status == PHX_INTERRUPTED && PyErr_CheckSignals() < 0) {
        return -1;
    }
    return phx_pipe_check_open(self);
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
        phx_pipe_raise_value("the message is too large for one record");
        return NULL;
    }
    return status == PHX_BROKEN ? raise_broken_pipe() : phx_raise(status);
}

PyObject *phx_pipe_send_object(PyObject *object, PyObject *const *args, Py_ssize_t positional, PyObject *names) {
    static const char *const expected[] = {"obj"};
    PyObject *item = NULL;
    phx_encoded encoded;
    if (phx_pipe_parse("send", expected, 1, args, positional, names, &item) < 0 ||
        phx_pipe_check_writable(as_pipe(object)) < 0) {
        return NULL;
    }
    if (!is_attached(as_pipe(object))) {
        return phx_pipe_on_stream(object, "_stream_send", item, NULL, NULL);
    }
    if (phx_encode(item, &encoded) < 0) {
        return NULL;
    }
    if (phx_pipe_check_open(as_pipe(object)) < 0) {  // pickling runs any code
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
        return phx_pipe_raise_value("offset is negative");
    }
    if (view->len < from) {
        return phx_pipe_raise_value("buffer length < offset");
    }
    count = view->len - from;
    if (size != NULL && size != Py_None) {
        if (to_size(size, &count) < 0) {
            return -1;
        }
        if (count < 0) {
            return phx_pipe_raise_value("size is negative");
        }
        if (count > view->len - from) {
            return phx_pipe_raise_value("buffer length < offset + size");
        }
    }
    view->buf = (char *)view->buf + from;
    view->len = count;
    return 0;
}

PyObject *phx_pipe_send_bytes(PyObject *object, PyObject *const *args, Py_ssize_t positional, PyObject *names) {
    static const char *const expected[] = {"buf", "offset", "size"};
    PyObject *given[3] = {NULL, NULL, NULL}, *result = NULL;
    Py_buffer view;
    if (phx_pipe_parse("send_bytes", expected, 3, args, positional, names, given) < 0 ||
        phx_pipe_check_writable(as_pipe(object)) < 0 || PyObject_GetBuffer(given[0], &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    Py_buffer part = view;
    phx_encoded encoded;
    if (narrow(&part, given[1], given[2]) < 0) {
        goto done;
    }
    if (!is_attached(as_pipe(object))) {
        PyObject *bytes = PyMemoryView_FromMemory(part.buf, part.len, PyBUF_READ);
        result = bytes == NULL ? NULL : phx_pipe_on_stream(object, "_stream_send_bytes", bytes, NULL, NULL);
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
phx_status phx_pipe_wait_round(pipe_object *self, int64_t deadline_ns) {
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
    phx_pipe_release_if_unused(self);
    if (status == PHX_INTERRUPTED && PyErr_CheckSignals() == 0) {
        status = PHX_OK;
    }
    return status != PHX_INTERRUPTED && phx_pipe_check_readable(self) < 0 ? PHX_INTERRUPTED : status;
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
        status = phx_pipe_wait_round(self, PHX_FOREVER);
        if (status == PHX_INTERRUPTED) {
            return -1;
        }
        is_peer_gone = status == PHX_BROKEN;
    }
}

static PyObject *convert(PyObject *object, const char *method, PyObject *item) {
    PyObject *converted = item == NULL ? NULL : phx_pipe_on_stream(object, method, item, NULL, NULL);
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
    } while (item == NULL && is_gone && phx_pipe_check_readable(self) == 0);
    return item;
}

PyObject *phx_pipe_recv_object(PyObject *object, PyObject *const *args, Py_ssize_t positional, PyObject *names) {
    (void)args;
    if (positional > 0 || names != NULL) {
        PyErr_SetString(PyExc_TypeError, "recv() takes no arguments");
        return NULL;
    }
    if (phx_pipe_check_readable(as_pipe(object)) < 0) {
        return NULL;
    }
    if (!is_attached(as_pipe(object))) {
        return phx_pipe_on_stream(object, "_stream_recv", NULL, NULL, NULL);
    }
    return receive_as(as_pipe(object), true);
}

static PyObject *refuse_long(PyObject *object, PyObject *bytes, Py_ssize_t limit) {
    if (bytes == NULL || limit < 0 || PyBytes_Size(bytes) <= limit) {
        return bytes;
    }
    Py_DECREF(bytes);
    PyObject *stopped = phx_pipe_stop_reading(object, NULL);
    Py_XDECREF(stopped);
    raise_os("bad message length");
    return NULL;
}

PyObject *phx_pipe_recv_bytes(PyObject *object, PyObject *const *args, Py_ssize_t positional, PyObject *names) {
    static const char *const expected[] = {"maxlength"};
    PyObject *given = Py_None;
    Py_ssize_t limit = -1;
    if (phx_pipe_parse("recv_bytes", expected, 1, args, positional, names, &given) < 0 ||
        phx_pipe_check_readable(as_pipe(object)) < 0 || (given != Py_None && to_size(given, &limit) < 0)) {
        return NULL;
    }
    if (given != Py_None && limit < 0) {
        phx_pipe_raise_value("negative maxlength");
        return NULL;
    }
    if (!is_attached(as_pipe(object))) {
        return phx_pipe_on_stream(object, "_stream_recv_bytes", given, NULL, NULL);
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

PyObject *phx_pipe_recv_bytes_into(PyObject *object, PyObject *const *args, Py_ssize_t positional, PyObject *names) {
    static const char *const expected[] = {"buf", "offset"};
    PyObject *given[2] = {NULL, NULL}, *result = NULL;
    Py_ssize_t offset = 0;
    Py_buffer view;
    if (phx_pipe_parse("recv_bytes_into", expected, 2, args, positional, names, given) < 0 ||
        phx_pipe_check_readable(as_pipe(object)) < 0 || (given[1] != NULL && to_size(given[1], &offset) < 0) ||
        PyObject_GetBuffer(given[0], &view, PyBUF_WRITABLE) < 0) {
        return NULL;
    }
    if (offset < 0) {
        phx_pipe_raise_value("negative offset");
    } else if (offset > view.len) {
        phx_pipe_raise_value("offset too large");
    } else {
        PyObject *message = is_attached(as_pipe(object))
                                ? receive_as(as_pipe(object), false)
                                : phx_pipe_on_stream(object, "_stream_recv_bytes", Py_None, NULL, NULL);
        result = copy_into(&view, offset, message);
        Py_XDECREF(message);
    }
    PyBuffer_Release(&view);
    return result;
}
