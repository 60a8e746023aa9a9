// Lock and RLock.
#include "locking.h"

#include <string.h>

#define LOCK(object) ((phx_lock *)PHX_HELD_ADDRESS(object))
#define RLOCK(object) ((phx_rlock *)PHX_HELD_ADDRESS(object))

static PyTypeObject *lock_type, *rlock_type;
static PyObject *owner_namer;  // what this thread is called in a repr: a callable, or NULL

// -- what both have --------------------------------------------------------------------------------------------------

static int set_on_owner_death(phx_lock *lock, const char *choice) {
    static const char *const names[] = {"raise", "take", "wait"};  // in the order of phx_on_owner_death
    for (uint32_t i = 0; i < 3; i++) {
        if (strcmp(choice, names[i]) == 0) {
            lock->on_owner_death = i;
            return 0;
        }
    }
    PyErr_Format(PyExc_ValueError, "on_owner_death must be 'raise', 'take' or 'wait', not '%s'", choice);
    return -1;
}

// Both structures begin with a phx_lock.
static int init(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"ctx", "on_owner_death", NULL};
    PyObject *context;
    const char *choice = "raise";
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$Os", names, &context, &choice)) {
        return -1;
    }
    return set_on_owner_death(LOCK(object), choice);
}

static PyObject *locked(PyObject *object, PyObject *unused) {
    (void)unused;
    return PyBool_FromLong(phx_lock_is_locked(LOCK(object)));
}

static PyObject *recover(PyObject *object, PyObject *unused) {
    (void)unused;
    phx_lock_recover(LOCK(object));
    Py_RETURN_NONE;
}

// -- names -----------------------------------------------------------------------------------------------------------

static PyObject *name_of_this_thread(void) {
    return owner_namer == NULL ? PyUnicode_FromString("unknown") : PyObject_CallNoArgs(owner_namer);
}

// Who holds a lock, as its repr says it. A new reference.
static PyObject *owner_name(const phx_lock *lock) {
    phx_slot_word self = phx_self();
    if (phx_lock_is_mine(lock, self)) {
        return name_of_this_thread();
    }
    phx_slot_word owner = phx_lock_owner(lock);
    return PyUnicode_FromString(owner == 0 ? "None" : owner == self ? "SomeOtherThread" : "SomeOtherProcess");
}

static PyObject *set_owner_namer(PyObject *module, PyObject *namer) {
    (void)module;
    PyObject *before = owner_namer;
    owner_namer = Py_NewRef(namer);
    Py_XDECREF(before);
    Py_RETURN_NONE;
}

// -- Lock ------------------------------------------------------------------------------------------------------------

static PyObject *lock_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)args, (void)kwargs;
    return phx_held_new(type, sizeof(phx_lock));
}

static phx_status lock_wait(phx_lock *lock, int64_t deadline_ns) {
    phx_slot_word self = phx_self();
    phx_status status;
    if (!phx_has_passed(deadline_ns)) {
        if (phx_lock_spin(lock, self, PHX_SPIN_WITH_GIL_NS)) {
            return PHX_OK;
        }
    }
    PHX_WAIT(status, phx_lock_acquire(lock, self, deadline_ns));
    return status;
}

static PyObject *lock_acquire(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    int64_t deadline_ns = PHX_FOREVER;
    if ((count > 0 || names != NULL) && phx_wait_arguments(args, count, names, &deadline_ns) != 0) {
        return NULL;
    }
    if (__builtin_expect(phx_lock_try(LOCK(object), phx_self()), 1)) {
        Py_RETURN_TRUE;
    }
    return phx_outcome(lock_wait(LOCK(object), deadline_ns));
}

static PyObject *lock_enter(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    (void)args, (void)count;
    if (__builtin_expect(phx_lock_try(LOCK(object), phx_self()), 1)) {
        Py_RETURN_TRUE;
    }
    return phx_outcome(lock_wait(LOCK(object), PHX_FOREVER));
}

static PyObject *lock_release(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    (void)args;
    if (count > 0) {
        return PyErr_Format(PyExc_TypeError, "release() takes no arguments (%zd given)", count);
    }
    if (__builtin_expect(phx_lock_release(LOCK(object)) == PHX_OK, 1)) {
        Py_RETURN_NONE;
    }
    return phx_raise(PHX_OVERFLOW);
}

static PyObject *lock_exit(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    (void)count;
    return lock_release(object, args, 0);
}

static PyObject *lock_repr(PyObject *object) {
    PyObject *owner = owner_name(LOCK(object));
    if (owner == NULL) {
        return NULL;
    }
    PyObject *class = phx_class_name(object);
    PyObject *text = class == NULL ? NULL : PyUnicode_FromFormat("<%U(owner=%S)>", class, owner);
    Py_XDECREF(class);
    Py_DECREF(owner);
    return text;
}

