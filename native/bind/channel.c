// Channel: the type that queues subclass.
#include "channel.h"

#include "channel_object.h"

#include <string.h>

#define STORAGE_BYTES 2048  // most records fit: no heap for them
#define MANY_LIMIT 1024     // records of one get_many, if nobody says how many

static PyTypeObject *channel_type;
static PyObject *full_error, *empty_error;

// -- making ----------------------------------------------------------------------------------------------------------

static PyObject *new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)args, (void)kwargs;
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    return allocate(type, 0);
}

static int init(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"maxsize", "max_bytes", NULL};
    long long maxsize = 0, max_bytes = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|L$L:Channel", names, &maxsize, &max_bytes) ||
        phx_ensure_arena() != 0) {
        return -1;
    }
    phx_hold hold;
    phx_status status =
        phx_channel_new(maxsize > 0 ? (uint64_t)maxsize : 0, max_bytes > 0 ? (uint64_t)max_bytes : 0, &hold);
    if (status != PHX_OK) {
        phx_raise(status);
        return -1;
    }
    phx_block_release(&as_channel(object)->hold);  // __init__ called twice
    as_channel(object)->hold = hold;
    as_channel(object)->closed = 0;
    return 0;
}

static void dealloc(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    phx_leftover_drop(&as_channel(object)->leftover);
    phx_block_release(&as_channel(object)->hold);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(object);
    Py_DECREF(type);
}

static int is_ready(PyObject *object) {
    if (__builtin_expect(as_channel(object)->hold.address != NULL, 1)) {
        return 1;
    }
    PyErr_SetString(PyExc_RuntimeError, "__init__ of the channel was not called");
    return 0;
}

// A queue class says with which error (`_closed_error`, an exception).
static void raise_closed(PyObject *object) {
    PyObject *error = PyObject_GetAttrString(object, "_closed_error");
    if (error != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
        Py_DECREF(error);
        return;
    }
    PyErr_Format(PyExc_ValueError, "Queue %R is closed", object);
}

int phx_channel_check_open(PyObject *object, int direction) {
    if (!is_ready(object)) {
        return -1;
    }
    if (__builtin_expect(as_channel(object)->closed & direction, 0)) {
        raise_closed(object);
        return -1;
    }
    return 0;
}

// -- waiting ---------------------------------------------------------------------------------------------------------

static const phx_wait_kind for_items = {phx_channel_spin_items, phx_channel_wait_items};

int phx_channel_go_on(int64_t deadline_ns) {
    if (PyErr_CheckSignals() < 0) {
        return -1;
    }
    return deadline_ns == PHX_FOREVER || phx_now_ns() < deadline_ns;
}

int phx_channel_wait_round(const phx_hold *hold, const phx_wait_kind *kind, int64_t deadline_ns) {
    phx_status status = PHX_OK;
    if (deadline_ns == 0) {
        return 0;
    }
    if (kind->spin(hold, PHX_SPIN_WITH_GIL_NS)) {
        return phx_channel_go_on(deadline_ns);  // others may be quicker every time
    }
    Py_BEGIN_ALLOW_THREADS
    if (!kind->spin(hold, PHX_SPIN_NS)) {
        status = kind->wait(hold, deadline_ns);
    }
    Py_END_ALLOW_THREADS
    if (status == PHX_INTERRUPTED) {
        return PyErr_CheckSignals() < 0 ? -1 : 1;
    }
    return status != PHX_TIMED_OUT;
}

static int load_queue_errors(void) {
    if (empty_error != NULL) {
        return 0;
    }
    PyObject *module = PyImport_ImportModule("queue");
    if (module == NULL) {
        return -1;
    }
    full_error = PyObject_GetAttrString(module, "Full");
    empty_error = PyObject_GetAttrString(module, "Empty");
    Py_DECREF(module);
    return full_error == NULL || empty_error == NULL ? -1 : 0;
}

PyObject *phx_channel_raise_full(void) {
    if (load_queue_errors() == 0) {
        PyErr_SetNone(full_error);
    }
    return NULL;
}

static PyObject *raise_empty(void) {
    if (load_queue_errors() == 0) {
        PyErr_SetNone(empty_error);
    }
    return NULL;
}

int phx_channel_deadline_of(int block, PyObject *timeout, int64_t *deadline_ns) {
    *deadline_ns = block ? PHX_FOREVER : 0;
    return block && timeout != NULL ? phx_deadline_from(timeout, deadline_ns) : 0;
}

// -- get -------------------------------------------------------------------------------------------------------------

