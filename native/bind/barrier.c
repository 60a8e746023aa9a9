// Barrier.
#include "../sync/barrier.h"
#include "locking.h"

#define BARRIER(object) ((phx_barrier *)PHX_HELD_ADDRESS(object))

typedef struct {
    phx_held_object held;  // without a block before __init__
    PyObject *action;      // what one of the parties runs when all have come, or None
    PyObject *timeout;     // of a wait without one of its own: seconds, or None
} barrier_object;

static int is_ready(PyObject *object) {
    if (BARRIER(object) == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "Barrier.__init__() has not been called");
    }
    return BARRIER(object) != NULL;
}

static PyObject *new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)args, (void)kwargs;
    return ((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
}

static void set_options(barrier_object *self, PyObject *action, PyObject *timeout) {
    PyObject *before[] = {self->action, self->timeout};
    self->action = Py_NewRef(action);
    self->timeout = Py_NewRef(timeout);
    Py_XDECREF(before[0]);
    Py_XDECREF(before[1]);
}

static int make_block(barrier_object *self, uint32_t parties) {
    phx_hold hold;
    if (phx_ensure_arena() != 0) {
        return -1;
    }
    phx_status status = phx_block_new(phx_barrier_bytes(parties), true, &hold);
    if (status != PHX_OK) {
        phx_raise(status);
        return -1;
    }
    phx_barrier_init((phx_barrier *)hold.address, parties);
    if (self->held.hold.address != NULL) {
        phx_block_release(&self->held.hold);
    }
    self->held.hold = hold;
    return 0;
}

static int init(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"parties", "action", "timeout", "ctx", NULL};
    PyObject *action = Py_None, *timeout = Py_None, *context;
    int parties;
    int64_t deadline_ns;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "i|OO$O", names, &parties, &action, &timeout, &context) ||
        phx_deadline_from(timeout, &deadline_ns) != 0) {
        return -1;
    }
    if (parties < 1) {
        PyErr_SetString(PyExc_ValueError, "parties must be > 0");
        return -1;
    }
    set_options((barrier_object *)object, action, timeout);
    return make_block((barrier_object *)object, (uint32_t)parties);
}

// -- waiting ---------------------------------------------------------------------------------------------------------

static PyObject *raise_broken(void) {
    PyObject *threading = PyImport_ImportModule("threading");
    PyObject *class = threading == NULL ? NULL : PyObject_GetAttrString(threading, "BrokenBarrierError");
    Py_XDECREF(threading);
    if (class != NULL) {
        PyErr_SetNone(class);
        Py_DECREF(class);
    }
    return NULL;
}

static PyObject *raise_not_ok(phx_status status) { return status == PHX_BROKEN ? raise_broken() : NULL; }

// The last to come runs the action; when that fails, so does the meeting.
static PyObject *act(PyObject *object, const phx_meeting *meeting) {
    PyObject *result = PyObject_CallNoArgs(((barrier_object *)object)->action);
    if (result == NULL) {
        phx_barrier_abort(BARRIER(object), phx_self());
        return NULL;
    }
    Py_DECREF(result);
    phx_status status;
    Py_BEGIN_ALLOW_THREADS
    status = phx_barrier_release(BARRIER(object), phx_self(), meeting);
    Py_END_ALLOW_THREADS
    return status == PHX_OK ? PyLong_FromUnsignedLong(meeting->seat) : raise_not_ok(status);
}

// PHX_OK, PHX_BROKEN, or PHX_INTERRUPTED with an exception.
static phx_status wait_for_others(PyObject *object, const phx_meeting *meeting, int64_t deadline_ns) {
    phx_status status;
    PHX_WAIT(status, phx_barrier_wait(BARRIER(object), phx_self(), meeting, deadline_ns));
    if (status == PHX_INTERRUPTED) {
        phx_barrier_leave(BARRIER(object), phx_self(), meeting);
    }
    return status;
}

static PyObject *meet(PyObject *object, int64_t deadline_ns) {
    bool has_action = ((barrier_object *)object)->action != Py_None;
    for (;;) {
        phx_meeting meeting;
        phx_status status;
        Py_BEGIN_ALLOW_THREADS
        status = phx_barrier_enter(BARRIER(object), phx_self(), has_action, &meeting);
        Py_END_ALLOW_THREADS
        if (status == PHX_OK && meeting.role == PHX_BARRIER_ACTS) {
            return act(object, &meeting);
        }
        if (status == PHX_OK && meeting.role != PHX_BARRIER_PASSES) {
            status = wait_for_others(object, &meeting, deadline_ns);
        }
        if (status != PHX_OK) {
            return raise_not_ok(status);
        }
        if (meeting.role != PHX_BARRIER_OUTSIDE) {
            return PyLong_FromUnsignedLong(meeting.seat);
        }
    }
}

static PyObject *wait(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    int64_t deadline_ns;
    if (!is_ready(object) || phx_timeout_argument(args, count, names, &deadline_ns) != 0) {
        return NULL;
    }
    if (deadline_ns == PHX_FOREVER && phx_deadline_from(((barrier_object *)object)->timeout, &deadline_ns) != 0) {
        return NULL;
    }
    return meet(object, deadline_ns);
}

// -- the rest --------------------------------------------------------------------------------------------------------

