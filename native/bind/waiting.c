// What the synchronisation types' waits have in common: their arguments and how they end.
#include "locking.h"

PyObject *phx_outcome(phx_status status) {
    switch (status) {
    case PHX_OK: Py_RETURN_TRUE;
    case PHX_TIMED_OUT: Py_RETURN_FALSE;
    case PHX_INTERRUPTED: return NULL;
    // Ctrl-C ends both who waits and who is waited for: then it is what has happened here, not the other's death.
    default: return PyErr_CheckSignals() == 0 ? phx_raise(status) : NULL;
    }
}

int phx_wait_arguments(PyObject *const *args, Py_ssize_t count, PyObject *names, int64_t *deadline_ns) {
    int block = 1;
    PyObject *timeout = NULL;
    if (phx_parse_block_timeout(args, count, names, &block, &timeout) != 0) {
        return -1;
    }
    *deadline_ns = 0;
    return block ? phx_deadline_from(timeout, deadline_ns) : 0;
}

int phx_timeout_argument(PyObject *const *args, Py_ssize_t count, PyObject *names, int64_t *deadline_ns) {
    Py_ssize_t named = names == NULL ? 0 : PyTuple_Size(names);
    if (count + named > 1) {
        PyErr_Format(PyExc_TypeError, "expected at most timeout, got %zd arguments", count + named);
        return -1;
    }
    if (named == 1 && PyUnicode_CompareWithASCIIString(PyTuple_GetItem(names, 0), "timeout") != 0) {
        PyErr_Format(PyExc_TypeError, "unexpected keyword argument '%U'", PyTuple_GetItem(names, 0));
        return -1;
    }
    return phx_deadline_from(count + named == 0 ? NULL : args[0], deadline_ns);
}
