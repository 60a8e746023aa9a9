// Watch: a channel as something that can be waited for with file descriptors.
#include "channel.h"

#include "../channel/bell.h"

typedef struct {
    PyObject_HEAD
    phx_hold hold;
    phx_watch watch;
} watch_object;

static PyTypeObject *watch_type, *channel_base;

static watch_object *as_watch(PyObject *object) { return (watch_object *)object; }

static PyObject *new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"channel", NULL};
    PyObject *channel;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!:Watch", names, channel_base, &channel)) {
        return NULL;
    }
    const phx_hold *of = phx_hold_of_channel(channel);
    if (of == NULL) {
        return NULL;
    }
    phx_hold hold;
    phx_status status = phx_block_hold_again(of, &hold);
    if (status != PHX_OK) {
        return phx_raise(status);
    }
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    PyObject *object = allocate(type, 0);
    if (object == NULL) {
        phx_block_release(&hold);
        return NULL;
    }
    as_watch(object)->hold = hold;
    as_watch(object)->watch.channel = &as_watch(object)->hold;
    return object;
}

static void dealloc(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    phx_watch_end(&as_watch(object)->watch);
    phx_block_release(&as_watch(object)->hold);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF(type);
}

static PyObject *fileno_of(PyObject *object, PyObject *unused) {
    (void)unused;
    watch_object *self = as_watch(object);
    phx_status status = phx_watch_begin(&self->watch);
    return status == PHX_OK ? PyLong_FromLong(self->watch.fd) : phx_raise(status);
}

static PyObject *has_items(PyObject *object, PyObject *unused) {
    (void)unused;
    return PyBool_FromLong(phx_watch_refresh(&as_watch(object)->watch));
}

static PyObject *wait_items(PyObject *object, PyObject *timeout) {
    const phx_hold *hold = &as_watch(object)->hold;
    int64_t deadline_ns;
    if (phx_deadline_from(timeout, &deadline_ns) < 0) {
        return NULL;
    }
    for (;;) {
        phx_status status;
        if (phx_channel_exact_size(hold) != 0) {
            Py_RETURN_TRUE;
        }
        if (deadline_ns <= 0) {
            Py_RETURN_FALSE;
        }
        Py_BEGIN_ALLOW_THREADS
        status = phx_channel_wait_items(hold, deadline_ns);
        Py_END_ALLOW_THREADS
        if (PyErr_CheckSignals() < 0) {
            return NULL;
        }
        if (status == PHX_TIMED_OUT) {
            return PyBool_FromLong(phx_channel_exact_size(hold) != 0);
        }
    }
}

static PyObject *close_watch(PyObject *object, PyObject *unused) {
    (void)unused;
    phx_watch_end(&as_watch(object)->watch);
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"fileno", fileno_of, METH_NOARGS,
     "fileno($self)\n--\n\nA descriptor that is readable exactly while the channel has items. OSError without one."},
    {"has_items", has_items, METH_NOARGS,
     "has_items($self)\n--\n\nWhether there are items; the descriptor says the same."},
    {"wait_items", wait_items, METH_O,
     "wait_items($self, timeout, /)\n--\n\nWhether there are items within `timeout` seconds (None: without a limit)."},
    {"close", close_watch, METH_NOARGS, "close($self)\n--\n\nClose the descriptor, if there is one."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_new, (void *)new},
    {Py_tp_dealloc, (void *)dealloc},
    {Py_tp_methods, methods},
    {Py_tp_doc, (void *)"Watch(channel)\n--\n\nA channel as something that `select` and the like can wait for."},
    {0, NULL},
};

static PyType_Spec spec = {"phalanx._native.Watch", sizeof(watch_object), 0, Py_TPFLAGS_DEFAULT, slots};

int phx_bind_watch(PyObject *module) {
    channel_base = phx_channel_type();
    watch_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &spec, NULL);
    return watch_type == NULL ? -1 : PyModule_AddType(module, watch_type);
}
