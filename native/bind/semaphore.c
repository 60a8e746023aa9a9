// Semaphore and BoundedSemaphore.
#include "../sync/semaphore.h"
#include "locking.h"

#include <errno.h>

#define SEMAPHORE(object) ((phx_semaphore *)PHX_HELD_ADDRESS(object))

static PyTypeObject *semaphore_type, *bounded_type;

static PyObject *new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)args, (void)kwargs;
    PyObject *object = phx_held_new(type, sizeof(phx_semaphore));
    if (object != NULL) {
        phx_semaphore_init(SEMAPHORE(object), 1, PHX_SEMAPHORE_MAX);
    }
    return object;
}

static int parse_value(PyObject *args, PyObject *kwargs, int *value) {
    static char *names[] = {"value", "ctx", NULL};
    PyObject *context;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|i$O", names, value, &context)) {
        return -1;
    }
    if (*value < 0) {
        errno = EINVAL;
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    return 0;
}

static int init(PyObject *object, PyObject *args, PyObject *kwargs) {
    int value = 1;
    if (parse_value(args, kwargs, &value) != 0) {
        return -1;
    }
    phx_semaphore_init(SEMAPHORE(object), (uint32_t)value, PHX_SEMAPHORE_MAX);
    return 0;
}

static int bounded_init(PyObject *object, PyObject *args, PyObject *kwargs) {
    int value = 1;
    if (parse_value(args, kwargs, &value) != 0) {
        return -1;
    }
    phx_semaphore_init(SEMAPHORE(object), (uint32_t)value, (uint32_t)value);
    return 0;
}

static phx_status wait(phx_semaphore *semaphore, int64_t deadline_ns) {
    phx_status status;
    if (phx_has_passed(deadline_ns)) {
        return PHX_TIMED_OUT;
    }
    if (phx_semaphore_spin(semaphore, PHX_SPIN_WITH_GIL_NS)) {
        return PHX_OK;
    }
    PHX_WAIT(status, phx_semaphore_acquire(semaphore, deadline_ns));
    return status;
}

static PyObject *acquire(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    int64_t deadline_ns = PHX_FOREVER;
    if ((count > 0 || names != NULL) && phx_wait_arguments(args, count, names, &deadline_ns) != 0) {
        return NULL;
    }
    if (phx_semaphore_try(SEMAPHORE(object))) {
        Py_RETURN_TRUE;
    }
    return phx_outcome(wait(SEMAPHORE(object), deadline_ns));
}

static PyObject *enter(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    (void)args, (void)count;
    return acquire(object, NULL, 0, NULL);
}

static PyObject *release(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    (void)args;
    if (count > 0) {
        return PyErr_Format(PyExc_TypeError, "release() takes no arguments (%zd given)", count);
    }
    if (phx_semaphore_release(SEMAPHORE(object)) == PHX_OK) {
        Py_RETURN_NONE;
    }
    return phx_raise(PHX_OVERFLOW);
}

static PyObject *leave(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    (void)count;
    return release(object, args, 0);
}

static PyObject *get_value(PyObject *object, PyObject *unused) {
    (void)unused;
    return PyLong_FromUnsignedLong(phx_semaphore_value(SEMAPHORE(object)));
}

static PyObject *locked(PyObject *object, PyObject *unused) {
    (void)unused;
    return PyBool_FromLong(phx_semaphore_value(SEMAPHORE(object)) == 0);
}

static PyObject *repr(PyObject *object) {
    PyObject *class = phx_class_name(object);
    if (class == NULL) {
        return NULL;
    }
    unsigned value = phx_semaphore_value(SEMAPHORE(object));
    PyObject *text = PyObject_TypeCheck(object, bounded_type)
                         ? PyUnicode_FromFormat("<%U(value=%u, maxvalue=%u)>", class, value, SEMAPHORE(object)->bound)
                         : PyUnicode_FromFormat("<%U(value=%u)>", class, value);
    Py_DECREF(class);
    return text;
}

// The stdlib's queues, when they are made for a context of ours, ask a semaphore's `_semlock` for its value.
static PyObject *get_semlock(PyObject *object, void *unused) {
    (void)unused;
    return Py_NewRef(object);
}

static PyGetSetDef properties[] = {{"_semlock", get_semlock, NULL, NULL, NULL}, {NULL, NULL, NULL, NULL, NULL}};

static PyMemberDef members[] = {PHX_HELD_WEAK_REFERENCES, {NULL, 0, 0, 0, NULL}};

static PyMethodDef methods[] = {
    {"acquire", PHX_FASTCALL(acquire), PHX_WITH_KEYWORDS,
     "acquire($self, /, block=True, timeout=None)\n--\n\n"
     "Take one; whether there was one. `timeout` is in seconds, negative ones count as 0."},
    {"release", PHX_FASTCALL(release), METH_FASTCALL,
     "release($self, /)\n--\n\nGive one back. ValueError beyond the largest value: a bounded one's initial value."},
    {"__enter__", PHX_FASTCALL(enter), METH_FASTCALL, "__enter__($self)\n--\n\n"},
    {"__exit__", PHX_FASTCALL(leave), METH_FASTCALL, "__exit__($self, *exc)\n--\n\n"},
    {"get_value", get_value, METH_NOARGS, "get_value($self, /)\n--\n\nHow many there are at this moment."},
    {"locked", locked, METH_NOARGS, "locked($self, /)\n--\n\nWhether an acquire would have to wait."},
    {"_get_value", get_value, METH_NOARGS, NULL},
    {"_is_zero", locked, METH_NOARGS, NULL},
    PHX_HELD_FROM_HANDLE,
    PHX_HELD_REDUCE,
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_new, (void *)new},
    {Py_tp_init, (void *)init},
    {Py_tp_dealloc, (void *)phx_held_dealloc},
    {Py_tp_repr, (void *)repr},
    {Py_tp_methods, methods},
    {Py_tp_members, members},
    {Py_tp_getset, properties},
    {Py_tp_doc, (void *)"Semaphore(value=1, *, ctx=None)\n--\n\n"
                        "A counter that any process and thread of the tree may lower and raise.\n\n"
                        "What a process had taken when it died stays taken, as in the stdlib."},
    {0, NULL},
};

static PyType_Slot bounded_slots[] = {
    {Py_tp_init, (void *)bounded_init},
    {Py_tp_doc, (void *)"BoundedSemaphore(value=1, *, ctx=None)\n--\n\n"
                        "A semaphore that never gets above its initial value: ValueError from release."},
    {0, NULL},
};

static PyType_Spec spec = {"phalanx.synchronize.Semaphore", sizeof(phx_held_object), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};
static PyType_Spec bounded_spec = {"phalanx.synchronize.BoundedSemaphore", sizeof(phx_held_object), 0,
                                   Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, bounded_slots};

int phx_bind_semaphore(PyObject *module) {
    semaphore_type = phx_add_type(module, &spec, NULL);
    bounded_type = semaphore_type == NULL ? NULL : phx_add_type(module, &bounded_spec, semaphore_type);
    return bounded_type == NULL ? -1 : 0;
}
