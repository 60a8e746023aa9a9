// The C scalars that shared values and arrays are made of, by their typecodes: how each becomes a Python object and back.
#ifndef PHX_SCALAR_H
#define PHX_SCALAR_H

#include "bind.h"

#define PHX_SCALAR_BYTES_MAX 8

typedef struct {
    char code;
    uint8_t bytes;
    PyObject *(*read)(const void *from);                        // a new reference, or NULL with an exception
    int (*write)(void *to, PyObject *value);                    // 0, or -1 with an exception and nothing written
    PyObject *(*read_all)(const void *from, Py_ssize_t count);  // of a contiguous run; NULL: a list of each
} phx_scalar;

// NULL with a TypeError for anything but a typecode.
const phx_scalar *phx_scalar_of(PyObject *typecode);

#endif
