// Condition.
#include "../sync/condition.h"
#include "locking.h"

#define CONDITION(object) ((phx_condition *)PHX_HELD_ADDRESS(object))

typedef struct {
    phx_held_object held;
    PyObject *lock;      // NULL before __init__
    phx_lock_kind kind;  // PHX_LOCK_OTHER: a subclass's, whose methods are called
} condition_object;

static PyObject *new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)args, (void)kwargs;
    return phx_held_new(type, sizeof(phx_condition));
}

// -- the user's lock -------------------------------------------------------------------------------------------------

// Takes over the reference. 0, or -1 with an exception.
static int set_lock(condition_object *self, PyObject *lock) {
    if (lock == NULL) {
        return -1;
    }
    PyObject *acquire = PyObject_GetAttrString(lock, "acquire");
    if (acquire != NULL && phx_lock_layout_of(lock) == PHX_LOCK_OTHER) {
        PyErr_Format(PyExc_TypeError, "lock must be a Lock or RLock of phalanx, not %R", (PyObject *)Py_TYPE(lock));
        Py_CLEAR(acquire);
    }
    if (acquire == NULL) {
        Py_DECREF(lock);
        return -1;
    }
    Py_DECREF(acquire);
    PyObject *before = self->lock;
    self->lock = lock;
    self->kind = phx_lock_kind_of(lock);
    Py_XDECREF(before);
    return 0;
}

static int init(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"lock", "ctx", NULL};
    PyObject *lock = Py_None, *context;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O$O", names, &lock, &context)) {
        return -1;
    }
    // A false lock counts as none, as in the stdlib.
    int given = PyObject_IsTrue(lock);
    return given < 0 ? -1 : set_lock((condition_object *)object, given ? Py_NewRef(lock) : phx_rlock_object());
}

static int is_ready(const condition_object *self) {
    if (self->lock == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "Condition.__init__() has not been called");
    }
    return self->lock != NULL;
}

// Both lock structures begin with a phx_lock. 1, or 0 with an AssertionError.
static int is_owned(const condition_object *self, const char *complaint) {
    if (!is_ready(self)) {
        return 0;
    }
    if (!phx_lock_is_mine((phx_lock *)PHX_HELD_ADDRESS(self->lock), phx_self())) {
        PyErr_SetString(PyExc_AssertionError, complaint);
        return 0;
    }
    return 1;
}

static uint64_t depth_of(const condition_object *self) {
    bool recursive = phx_lock_layout_of(self->lock) == PHX_LOCK_RECURSIVE;
    return recursive ? ((phx_rlock *)PHX_HELD_ADDRESS(self->lock))->depth : 1;
}

// Gives the lock up, however deep. How deep it was, or 0 with an exception.
static uint64_t release_all(const condition_object *self) {
    if (self->kind == PHX_LOCK_RECURSIVE) {
        return phx_rlock_release_all((phx_rlock *)PHX_HELD_ADDRESS(self->lock));
    }
    uint64_t depth = depth_of(self);
    for (uint64_t i = 0; i < depth; i++) {
        if (phx_lock_leave(self->lock, self->kind) != 0) {
            return 0;
        }
    }
    return depth;
}

typedef struct {
    PyObject *type, *value, *traceback;
} kept_exception;

static kept_exception fetch(void) {
    kept_exception kept;
    PyErr_Fetch(&kept.type, &kept.value, &kept.traceback);
    return kept;
}

static void restore(const kept_exception *kept) { PyErr_Restore(kept->type, kept->value, kept->traceback); }

static void drop(const kept_exception *kept) {
    Py_XDECREF(kept->type);
    Py_XDECREF(kept->value);
    Py_XDECREF(kept->traceback);
}

// Whether the lock is not to be had: its owner has died, or a subclass's method has raised something.
static bool is_final(const condition_object *self, const kept_exception *raised) {
    PyObject *owner_died = phx_error_class("OwnerDied");
    return self->kind == PHX_LOCK_OTHER || owner_died == NULL || PyErr_GivenExceptionMatches(raised->type, owner_died);
}

// A signal's handler may raise meanwhile: whoever waited must come out with the lock all the same. `kept` is the first
// such exception.
static int acquire_once(const condition_object *self, kept_exception *kept) {
    while (phx_lock_enter(self->lock, self->kind) != 0) {
        kept_exception raised = fetch();
        if (is_final(self, &raised)) {
            restore(&raised);
            return -1;
        }
        if (kept->type == NULL) {
            *kept = raised;
        } else {
            drop(&raised);
        }
    }
    return 0;
}

static int acquire_all(const condition_object *self, uint64_t depth, kept_exception *kept) {
    if (self->kind == PHX_LOCK_RECURSIVE) {
        int result = acquire_once(self, kept);
        if (result == 0) {
            ((phx_rlock *)PHX_HELD_ADDRESS(self->lock))->depth = depth;
        }
        return result;
    }
    for (uint64_t i = 0; i < depth; i++) {
        if (acquire_once(self, kept) != 0) {
            return -1;
        }
    }
    return 0;
}