// -- RLock -----------------------------------------------------------------------------------------------------------

static PyObject *rlock_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)args, (void)kwargs;
    return phx_held_new(type, sizeof(phx_rlock));
}

static phx_status rlock_wait(phx_rlock *rlock, int64_t deadline_ns) {
    phx_slot_word self = phx_self();
    phx_status status;
    if (!phx_has_passed(deadline_ns) && phx_rlock_spin(rlock, self, PHX_SPIN_WITH_GIL_NS)) {
        return PHX_OK;
    }
    PHX_WAIT(status, phx_rlock_acquire(rlock, self, deadline_ns));
    return status;
}

static PyObject *rlock_acquire(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    int64_t deadline_ns = PHX_FOREVER;
    if ((count > 0 || names != NULL) && phx_wait_arguments(args, count, names, &deadline_ns) != 0) {
        return NULL;
    }
    if (__builtin_expect(phx_rlock_try(RLOCK(object), phx_self()), 1)) {
        Py_RETURN_TRUE;
    }
    return phx_outcome(rlock_wait(RLOCK(object), deadline_ns));
}

static PyObject *rlock_enter(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    (void)args, (void)count;
    if (__builtin_expect(phx_rlock_try(RLOCK(object), phx_self()), 1)) {
        Py_RETURN_TRUE;
    }
    return phx_outcome(rlock_wait(RLOCK(object), PHX_FOREVER));
}

static PyObject *raise_not_owner(void) {
    PyErr_SetString(PyExc_AssertionError, "attempt to release recursive lock not owned by thread");
    return NULL;
}

static PyObject *rlock_release(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    (void)args;
    if (count > 0) {
        return PyErr_Format(PyExc_TypeError, "release() takes no arguments (%zd given)", count);
    }
    if (__builtin_expect(phx_rlock_release(RLOCK(object), phx_self()) == PHX_OK, 1)) {
        Py_RETURN_NONE;
    }
    return raise_not_owner();
}

static PyObject *rlock_exit(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    (void)count;
    return rlock_release(object, args, 0);
}

static PyObject *rlock_repr(PyObject *object) {
    PyObject *owner = owner_name(&RLOCK(object)->lock);
    if (owner == NULL) {
        return NULL;
    }
    bool mine = phx_rlock_is_mine(RLOCK(object), phx_self());
    bool free = PyUnicode_CompareWithASCIIString(owner, "None") == 0;
    PyObject *depth =
        mine || free ? PyLong_FromUnsignedLongLong(mine ? RLOCK(object)->depth : 0) : PyUnicode_FromString("nonzero");
    PyObject *class = phx_class_name(object);
    PyObject *text = class == NULL || depth == NULL ? NULL : PyUnicode_FromFormat("<%U(%S, %S)>", class, owner, depth);
    Py_XDECREF(class);
    Py_XDECREF(depth);
    Py_DECREF(owner);
    return text;
}

// -- for the other types ---------------------------------------------------------------------------------------------

phx_lock_kind phx_lock_kind_of(PyObject *lock) {
    PyTypeObject *type = Py_TYPE(lock);
    return type == rlock_type ? PHX_LOCK_RECURSIVE : type == lock_type ? PHX_LOCK_PLAIN : PHX_LOCK_OTHER;
}

phx_lock_kind phx_lock_layout_of(PyObject *lock) {
    return PyObject_TypeCheck(lock, rlock_type)  ? PHX_LOCK_RECURSIVE
           : PyObject_TypeCheck(lock, lock_type) ? PHX_LOCK_PLAIN
                                                 : PHX_LOCK_OTHER;
}

PyObject *phx_rlock_object(void) { return rlock_new(rlock_type, NULL, NULL); }

