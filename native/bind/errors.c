// Status codes become exceptions, here and nowhere else.
#include "bind.h"

#include <errno.h>

PyObject *phx_error_class(const char *name) {
    static PyObject *errors;
    if (errors == NULL && (errors = PyImport_ImportModule("phalanx._base.errors")) == NULL) {
        return NULL;
    }
    PyObject *class = PyObject_GetAttrString(errors, name);
    Py_XDECREF(class);  // the module keeps it
    return class;
}

static PyObject *raise_memory_error(void) {
    phx_arena_figures figures = {0};
    if (phx_arena_is_open()) {
        phx_arena_stats(&figures);
    }
    PyErr_Format(PyExc_MemoryError,
                 "the arena cannot grow: %llu bytes committed in %llu blocks, limit %llu, the system has %llu left",
                 (unsigned long long)figures.committed_bytes, (unsigned long long)figures.blocks,
                 (unsigned long long)figures.limit_bytes, (unsigned long long)phx_memory_available());
    return NULL;
}

static PyObject *raise_error(const char *class_name, const char *text) {
    PyObject *class = phx_error_class(class_name);
    if (class != NULL) {
        PyErr_SetString(class, text);
    }
    return NULL;
}

PyObject *phx_raise(phx_status status) {
    switch (status) {
    case PHX_NO_MEMORY: return raise_memory_error();
    case PHX_OWNER_DIED:
        return raise_error("OwnerDied", "the process that held the lock has died; what it guards may be half-written "
                                        "(recover() says that it is fine)");
    case PHX_STALE:
        PyErr_SetString(PyExc_RuntimeError, "the shared object is gone, or its handle was used before");
        return NULL;
    case PHX_LAYOUT:
        PyErr_SetString(PyExc_RuntimeError, "not an arena, or one of another version of phalanx");
        return NULL;
    case PHX_NOT_OWNER:
    case PHX_OVERFLOW: PyErr_SetString(PyExc_ValueError, "semaphore or lock released too many times"); return NULL;
    case PHX_SYSTEM: return PyErr_SetFromErrno(PyExc_OSError);
    default: return PyErr_Format(PyExc_SystemError, "unexpected status %d", (int)status);
    }
}