static phx_status take_messages(const phx_hold *hold, uint32_t limit, phx_batch *batch) {
    phx_status status = phx_channel_take_by(hold, limit, batch, PHX_SPINNING);
    if (__builtin_expect(status == PHX_INTERRUPTED, 0)) {
        Py_BEGIN_ALLOW_THREADS
        status = phx_channel_take_by(hold, limit, batch, PHX_SLEEPING);
        Py_END_ALLOW_THREADS
    }
    return status;
}

// Takes up to `limit` records into `batch`, waiting for the first. 0, or -1 with an exception.
static int receive(channel_object *self, uint32_t limit, int64_t deadline_ns, phx_batch *batch) {
    for (;;) {
        phx_status status = take_messages(&self->hold, limit, batch);
        if (status == PHX_OK) {
            return 0;
        }
        if (status != PHX_TIMED_OUT && status != PHX_INTERRUPTED) {
            phx_raise(status);
            return -1;
        }
        int again = status == PHX_INTERRUPTED ? phx_channel_go_on(deadline_ns)
                                              : phx_channel_wait_round(&self->hold, &for_items, deadline_ns);
        if (again <= 0) {
            if (again == 0) {
                raise_empty();
            }
            return -1;
        }
    }
}

static int has_leftover(PyObject *object) {
    return __builtin_expect(as_channel(object)->leftover != NULL, 0) &&
           phx_leftover_check(&as_channel(object)->leftover);
}

static PyObject *get_one(PyObject *object, int64_t deadline_ns, PyObject *(*decode)(const phx_message *, int *)) {
    _Alignas(8) uint8_t storage[STORAGE_BYTES];
    PyObject *item;
    int is_gone;
    if (phx_channel_check_open(object, CLOSED_FOR_GET) < 0) {
        return NULL;
    }
    if (has_leftover(object)) {
        return phx_leftover_next(&as_channel(object)->leftover, decode);
    }
    do {
        phx_batch batch;
        phx_message message;
        size_t position = 0;
        item = NULL;
        is_gone = 0;
        phx_batch_begin(&batch, storage, sizeof storage);
        if (receive(as_channel(object), 1, deadline_ns, &batch) == 0 && phx_batch_next(&batch, &position, &message)) {
            item = decode(&message, &is_gone);
        }
        phx_batch_end(&batch);
    } while (item == NULL && is_gone);
    return item;
}

static PyObject *get_by(PyObject *object, PyObject *const *args, Py_ssize_t positional, PyObject *names,
                        PyObject *(*decode)(const phx_message *, int *)) {
    int block = 1;
    PyObject *timeout = NULL;
    int64_t deadline_ns = PHX_FOREVER;
    if ((positional > 0 || names != NULL) && (phx_parse_block_timeout(args, positional, names, &block, &timeout) < 0 ||
                                              phx_channel_deadline_of(block, timeout, &deadline_ns) < 0)) {
        return NULL;
    }
    return get_one(object, deadline_ns, decode);
}

static PyObject *get(PyObject *object, PyObject *const *args, Py_ssize_t positional, PyObject *names) {
    return get_by(object, args, positional, names, phx_decode);
}

static PyObject *get_bytes(PyObject *object, PyObject *const *args, Py_ssize_t positional, PyObject *names) {
    return get_by(object, args, positional, names, phx_decode_bytes);
}

static PyObject *get_frame(PyObject *object, PyObject *const *args, Py_ssize_t positional, PyObject *names) {
    return get_by(object, args, positional, names, phx_frame_object);
}

static PyObject *get_nowait(PyObject *object, PyObject *unused) {
    (void)unused;
    return get_one(object, 0, phx_decode);
}

static PyObject *get_list(channel_object *self, uint32_t limit, int64_t deadline_ns) {
    _Alignas(8) uint8_t storage[STORAGE_BYTES];
    phx_batch batch;
    size_t position = 0;
    PyObject *list = NULL;
    phx_leftover *leftover = NULL;
    phx_batch_begin(&batch, storage, sizeof storage);
    if (receive(self, limit, deadline_ns, &batch) == 0) {
        list = phx_decode_many(&batch, &position, limit, &leftover);
    }
    phx_batch_end(&batch);
    if (leftover != NULL) {
        phx_leftover_add(&self->leftover, leftover);
    }
    return list;
}

static PyObject *get_many(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"limit", "block", "timeout", NULL};
    int limit = 0, block = 1;
    PyObject *timeout = NULL;
    int64_t deadline_ns;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|ipO:get_many", names, &limit, &block, &timeout) ||
        phx_channel_deadline_of(block, timeout, &deadline_ns) < 0) {
        return NULL;
    }
    if (limit < 0) {
        return PyErr_Format(PyExc_ValueError, "limit must not be negative, but is %d", limit);
    }
    if (phx_channel_check_open(object, CLOSED_FOR_GET) < 0) {
        return NULL;
    }
    uint32_t most = limit == 0 ? MANY_LIMIT : (uint32_t)limit;
    return has_leftover(object) ? phx_leftover_many(&as_channel(object)->leftover, most)
                                : get_list(as_channel(object), most, deadline_ns);
}