static PyObject *reset(PyObject *object, PyObject *unused) {
    (void)unused;
    if (!is_ready(object)) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    phx_barrier_reset(BARRIER(object), phx_self());
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyObject *abort_meeting(PyObject *object, PyObject *unused) {
    (void)unused;
    if (!is_ready(object)) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    phx_barrier_abort(BARRIER(object), phx_self());
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyObject *get_parties(PyObject *object, void *unused) {
    (void)unused;
    return is_ready(object) ? PyLong_FromUnsignedLong(BARRIER(object)->parties) : NULL;
}

static PyObject *get_n_waiting(PyObject *object, void *unused) {
    (void)unused;
    return is_ready(object) ? PyLong_FromUnsignedLong(phx_barrier_waiting(BARRIER(object))) : NULL;
}

static PyObject *get_broken(PyObject *object, void *unused) {
    (void)unused;
    return is_ready(object) ? PyBool_FromLong(phx_barrier_is_broken(BARRIER(object))) : NULL;
}

static PyObject *describe(PyObject *object) {
    if (phx_barrier_is_broken(BARRIER(object))) {
        return PyUnicode_FromString("broken");
    }
    return PyUnicode_FromFormat("waiters=%u/%u", phx_barrier_waiting(BARRIER(object)), BARRIER(object)->parties);
}

static PyObject *repr(PyObject *object) {
    PyObject *class = is_ready(object) ? PyType_GetQualName(Py_TYPE(object)) : NULL;
    PyObject *module = class == NULL ? NULL : PyObject_GetAttrString((PyObject *)Py_TYPE(object), "__module__");
    PyObject *state = module == NULL ? NULL : describe(object);
    PyObject *text =
        state == NULL ? NULL : PyUnicode_FromFormat("<%S.%U at %p: %U>", module, class, (void *)object, state);
    Py_XDECREF(class);
    Py_XDECREF(module);
    Py_XDECREF(state);
    return text;
}

static PyObject *reduce(PyObject *object, PyObject *unused) {
    (void)unused;
    barrier_object *self = (barrier_object *)object;
    PyObject *handle = is_ready(object) ? phx_grant(&self->held.hold, "Barrier") : NULL;
    if (handle == NULL) {
        return NULL;
    }
    PyObject *rebuild = PyObject_GetAttrString((PyObject *)Py_TYPE(object), "_from_handle");
    return Py_BuildValue("(N(NOO)N)", rebuild, handle, self->action, self->timeout, phx_state_of(object));
}

static PyObject *from_handle(PyObject *class, PyObject *args) {
    PyObject *handle, *action, *timeout;
    if (!PyArg_ParseTuple(args, "OOO:_from_handle", &handle, &action, &timeout)) {
        return NULL;
    }
    PyObject *object = phx_held_from_handle(class, handle);
    if (object != NULL) {
        set_options((barrier_object *)object, action, timeout);
    }
    return object;
}

static int traverse(PyObject *object, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(((barrier_object *)object)->action);
    Py_VISIT(((barrier_object *)object)->timeout);
    return 0;
}

static int clear(PyObject *object) {
    Py_CLEAR(((barrier_object *)object)->action);
    Py_CLEAR(((barrier_object *)object)->timeout);
    return 0;
}

static void dealloc(PyObject *object) {
    PyObject_GC_UnTrack(object);
    clear(object);
    phx_held_dealloc(object);
}

static PyMemberDef members[] = {PHX_HELD_WEAK_REFERENCES, {NULL, 0, 0, 0, NULL}};

static PyGetSetDef properties[] = {
    {"parties", get_parties, NULL, "How many must wait for all to pass.", NULL},
    {"n_waiting", get_n_waiting, NULL, "How many wait at this moment.", NULL},
    {"broken", get_broken, NULL, "Whether it is broken: until a reset.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef methods[] = {
    {"wait", PHX_FASTCALL(wait), PHX_WITH_KEYWORDS,
     "wait($self, /, timeout=None)\n--\n\n"
     "Wait until all parties have come; a number from 0 to parties - 1, another one for each.\n\n"
     "BrokenBarrierError, for all of them, when `timeout` seconds have passed, on abort and reset, when the action\n"
     "fails, and when a process that waits has died."},
    {"reset", reset, METH_NOARGS, "reset($self, /)\n--\n\nEmpty and whole again; who waits gets BrokenBarrierError."},
    {"abort", abort_meeting, METH_NOARGS, "abort($self, /)\n--\n\nBreak it: every wait gets BrokenBarrierError."},
    {"__reduce__", reduce, METH_NOARGS, NULL},
    {"_from_handle", from_handle, METH_VARARGS | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_new, (void *)new},
    {Py_tp_init, (void *)init},
    {Py_tp_dealloc, (void *)dealloc},
    {Py_tp_traverse, (void *)traverse},
    {Py_tp_clear, (void *)clear},
    {Py_tp_repr, (void *)repr},
    {Py_tp_methods, methods},
    {Py_tp_members, members},
    {Py_tp_getset, properties},
    {Py_tp_doc, (void *)"Barrier(parties, action=None, timeout=None, *, ctx=None)\n--\n\n"
                        "Where a number of processes and threads wait until all have come.\n\n"
                        "`action` is run by one of them before any passes, `timeout` is the default of wait, in "
                        "seconds."},
    {0, NULL},
};

static PyType_Spec spec = {"phalanx.synchronize.Barrier", sizeof(barrier_object), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots};

int phx_bind_barrier(PyObject *module) { return phx_add_type(module, &spec, NULL) == NULL ? -1 : 0; }