static PyObject *get_acquire(PyObject *object, void *unused) {
    (void)unused;
    condition_object *self = (condition_object *)object;
    return is_ready(self) ? PyObject_GetAttrString(self->lock, "acquire") : NULL;
}

static PyObject *get_release(PyObject *object, void *unused) {
    (void)unused;
    condition_object *self = (condition_object *)object;
    return is_ready(self) ? PyObject_GetAttrString(self->lock, "release") : NULL;
}

static PyObject *enter(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    (void)args, (void)count;
    condition_object *self = (condition_object *)object;
    if (!is_ready(self)) {
        return NULL;
    }
    if (self->kind == PHX_LOCK_OTHER) {
        return PyObject_CallMethod(self->lock, "__enter__", NULL);
    }
    return phx_lock_enter(self->lock, self->kind) == 0 ? PyBool_FromLong(1) : NULL;
}

// A wait that ends in OwnerDied comes out without the lock: then there is nothing to release, and the error goes on.
static int came_out_without_lock(const condition_object *self, PyObject *const *args, Py_ssize_t count) {
    PyObject *owner_died = count > 0 && args[0] != Py_None ? phx_error_class("OwnerDied") : NULL;
    return owner_died != NULL && PyErr_GivenExceptionMatches(args[0], owner_died) &&
           !phx_lock_is_mine((phx_lock *)PHX_HELD_ADDRESS(self->lock), phx_self());
}

static PyObject *leave(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    condition_object *self = (condition_object *)object;
    if (!is_ready(self)) {
        return NULL;
    }
    if (!came_out_without_lock(self, args, count) && phx_lock_leave(self->lock, self->kind) != 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

// -- waiting ---------------------------------------------------------------------------------------------------------

static phx_status wait_seated(phx_condition *condition, const phx_place *place, int64_t deadline_ns) {
    phx_status status;
    if (!phx_has_passed(deadline_ns) && phx_condition_spin(condition, place, PHX_SPIN_WITH_GIL_NS)) {
        return PHX_OK;
    }
    PHX_WAIT(status, phx_condition_wait(condition, place, deadline_ns));
    return status;
}

// Somebody else shall have a notification that an exception has kept its receiver from using.
static void pass_on(condition_object *self, bool notified, const kept_exception *kept) {
    if (notified && kept->type != NULL) {
        phx_condition_notify(CONDITION(self), phx_self(), 1);
    }
}

// 1 notified, 0 the deadline has passed, -1 with an exception. The lock is held before and after.
static int wait_until(condition_object *self, int64_t deadline_ns) {
    if (!is_owned(self, "must acquire() condition before using wait()")) {
        return -1;
    }
    phx_place place;
    phx_condition_sit(CONDITION(self), phx_self(), &place);
    uint64_t depth = release_all(self);
    if (depth == 0) {
        phx_condition_leave(CONDITION(self), &place);
        return -1;
    }
    kept_exception kept = {NULL, NULL, NULL};
    if (wait_seated(CONDITION(self), &place, deadline_ns) == PHX_INTERRUPTED) {
        kept = fetch();
    }
    bool notified = phx_condition_leave(CONDITION(self), &place);
    if (acquire_all(self, depth, &kept) != 0) {
        drop(&kept);
        return -1;
    }
    pass_on(self, notified, &kept);
    if (kept.type != NULL) {
        restore(&kept);
        return -1;
    }
    return notified;
}

static PyObject *wait(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    int64_t deadline_ns;
    if (phx_timeout_argument(args, count, names, &deadline_ns) != 0) {
        return NULL;
    }
    int notified = wait_until((condition_object *)object, deadline_ns);
    return notified < 0 ? NULL : PyBool_FromLong(notified);
}

static PyObject *wait_until_true(condition_object *self, PyObject *predicate, int64_t deadline_ns) {
    for (;;) {
        PyObject *result = PyObject_CallNoArgs(predicate);
        int is_true = result == NULL ? -1 : PyObject_IsTrue(result);
        if (is_true > 0 || (is_true == 0 && phx_has_passed(deadline_ns))) {
            return result;
        }
        Py_XDECREF(result);
        if (is_true < 0 || wait_until(self, deadline_ns) < 0) {
            return NULL;
        }
    }
}

static PyObject *wait_for(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"predicate", "timeout", NULL};
    PyObject *predicate, *timeout = NULL;
    int64_t deadline_ns;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O:wait_for", names, &predicate, &timeout) ||
        phx_deadline_from(timeout, &deadline_ns) != 0) {
        return NULL;
    }
    return wait_until_true((condition_object *)object, predicate, deadline_ns);
}