// -- counts ----------------------------------------------------------------------------------------------------------

static uint64_t size_of(PyObject *object) {
    return phx_channel_exact_size(&as_channel(object)->hold) +
           (has_leftover(object) ? phx_leftover_count(as_channel(object)->leftover) : 0);
}

static PyObject *qsize(PyObject *object, PyObject *unused) {
    (void)unused;
    return is_ready(object) ? PyLong_FromUnsignedLongLong(size_of(object)) : NULL;
}

static PyObject *empty(PyObject *object, PyObject *unused) {
    (void)unused;
    if (!is_ready(object)) {
        return NULL;
    }
    if ((as_channel(object)->closed & CLOSED_FOR_GET) && as_channel(object)->was_used) {
        PyErr_SetString(PyExc_OSError,
                        "handle is closed");  // as the stdlib's, whose pipe is closed only if it was used
        return NULL;
    }
    return PyBool_FromLong(size_of(object) == 0);
}

static PyObject *full(PyObject *object, PyObject *unused) {
    (void)unused;
    if (!is_ready(object)) {
        return NULL;
    }
    phx_channel_exact_size(&as_channel(object)->hold);  // looks after the dead, who may have left the counts behind
    return PyBool_FromLong(phx_channel_is_full(&as_channel(object)->hold));
}

static PyObject *task_done(PyObject *object, PyObject *unused) {
    (void)unused;
    if (!is_ready(object)) {
        return NULL;
    }
    if (phx_channel_finish(&as_channel(object)->hold) != PHX_OK) {
        PyErr_SetString(PyExc_ValueError, "task_done() called too many times");
        return NULL;
    }
    Py_RETURN_NONE;
}

static bool spin_finished(const phx_hold *hold, int64_t limit_ns) {
    (void)limit_ns;  // a join is long: no spinning
    return phx_channel_is_finished(hold);
}

static PyObject *join(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"timeout", NULL};
    static const phx_wait_kind for_end = {spin_finished, phx_channel_wait_finished};
    PyObject *timeout = Py_None;
    int64_t deadline_ns;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$O:join", names, &timeout) ||
        phx_deadline_from(timeout, &deadline_ns) < 0 || !is_ready(object)) {
        return NULL;
    }
    while (!phx_channel_is_finished(&as_channel(object)->hold)) {
        int again = phx_channel_wait_round(&as_channel(object)->hold, &for_end, deadline_ns);
        if (again <= 0) {
            return again == 0 ? PyBool_FromLong(0) : NULL;
        }
    }
    Py_RETURN_TRUE;
}

static PyObject *close_for(PyObject *object, int directions) {
    as_channel(object)->closed |= directions;
    Py_RETURN_NONE;
}

static PyObject *close_here(PyObject *object, PyObject *unused) {
    (void)unused;
    return close_for(object, CLOSED_FOR_GET | CLOSED_FOR_PUT);
}

static PyObject *close_for_get(PyObject *object, PyObject *unused) {
    (void)unused;
    return close_for(object, CLOSED_FOR_GET);
}

static PyObject *close_for_put(PyObject *object, PyObject *unused) {
    (void)unused;
    return close_for(object, CLOSED_FOR_PUT);
}

static PyObject *get_closed(PyObject *object, void *unused) {
    (void)unused;
    return PyBool_FromLong(as_channel(object)->closed == (CLOSED_FOR_GET | CLOSED_FOR_PUT));
}

static PyObject *get_maxsize(PyObject *object, void *unused) {
    (void)unused;
    return is_ready(object) ? PyLong_FromUnsignedLongLong(phx_channel_maxsize(&as_channel(object)->hold)) : NULL;
}

// -- pickling --------------------------------------------------------------------------------------------------------

// By `__getstate__` and `__setstate__`, which subclasses override to carry attributes of their own, as with the stdlib's.
static PyObject *get_state(PyObject *object, PyObject *unused) {
    (void)unused;
    if (!is_ready(object)) {
        return NULL;
    }
    PyObject *name = PyType_GetName(Py_TYPE(object));
    const char *text = name == NULL ? NULL : PyUnicode_AsUTF8AndSize(name, NULL);
    PyObject *handle = text == NULL ? NULL : phx_grant(&as_channel(object)->hold, text);
    Py_XDECREF(name);
    return handle;
}

