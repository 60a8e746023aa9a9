// Arguments that many methods take: a timeout in seconds, `block` and `timeout`.
#include "bind.h"

#include <math.h>

int phx_deadline_from(PyObject *timeout, int64_t *deadline_ns) {
    if (timeout == NULL || timeout == Py_None) {
        *deadline_ns = PHX_FOREVER;
        return 0;
    }
    double seconds = PyFloat_AsDouble(timeout);
    if (seconds == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    if (isnan(seconds)) {
        PyErr_SetString(PyExc_ValueError, "timeout is not a number (NaN)");
        return -1;
    }
    if (seconds <= 0) {
        *deadline_ns = 0;
    } else if (seconds >= 9e9) {
        *deadline_ns = PHX_FOREVER;
    } else {
        *deadline_ns = phx_now_ns() + (int64_t)(seconds * 1e9);
    }
    return 0;
}

static PyObject *interned_block, *interned_timeout;

static int is_name(PyObject *name, PyObject *interned, const char *text) {
    return name == interned || PyUnicode_CompareWithASCIIString(name, text) == 0;
}

static int set_block(PyObject *value, int *block) {
    *block = value == Py_True ? 1 : value == Py_False ? 0 : PyObject_IsTrue(value);
    return *block < 0 ? -1 : 0;
}

static int set_by_name(PyObject *name, PyObject *value, int *block, PyObject **timeout) {
    if (is_name(name, interned_block, "block") || PyUnicode_CompareWithASCIIString(name, "blocking") == 0) {
        return set_block(value, block);
    }
    if (is_name(name, interned_timeout, "timeout")) {
        *timeout = value;
        return 0;
    }
    PyErr_Format(PyExc_TypeError, "unexpected keyword argument '%U'", name);
    return -1;
}

int phx_parse_block_timeout(PyObject *const *args, Py_ssize_t positional, PyObject *names, int *block,
                            PyObject **timeout) {
    if (interned_block == NULL) {
        interned_block = PyUnicode_InternFromString("block");
        interned_timeout = PyUnicode_InternFromString("timeout");
    }
    if (positional > 2) {
        PyErr_Format(PyExc_TypeError, "expected at most block and timeout, got %zd arguments", positional);
        return -1;
    }
    if (positional > 0 && set_block(args[0], block) < 0) {
        return -1;
    }
    if (positional > 1) {
        *timeout = args[1];
    }
    Py_ssize_t named = names == NULL ? 0 : PyTuple_Size(names);
    for (Py_ssize_t i = 0; i < named; i++) {
        if (set_by_name(PyTuple_GetItem(names, i), args[positional + i], block, timeout) < 0) {
            return -1;
        }
    }
    return 0;
}
