// Channel: the methods that put.
#include "channel_object.h"

#define PUT_MANY_SLICE 64               // objects that put_many encodes before it publishes them under one lock
#define PUT_MANY_BYTES (1 << 18)        // at most about so many bytes of them, and
#define PUT_MANY_NS ((int64_t)1000000)  // those of at most about so long: a slow iterator keeps none back

static const phx_wait_kind for_space = {phx_channel_spin_space, phx_channel_wait_space};

static PyObject *raise_put(phx_status status) {
    if (status == PHX_OVERFLOW) {
        PyErr_SetString(PyExc_ValueError, "the message is too large for one record");
        return NULL;
    }
    return phx_raise(status);
}

// Without the GIL only where another process is inside for longer than a spin.
static phx_status put_messages(const phx_hold *hold, const phx_message *messages, uint32_t count, uint32_t *done) {
    phx_status status = phx_channel_put_by(hold, messages, count, done, PHX_SPINNING);
    if (__builtin_expect(status == PHX_INTERRUPTED, 0)) {
        Py_BEGIN_ALLOW_THREADS
        status = phx_channel_put_by(hold, messages, count, done, PHX_SLEEPING);
        Py_END_ALLOW_THREADS
    }
    return status;
}

// Publishes `count` messages, waiting for room: how many were published; fewer than `count` with an exception.
static uint32_t publish(channel_object *self, const phx_message *messages, uint32_t count, int64_t deadline_ns) {
    uint32_t published = 0;
    self->was_used = 1;
    while (published < count) {
        uint32_t done;
        phx_status status = put_messages(&self->hold, messages + published, count - published, &done);
        published += done;
        if (status == PHX_OK) {
            break;
        }
        if (status != PHX_TIMED_OUT && status != PHX_INTERRUPTED) {
            raise_put(status);
            break;
        }
        int again = status == PHX_INTERRUPTED ? phx_channel_go_on(deadline_ns)
                                              : phx_channel_wait_round(&self->hold, &for_space, deadline_ns);
        if (again <= 0) {
            if (again == 0) {
                phx_channel_raise_full();
            }
            break;
        }
    }
    return published;
}

static PyObject *publish_one(channel_object *self, phx_encoded *encoded, int64_t deadline_ns) {
    if (publish(self, &encoded->message, 1, deadline_ns) == 1) {
        phx_encoded_sent(encoded);
        Py_RETURN_NONE;
    }
    phx_encoded_drop(encoded);
    return NULL;
}

// A queue class may want to hear of an object that cannot be pickled (`_on_unpicklable`); it raises or swallows.
static PyObject *report_unpicklable(PyObject *object, PyObject *item) {
    PyObject *type, *value, *traceback;
    if (!PyErr_ExceptionMatches(PyExc_Exception)) {
        return NULL;  // Ctrl-C while it was pickled
    }
    PyErr_Fetch(&type, &value, &traceback);
    PyObject *handler = PyObject_GetAttrString(object, "_on_unpicklable");
    if (handler == NULL) {
        PyErr_Restore(type, value, traceback);
        return NULL;
    }
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL) {
        PyException_SetTraceback(value, traceback);
    }
    PyObject *result = PyObject_CallFunctionObjArgs(handler, value, item, NULL);
    Py_DECREF(handler);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
    if (result == NULL) {
        return NULL;
    }
    Py_DECREF(result);
    Py_RETURN_NONE;
}

static PyObject *put_object(PyObject *object, PyObject *item, int64_t deadline_ns) {
    phx_encoded encoded;
    if (phx_channel_check_open(object, CLOSED_FOR_PUT) < 0) {
        return NULL;
    }
    if (phx_encode(item, &encoded) < 0) {
        return report_unpicklable(object, item);
    }
    return publish_one(as_channel(object), &encoded, deadline_ns);
}

// phx_channel_put(obj=..., ...): rare, so by way of a tuple and a dict.
static PyObject *put_by_name(PyObject *object, PyObject *const *args, PyObject *names) {
    static char *known[] = {"obj", "block", "timeout", NULL};
    PyObject *item, *timeout = NULL, *result = NULL, *none = PyTuple_New(0), *named = PyDict_New();
    int block = 1, failed = none == NULL || named == NULL;
    int64_t deadline_ns;
    for (Py_ssize_t i = 0; !failed && names != NULL && i < PyTuple_Size(names); i++) {
        failed = PyDict_SetItem(named, PyTuple_GetItem(names, i), args[i]) < 0;
    }
    if (!failed && PyArg_ParseTupleAndKeywords(none, named, "O|pO:put", known, &item, &block, &timeout) &&
        phx_channel_deadline_of(block, timeout, &deadline_ns) == 0) {
        result = put_object(object, item, deadline_ns);
    }
    Py_XDECREF(none);
    Py_XDECREF(named);
    return result;
}

