// Plain values as bytes, without a pickler: what most small arguments and results of tasks are.
//
// Plain are None, bool, int of 64 bits, float, str, bytes, and tuples of plain values; and a list or a dict of those, but
// only as the whole value: a mutable object inside another may be there twice, and must arrive as one object.
// Exact types only. Everything else travels as a pickle of its own between the plain ones.
#ifndef PHX_PLAIN_H
#define PHX_PLAIN_H

#include "bind.h"

typedef struct {
    uint8_t *bytes;
    size_t used, capacity;
    bool may_grow;  // `bytes` is the writer's own, from PyMem_Malloc
} phx_plain_writer;

typedef struct {
    const uint8_t *at, *end;
} phx_plain_reader;

typedef enum {
    PHX_PLAIN_OK,
    PHX_PLAIN_NOT,      // not a plain value
    PHX_PLAIN_NO_ROOM,  // the writer is full
    PHX_PLAIN_ERROR,    // an exception is set
} phx_plain_result;

// Appends one value; on anything but PHX_PLAIN_OK, `used` is as before.
phx_plain_result phx_plain_write(phx_plain_writer *writer, PyObject *value);
// Appends one value that was pickled already.
phx_plain_result phx_plain_write_pickle(phx_plain_writer *writer, PyObject *pickled);
// The next value; a pickled one is `loads(bytes, index)`. NULL with an exception, ValueError for bytes that are none.
PyObject *phx_plain_read(phx_plain_reader *reader, PyObject *loads, Py_ssize_t index);

#endif