static PyObject *set_state(PyObject *object, PyObject *handle) {
    phx_hold hold;
    if (!PyTuple_Check(handle)) {
        return PyErr_Format(PyExc_TypeError, "the state of a queue is a tuple, not %R", handle);
    }
    if (phx_take(handle, &hold) != 0) {
        return NULL;
    }
    phx_block_release(&as_channel(object)->hold);
    as_channel(object)->hold = hold;
    Py_RETURN_NONE;
}

#define FAST METH_FASTCALL | METH_KEYWORDS
#define NAMED METH_VARARGS | METH_KEYWORDS
static PyMethodDef methods[] = {
    {"put", (PyCFunction)(void (*)(void))phx_channel_method_put, FAST,
     "put($self, obj, block=True, timeout=None)\n--\n\n"
     "Serialise `obj` now, in the caller, and publish it. queue.Full when there is no room (at once, or after "
     "`timeout`\n"
     "seconds); ValueError once closed; whatever pickling raises."},
    {"put_nowait", phx_channel_method_put_nowait, METH_O, "put_nowait($self, obj)\n--\n\nThe same as put(obj, False)."},
    {"get", (PyCFunction)(void (*)(void))get, FAST,
     "get($self, block=True, timeout=None)\n--\n\nTake an object. queue.Empty when there is none (at once, or after "
     "`timeout` "
     "seconds)."},
    {"get_nowait", get_nowait, METH_NOARGS, "get_nowait($self)\n--\n\nThe same as get(False)."},
    {"put_many", (PyCFunction)(void (*)(void))phx_channel_method_put_many, NAMED,
     "put_many($self, objs, timeout=None)\n--\n\nPut each object of an iterable, many under one lock round trip."},
    {"get_many", (PyCFunction)(void (*)(void))get_many, NAMED,
     "get_many($self, limit=0, block=True, timeout=None)\n--\n\n"
     "Wait for one object, then take all that are there, `limit` at most (0: 1,024). When one cannot be rebuilt, those "
     "before\n"
     "it are returned, the next call raises what it raised, and the one after that goes on behind it."},
    {"put_bytes", (PyCFunction)(void (*)(void))phx_channel_method_put_bytes, NAMED,
     "put_bytes($self, data, block=True, timeout=None)\n--\n\nOne message of bytes, copied once."},
    {"get_bytes", (PyCFunction)(void (*)(void))get_bytes, FAST,
     "get_bytes($self, block=True, timeout=None)\n--\n\nOne message as bytes."},
    {"get_frame", (PyCFunction)(void (*)(void))get_frame, FAST,
     "get_frame($self, block=True, timeout=None)\n--\n\nTake a message now; `Frame.load` rebuilds its object later."},
    {"qsize", qsize, METH_NOARGS, "qsize($self)\n--\n\nHow many objects are waiting; exact."},
    {"empty", empty, METH_NOARGS, "empty($self)\n--\n\nWhether nothing is waiting."},
    {"full", full, METH_NOARGS, "full($self)\n--\n\nWhether `maxsize` objects are waiting."},
    {"task_done", task_done, METH_NOARGS,
     "task_done($self)\n--\n\nOne object that was taken is done with. ValueError if there were fewer."},
    {"join", (PyCFunction)(void (*)(void))join, NAMED,
     "join($self, *, timeout=None)\n--\n\nWait until each object put was reported by task_done; False after `timeout` "
     "seconds."},
    {"close", close_here, METH_NOARGS,
     "close($self)\n--\n\nNo further put or get by this object: they raise ValueError."},
    {"_close_for_get", close_for_get, METH_NOARGS, NULL},
    {"_close_for_put", close_for_put, METH_NOARGS, NULL},
    {"__getstate__", get_state, METH_NOARGS, NULL},
    {"__setstate__", set_state, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef properties[] = {
    {"closed", get_closed, NULL, "Whether close() was called on this object.", NULL},
    {"maxsize", get_maxsize, NULL, "How many objects may wait; 0: no bound.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_new, (void *)new},
    {Py_tp_init, (void *)init},
    {Py_tp_dealloc, (void *)dealloc},
    {Py_tp_methods, methods},
    {Py_tp_getset, properties},
    {Py_tp_doc, (void *)"Channel(maxsize=0, *, max_bytes=0)\n--\n\nA many-producer, many-consumer queue in the arena."},
    {0, NULL},
};

static PyType_Spec spec = {"phalanx._native.Channel", sizeof(channel_object), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};

PyTypeObject *phx_channel_type(void) { return channel_type; }

const phx_hold *phx_hold_of_channel(PyObject *object) { return is_ready(object) ? &as_channel(object)->hold : NULL; }

int phx_bind_channel(PyObject *module) {
    channel_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &spec, NULL);
    return channel_type == NULL ? -1 : PyModule_AddType(module, channel_type);
}
