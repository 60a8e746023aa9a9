// Event.
#include "../sync/event.h"
#include "locking.h"

#define EVENT(object) ((phx_event *)PHX_HELD_ADDRESS(object))

static PyObject *new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)args, (void)kwargs;
    return phx_held_new(type, sizeof(phx_event));
}

static int init(PyObject *object, PyObject *args, PyObject *kwargs) {
    (void)object;
    static char *names[] = {"ctx", NULL};
    PyObject *context;
    return PyArg_ParseTupleAndKeywords(args, kwargs, "|$O", names, &context) ? 0 : -1;
}

static PyObject *is_set(PyObject *object, PyObject *unused) {
    (void)unused;
    return PyBool_FromLong(phx_event_is_set(EVENT(object)));
}

static PyObject *set(PyObject *object, PyObject *unused) {
    (void)unused;
    phx_event_set(EVENT(object));
    Py_RETURN_NONE;
}

static PyObject *clear(PyObject *object, PyObject *unused) {
    (void)unused;
    phx_event_clear(EVENT(object));
    Py_RETURN_NONE;
}

static phx_status wait_slow(phx_event *event, int64_t deadline_ns) {
    uint32_t mark = phx_event_mark(event);
    if (phx_event_is_set(event)) {
        return PHX_OK;
    }
    if (phx_has_passed(deadline_ns)) {
        return PHX_TIMED_OUT;
    }
    phx_status status;
    if (phx_event_spin(event, mark, PHX_SPIN_WITH_GIL_NS)) {
        return PHX_OK;
    }
    PHX_WAIT(status, phx_event_wait(event, mark, deadline_ns));
    return status;
}

static PyObject *wait(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    int64_t deadline_ns = PHX_FOREVER;
    if ((count > 0 || names != NULL) && phx_timeout_argument(args, count, names, &deadline_ns) != 0) {
        return NULL;
    }
    if (phx_event_is_set(EVENT(object))) {
        Py_RETURN_TRUE;
    }
    return phx_outcome(wait_slow(EVENT(object), deadline_ns));
}

static PyObject *repr(PyObject *object) {
    PyObject *class = PyType_GetQualName(Py_TYPE(object));
    if (class == NULL) {
        return NULL;
    }
    const char *state = phx_event_is_set(EVENT(object)) ? "set" : "unset";
    PyObject *text = PyUnicode_FromFormat("<%U at %p %s>", class, (void *)object, state);
    Py_DECREF(class);
    return text;
}

static PyMemberDef members[] = {PHX_HELD_WEAK_REFERENCES, {NULL, 0, 0, 0, NULL}};

static PyMethodDef methods[] = {
    {"is_set", is_set, METH_NOARGS, "is_set($self, /)\n--\n\nWhether the event is set."},
    {"set", set, METH_NOARGS, "set($self, /)\n--\n\nSet it and wake all who wait. Never waits for any of them."},
    {"clear", clear, METH_NOARGS, "clear($self, /)\n--\n\nUnset it."},
    {"wait", PHX_FASTCALL(wait), PHX_WITH_KEYWORDS,
     "wait($self, /, timeout=None)\n--\n\n"
     "Wait until it is set: True, or False after `timeout` seconds. True too when it was set and cleared meanwhile."},
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
    {Py_tp_doc, (void *)"Event(*, ctx=None)\n--\n\nA flag that processes and threads of the tree may wait for."},
    {0, NULL},
};

static PyType_Spec spec = {"phalanx.synchronize.Event", sizeof(phx_held_object), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};

int phx_bind_event(PyObject *module) { return phx_add_type(module, &spec, NULL) == NULL ? -1 : 0; }