PyObject *phx_channel_method_put(PyObject *object, PyObject *const *args, Py_ssize_t positional, PyObject *names) {
    PyObject *timeout = NULL;
    int block = 1;
    int64_t deadline_ns;
    if (positional == 1 && names == NULL) {
        return put_object(object, args[0], PHX_FOREVER);
    }
    if (positional == 0) {
        return put_by_name(object, args, names);
    }
    if (phx_parse_block_timeout(args + 1, positional - 1, names, &block, &timeout) < 0 ||
        phx_channel_deadline_of(block, timeout, &deadline_ns) < 0) {
        return NULL;
    }
    return put_object(object, args[0], deadline_ns);
}

PyObject *phx_channel_method_put_nowait(PyObject *object, PyObject *item) { return put_object(object, item, 0); }

PyObject *phx_channel_method_put_bytes(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"data", "block", "timeout", NULL};
    Py_buffer view;
    int block = 1;
    PyObject *timeout = NULL;
    int64_t deadline_ns;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "y*|pO:put_bytes", names, &view, &block, &timeout)) {
        return NULL;
    }
    phx_encoded encoded;
    PyObject *result = NULL;
    if (phx_channel_check_open(object, CLOSED_FOR_PUT) == 0 &&
        phx_channel_deadline_of(block, timeout, &deadline_ns) == 0 && phx_encode_bytes(&view, &encoded) == 0) {
        result = publish_one(as_channel(object), &encoded, deadline_ns);
    }
    PyBuffer_Release(&view);
    return result;
}

typedef struct {
    phx_encoded encoded[PUT_MANY_SLICE];
    phx_message messages[PUT_MANY_SLICE];
    uint32_t count;
    uint64_t weight;
    int64_t began_ns;
} slice;

static int publish_slice(channel_object *self, slice *slice, int64_t deadline_ns) {
    for (uint32_t i = 0; i < slice->count; i++) {
        slice->messages[i] = slice->encoded[i].message;
    }
    uint32_t published = publish(self, slice->messages, slice->count, deadline_ns);
    for (uint32_t i = 0; i < slice->count; i++) {
        (i < published ? phx_encoded_sent : phx_encoded_drop)(&slice->encoded[i]);
    }
    int failed = published < slice->count;
    slice->count = 0;
    slice->weight = 0;
    return failed ? -1 : 0;
}

static int add_to_slice(slice *slice, PyObject *item) {
    if (phx_encode(item, &slice->encoded[slice->count]) < 0) {
        return -1;
    }
    const phx_message *message = &slice->encoded[slice->count].message;
    slice->weight += message->weight + message->payload_bytes;
    if (slice->count++ == 0) {
        slice->began_ns = phx_now_ns();
    }
    return 0;
}

static bool is_due(const slice *slice) {
    return slice->count == PUT_MANY_SLICE || slice->weight >= PUT_MANY_BYTES ||
           phx_now_ns() - slice->began_ns >= PUT_MANY_NS;
}

static int put_all(channel_object *self, PyObject *iterator, slice *slice, int64_t deadline_ns) {
    PyObject *item;
    int failed = 0;
    while (!failed && (item = PyIter_Next(iterator)) != NULL) {
        failed = add_to_slice(slice, item) < 0;
        Py_DECREF(item);
        if (!failed && is_due(slice)) {
            failed = publish_slice(self, slice, deadline_ns) < 0;
        }
    }
    if (slice->count == 0) {
        return failed || PyErr_Occurred() ? -1 : 0;
    }
    // What came before the fault is put all the same.
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (publish_slice(self, slice, deadline_ns) < 0) {
        Py_XDECREF(type);
        Py_XDECREF(value);
        Py_XDECREF(traceback);
        return -1;
    }
    PyErr_Restore(type, value, traceback);
    return type != NULL ? -1 : 0;
}

PyObject *phx_channel_method_put_many(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"objs", "timeout", NULL};
    PyObject *objects, *timeout = Py_None;
    int64_t deadline_ns;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O:put_many", names, &objects, &timeout) ||
        phx_channel_check_open(object, CLOSED_FOR_PUT) < 0 || phx_deadline_from(timeout, &deadline_ns) < 0) {
        return NULL;
    }
    PyObject *iterator = PyObject_GetIter(objects);
    slice *buffer = iterator == NULL ? NULL : PyMem_Malloc(sizeof *buffer);
    if (buffer == NULL) {
        Py_XDECREF(iterator);
        return PyErr_Occurred() ? NULL : PyErr_NoMemory();
    }
    buffer->count = 0;
    buffer->weight = 0;
    int failed = put_all(as_channel(object), iterator, buffer, deadline_ns) < 0;
    PyMem_Free(buffer);
    Py_DECREF(iterator);
    if (failed) {
        return NULL;
    }
    Py_RETURN_NONE;
}