static int call_method(PyObject *lock, const char *name) {
    PyObject *result = PyObject_CallMethod(lock, name, NULL);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

int phx_lock_enter_slow(PyObject *lock, phx_lock_kind kind) {
    PyObject *result;
    switch (kind) {
    case PHX_LOCK_PLAIN: result = lock_enter(lock, NULL, 0); break;
    case PHX_LOCK_RECURSIVE: result = rlock_enter(lock, NULL, 0); break;
    default: return call_method(lock, "acquire");
    }
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

int phx_lock_leave_slow(PyObject *lock, phx_lock_kind kind) {
    PyObject *result;
    switch (kind) {
    case PHX_LOCK_PLAIN: result = lock_release(lock, NULL, 0); break;
    case PHX_LOCK_RECURSIVE: result = raise_not_owner(); break;
    default: return call_method(lock, "release");
    }
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

// -- the types -------------------------------------------------------------------------------------------------------

static PyMemberDef members[] = {PHX_HELD_WEAK_REFERENCES, {NULL, 0, 0, 0, NULL}};

#define ACQUIRE_DOC                                                                                                    \
    "acquire($self, /, block=True, timeout=None)\n--\n\n"                                                              \
    "Whether the lock was acquired. `timeout` is in seconds, negative ones count as 0.\n\n"                            \
    "OwnerDied if the process that holds it has died (see `recover`), also when not blocking."
#define RECOVER_DOC                                                                                                    \
    "recover($self, /)\n--\n\n"                                                                                        \
    "Say that what the lock guards is fine although its owner died: the lock becomes free. Else nothing happens."

static PyMethodDef lock_methods[] = {
    {"acquire", PHX_FASTCALL(lock_acquire), PHX_WITH_KEYWORDS, ACQUIRE_DOC},
    {"release", PHX_FASTCALL(lock_release), METH_FASTCALL,
     "release($self, /)\n--\n\nRelease it; any thread and process may. ValueError if it is free."},
    {"__enter__", PHX_FASTCALL(lock_enter), METH_FASTCALL, "__enter__($self)\n--\n\n"},
    {"__exit__", PHX_FASTCALL(lock_exit), METH_FASTCALL, "__exit__($self, *exc)\n--\n\n"},
    {"locked", locked, METH_NOARGS, "locked($self, /)\n--\n\nWhether somebody holds it."},
    {"recover", recover, METH_NOARGS, RECOVER_DOC},
    PHX_HELD_FROM_HANDLE,
    PHX_HELD_REDUCE,
    {NULL, NULL, 0, NULL},
};

static PyMethodDef rlock_methods[] = {
    {"acquire", PHX_FASTCALL(rlock_acquire), PHX_WITH_KEYWORDS, ACQUIRE_DOC},
    {"release", PHX_FASTCALL(rlock_release), METH_FASTCALL,
     "release($self, /)\n--\n\nUndo one acquire. AssertionError if this thread does not hold it."},
    {"__enter__", PHX_FASTCALL(rlock_enter), METH_FASTCALL, "__enter__($self)\n--\n\n"},
    {"__exit__", PHX_FASTCALL(rlock_exit), METH_FASTCALL, "__exit__($self, *exc)\n--\n\n"},
    {"locked", locked, METH_NOARGS, "locked($self, /)\n--\n\nWhether somebody holds it."},
    {"recover", recover, METH_NOARGS, RECOVER_DOC},
    PHX_HELD_FROM_HANDLE,
    PHX_HELD_REDUCE,
    {NULL, NULL, 0, NULL},
};

static PyType_Slot lock_slots[] = {
    {Py_tp_new, (void *)lock_new},
    {Py_tp_init, (void *)init},
    {Py_tp_dealloc, (void *)phx_held_dealloc},
    {Py_tp_repr, (void *)lock_repr},
    {Py_tp_methods, lock_methods},
    {Py_tp_members, members},
    {Py_tp_doc, (void *)"Lock(*, ctx=None, on_owner_death='raise')\n--\n\n"
                        "A non-recursive lock that any process and thread of the tree may release.\n\n"
                        "When the process that holds it has died, acquire raises OwnerDied ('raise'), succeeds\n"
                        "('take'), or waits as the stdlib's would ('wait')."},
    {0, NULL},
};

static PyType_Slot rlock_slots[] = {
    {Py_tp_new, (void *)rlock_new},
    {Py_tp_init, (void *)init},
    {Py_tp_dealloc, (void *)phx_held_dealloc},
    {Py_tp_repr, (void *)rlock_repr},
    {Py_tp_methods, rlock_methods},
    {Py_tp_members, members},
    {Py_tp_doc, (void *)"RLock(*, ctx=None, on_owner_death='raise')\n--\n\n"
                        "A recursive lock, owned by a thread of a process of the tree.\n\n"
                        "When the process that holds it has died, acquire raises OwnerDied ('raise'), succeeds\n"
                        "('take'), or waits as the stdlib's would ('wait')."},
    {0, NULL},
};

static PyType_Spec lock_spec = {"phalanx.synchronize.Lock", sizeof(phx_held_object), 0,
                                Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, lock_slots};
static PyType_Spec rlock_spec = {"phalanx.synchronize.RLock", sizeof(phx_held_object), 0,
                                 Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, rlock_slots};

static PyMethodDef functions[] = {
    {"set_owner_namer", set_owner_namer, METH_O,
     "set_owner_namer(namer, /)\n--\n\nWhat the calling thread is called in a lock's repr: a callable that gives a "
     "str."},
    {NULL, NULL, 0, NULL},
};

int phx_bind_lock(PyObject *module) {
    lock_type = phx_add_type(module, &lock_spec, NULL);
    rlock_type = lock_type == NULL ? NULL : phx_add_type(module, &rlock_spec, NULL);
    return rlock_type == NULL ? -1 : PyModule_AddFunctions(module, functions);
}