// -- notifying -------------------------------------------------------------------------------------------------------

static PyObject *notify_some(PyObject *object, Py_ssize_t count) {
    condition_object *self = (condition_object *)object;
    if (!is_owned(self, "lock is not owned")) {
        return NULL;
    }
    uint32_t limit = count <= 0 ? 0 : count >= PHX_CONDITION_SEATS ? PHX_CONDITION_ALL : (uint32_t)count;
    phx_condition_notify(CONDITION(self), phx_self(), limit);
    Py_RETURN_NONE;
}

static PyObject *notify(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"n", NULL};
    Py_ssize_t count = 1;
    return PyArg_ParseTupleAndKeywords(args, kwargs, "|n:notify", names, &count) ? notify_some(object, count) : NULL;
}

static PyObject *notify_all(PyObject *object, PyObject *unused) {
    (void)unused;
    return notify_some(object, PY_SSIZE_T_MAX);
}

// -- the object ------------------------------------------------------------------------------------------------------

static PyObject *repr(PyObject *object) {
    condition_object *self = (condition_object *)object;
    PyObject *class = phx_class_name(object);
    if (class == NULL || !is_ready(self)) {
        return NULL;
    }
    PyObject *text = PyUnicode_FromFormat("<%U(%S, %u)>", class, self->lock, phx_condition_waiting(CONDITION(self)));
    Py_DECREF(class);
    return text;
}

static PyObject *reduce(PyObject *object, PyObject *unused) {
    (void)unused;
    condition_object *self = (condition_object *)object;
    PyObject *handle = is_ready(self) ? phx_grant(&self->held.hold, "Condition") : NULL;
    if (handle == NULL) {
        return NULL;
    }
    PyObject *rebuild = PyObject_GetAttrString((PyObject *)Py_TYPE(object), "_from_handle");
    return Py_BuildValue("(N(NO)N)", rebuild, handle, self->lock, phx_state_of(object));
}

static PyObject *from_handle(PyObject *class, PyObject *args) {
    PyObject *handle, *lock;
    if (!PyArg_ParseTuple(args, "OO:_from_handle", &handle, &lock)) {
        return NULL;
    }
    PyObject *object = phx_held_from_handle(class, handle);
    if (object != NULL && set_lock((condition_object *)object, Py_NewRef(lock)) != 0) {
        Py_CLEAR(object);
    }
    return object;
}

static int traverse(PyObject *object, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(((condition_object *)object)->lock);
    return 0;
}

static int clear(PyObject *object) {
    Py_CLEAR(((condition_object *)object)->lock);
    return 0;
}

static void dealloc(PyObject *object) {
    PyObject_GC_UnTrack(object);
    clear(object);
    phx_held_dealloc(object);
}

static PyMemberDef members[] = {PHX_HELD_WEAK_REFERENCES, {NULL, 0, 0, 0, NULL}};

static PyGetSetDef properties[] = {
    {"acquire", get_acquire, NULL, "The lock's `acquire`.", NULL},
    {"release", get_release, NULL, "The lock's `release`.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef methods[] = {
    {"wait", PHX_FASTCALL(wait), PHX_WITH_KEYWORDS,
     "wait($self, /, timeout=None)\n--\n\n"
     "Release the lock, wait to be notified, acquire the lock again: True, or False after `timeout` seconds.\n\n"
     "AssertionError without the lock. OwnerDied, and not holding the lock, if its next holder has died."},
    {"wait_for", PHX_FASTCALL(wait_for), METH_VARARGS | METH_KEYWORDS,
     "wait_for($self, /, predicate, timeout=None)\n--\n\nWait until predicate() is true; its last result."},
    {"notify", PHX_FASTCALL(notify), METH_VARARGS | METH_KEYWORDS,
     "notify($self, /, n=1)\n--\n\n"
     "Wake up to n of those who wait, who has waited longest first. Never waits for any of them, and none of them is\n"
     "a process that has died. AssertionError without the lock. With more than 254 waiters some may wake as well."},
    {"notify_all", notify_all, METH_NOARGS, "notify_all($self, /)\n--\n\nWake all who wait."},
    {"__enter__", PHX_FASTCALL(enter), METH_FASTCALL, "__enter__($self)\n--\n\n"},
    {"__exit__", PHX_FASTCALL(leave), METH_FASTCALL, "__exit__($self, *exc)\n--\n\n"},
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
    {Py_tp_doc, (void *)"Condition(lock=None, *, ctx=None)\n--\n\n"
                        "A condition variable over a Lock or an RLock, a new RLock by default."},
    {0, NULL},
};

static PyType_Spec spec = {"phalanx.synchronize.Condition", sizeof(condition_object), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots};

int phx_bind_condition(PyObject *module) { return phx_add_type(module, &spec, NULL) == NULL ? -1 : 0; }
