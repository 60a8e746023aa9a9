#include "plain.h"

#include <string.h>

#define DEPTH_MAX 8

enum tag { NONE, TRUE_, FALSE_, INT32, INT64, FLOAT, STR, BYTES, TUPLE, LIST, DICT, PICKLE };

// -- writing ---------------------------------------------------------------------------------------------------------

static phx_plain_result make_room(phx_plain_writer *writer, size_t bytes) {
    if (bytes <= writer->capacity - writer->used) {
        return PHX_PLAIN_OK;
    }
    if (!writer->may_grow) {
        return PHX_PLAIN_NO_ROOM;
    }
    size_t capacity = (writer->used + bytes) * 2;
    uint8_t *grown = PyMem_Realloc(writer->bytes, capacity);
    if (grown == NULL) {
        PyErr_NoMemory();
        return PHX_PLAIN_ERROR;
    }
    writer->bytes = grown;
    writer->capacity = capacity;
    return PHX_PLAIN_OK;
}

static phx_plain_result write_tagged(phx_plain_writer *writer, enum tag tag, const void *data, size_t bytes) {
    phx_plain_result result = make_room(writer, 1 + bytes);
    if (result == PHX_PLAIN_OK) {
        uint8_t *to = writer->bytes + writer->used;
        *to = (uint8_t)tag;
        memcpy(to + 1, data, bytes);
        writer->used += 1 + bytes;
    }
    return result;
}

static phx_plain_result write_sized(phx_plain_writer *writer, enum tag tag, const void *data, Py_ssize_t size) {
    if (size > (Py_ssize_t)UINT32_MAX) {
        return PHX_PLAIN_NOT;
    }
    phx_plain_result result = make_room(writer, 5 + (size_t)size);
    if (result == PHX_PLAIN_OK) {
        uint32_t bytes = (uint32_t)size;
        uint8_t *to = writer->bytes + writer->used;
        *to = (uint8_t)tag;
        memcpy(to + 1, &bytes, 4);
        memcpy(to + 5, data, (size_t)size);
        writer->used += 5 + (size_t)size;
    }
    return result;
}

static phx_plain_result write_int(phx_plain_writer *writer, PyObject *value) {
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow != 0) {
        return PHX_PLAIN_NOT;
    }
    int32_t small = (int32_t)number;
    if (small == number) {
        return write_tagged(writer, INT32, &small, sizeof small);
    }
    return write_tagged(writer, INT64, &number, sizeof number);
}

static phx_plain_result write_str(phx_plain_writer *writer, PyObject *value) {
    Py_ssize_t size;
    const char *text = PyUnicode_AsUTF8AndSize(value, &size);
    if (text == NULL) {  // a lone surrogate: pickle knows how
        PyErr_Clear();
        return PHX_PLAIN_NOT;
    }
    return write_sized(writer, STR, text, size);
}

static phx_plain_result write_bytes(phx_plain_writer *writer, PyObject *value) {
    char *data;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(value, &data, &size) < 0) {
        return PHX_PLAIN_ERROR;
    }
    return write_sized(writer, BYTES, data, size);
}

static phx_plain_result write_immutable(phx_plain_writer *writer, PyObject *value, int depth);

static phx_plain_result write_count(phx_plain_writer *writer, enum tag tag, Py_ssize_t count) {
    uint32_t count32 = (uint32_t)count;
    return count > (Py_ssize_t)UINT32_MAX ? PHX_PLAIN_NOT : write_tagged(writer, tag, &count32, sizeof count32);
}

static phx_plain_result write_tuple(phx_plain_writer *writer, PyObject *value, int depth) {
    if (depth >= DEPTH_MAX) {
        return PHX_PLAIN_NOT;
    }
    Py_ssize_t count = PyTuple_Size(value);
    phx_plain_result result = write_count(writer, TUPLE, count);
    for (Py_ssize_t i = 0; i < count && result == PHX_PLAIN_OK; i++) {
        result = write_immutable(writer, PyTuple_GetItem(value, i), depth + 1);
    }
    return result;
}

static phx_plain_result write_list(phx_plain_writer *writer, PyObject *value) {
    phx_plain_result result = write_count(writer, LIST, PyList_Size(value));
    for (Py_ssize_t i = 0; result == PHX_PLAIN_OK && i < PyList_Size(value); i++) {
        result = write_immutable(writer, PyList_GetItem(value, i), 0);
    }
    return result;
}

static phx_plain_result write_dict(phx_plain_writer *writer, PyObject *value) {
    phx_plain_result result = write_count(writer, DICT, PyDict_Size(value));
    Py_ssize_t position = 0;
    PyObject *key, *item;
    while (result == PHX_PLAIN_OK && PyDict_Next(value, &position, &key, &item)) {
        result = write_immutable(writer, key, 0);
        if (result == PHX_PLAIN_OK) {
            result = write_immutable(writer, item, 0);
        }
    }
    return result;
}

static phx_plain_result write_immutable(phx_plain_writer *writer, PyObject *value, int depth) {
    PyTypeObject *type = Py_TYPE(value);
    if (type == &PyLong_Type) {
        return write_int(writer, value);
    }
    if (type == &PyFloat_Type) {
        double number = PyFloat_AsDouble(value);
        return write_tagged(writer, FLOAT, &number, sizeof number);
    }
    if (type == &PyUnicode_Type) {
        return write_str(writer, value);
    }
    if (type == &PyTuple_Type) {
        return write_tuple(writer, value, depth);
    }
    if (type == &PyBytes_Type) {
        return write_bytes(writer, value);
    }
    if (value == Py_None) {
        return write_tagged(writer, NONE, "", 0);
    }
    if (type == &PyBool_Type) {
        return write_tagged(writer, value == Py_True ? TRUE_ : FALSE_, "", 0);
    }
    return PHX_PLAIN_NOT;
}

phx_plain_result phx_plain_write(phx_plain_writer *writer, PyObject *value) {
    size_t used = writer->used;
    PyTypeObject *type = Py_TYPE(value);
    phx_plain_result result;
    if (type == &PyList_Type) {
        result = write_list(writer, value);
    } else if (type == &PyDict_Type) {
        result = write_dict(writer, value);
    } else {
        result = write_immutable(writer, value, 0);
    }
    if (result != PHX_PLAIN_OK) {
        writer->used = used;
    }
    return result;
}

phx_plain_result phx_plain_write_pickle(phx_plain_writer *writer, PyObject *pickled) {
    char *data;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(pickled, &data, &size) < 0) {
        return PHX_PLAIN_ERROR;
    }
    return write_sized(writer, PICKLE, data, size);
}

// -- reading ---------------------------------------------------------------------------------------------------------

static bool take(phx_plain_reader *reader, void *to, size_t bytes) {
    if ((size_t)(reader->end - reader->at) < bytes) {
        PyErr_SetString(PyExc_ValueError, "a record of a pool's channel is too short");
        return false;
    }
    memcpy(to, reader->at, bytes);
    reader->at += bytes;
    return true;
}

// The length that stands before text, bytes and pickles: its bytes are there too.
static bool take_size(phx_plain_reader *reader, const char **data, Py_ssize_t *size) {
    uint32_t bytes;
    if (!take(reader, &bytes, sizeof bytes)) {
        return false;
    }
    if ((size_t)(reader->end - reader->at) < bytes) {
        PyErr_SetString(PyExc_ValueError, "a record of a pool's channel is too short");
        return false;
    }
    *data = (const char *)reader->at;
    *size = (Py_ssize_t)bytes;
    reader->at += bytes;
    return true;
}

// Every value takes a byte at least, so a count above the bytes that are left is none.
static bool take_count(phx_plain_reader *reader, Py_ssize_t *count) {
    uint32_t count32;
    if (!take(reader, &count32, sizeof count32)) {
        return false;
    }
    if ((size_t)(reader->end - reader->at) < count32) {
        PyErr_SetString(PyExc_ValueError, "a record of a pool's channel is too short");
        return false;
    }
    *count = (Py_ssize_t)count32;
    return true;
}

static PyObject *read_value(phx_plain_reader *reader, PyObject *loads, Py_ssize_t index, int depth);

static PyObject *read_sequence(phx_plain_reader *reader, enum tag tag, int depth) {
    Py_ssize_t count;
    if (!take_count(reader, &count)) {
        return NULL;
    }
    PyObject *sequence = tag == TUPLE ? PyTuple_New(count) : PyList_New(count);
    for (Py_ssize_t i = 0; sequence != NULL && i < count; i++) {
        PyObject *item = read_value(reader, NULL, 0, depth + 1);
        if (item == NULL) {
            Py_CLEAR(sequence);
        } else if (tag == TUPLE) {
            PyTuple_SetItem(sequence, i, item);
        } else {
            PyList_SetItem(sequence, i, item);
        }
    }
    return sequence;
}

static PyObject *read_dict(phx_plain_reader *reader, int depth) {
    Py_ssize_t count;
    PyObject *dict = take_count(reader, &count) ? PyDict_New() : NULL;
    for (Py_ssize_t i = 0; dict != NULL && i < count; i++) {
        PyObject *key = read_value(reader, NULL, 0, depth + 1);
        PyObject *value = key == NULL ? NULL : read_value(reader, NULL, 0, depth + 1);
        if (value == NULL || PyDict_SetItem(dict, key, value) < 0) {
            Py_CLEAR(dict);
        }
        Py_XDECREF(key);
        Py_XDECREF(value);
    }
    return dict;
}

static PyObject *read_number(phx_plain_reader *reader, enum tag tag) {
    int32_t small;
    int64_t large;
    double real;
    switch (tag) {
    case INT32: return take(reader, &small, sizeof small) ? PyLong_FromLong(small) : NULL;
    case INT64: return take(reader, &large, sizeof large) ? PyLong_FromLongLong(large) : NULL;
    default: return take(reader, &real, sizeof real) ? PyFloat_FromDouble(real) : NULL;
    }
}

static PyObject *read_sized(phx_plain_reader *reader, enum tag tag, PyObject *loads, Py_ssize_t index) {
    const char *data;
    Py_ssize_t size;
    if (!take_size(reader, &data, &size)) {
        return NULL;
    }
    if (tag == STR) {
        return PyUnicode_DecodeUTF8(data, size, NULL);
    }
    PyObject *bytes = PyBytes_FromStringAndSize(data, size);
    if (tag == BYTES || bytes == NULL) {
        return bytes;
    }
    PyObject *number = PyLong_FromSsize_t(index);
    PyObject *value = number == NULL ? NULL : PyObject_CallFunctionObjArgs(loads, bytes, number, NULL);
    Py_XDECREF(number);
    Py_DECREF(bytes);
    return value;
}

static PyObject *read_value(phx_plain_reader *reader, PyObject *loads, Py_ssize_t index, int depth) {
    uint8_t tag;
    if (depth > DEPTH_MAX + 1) {
        PyErr_SetString(PyExc_ValueError, "a record of a pool's channel is nested too deeply");
        return NULL;
    }
    if (!take(reader, &tag, 1)) {
        return NULL;
    }
    switch ((enum tag)tag) {
    case NONE: return Py_NewRef(Py_None);
    case TRUE_: return Py_NewRef(Py_True);
    case FALSE_: return Py_NewRef(Py_False);
    case INT32:
    case INT64:
    case FLOAT: return read_number(reader, tag);
    case STR:
    case BYTES: return read_sized(reader, tag, NULL, 0);
    case TUPLE:
    case LIST: return read_sequence(reader, tag, depth);
    case DICT: return read_dict(reader, depth);
    case PICKLE:
        if (loads != NULL) {
            return read_sized(reader, tag, loads, index);
        }
    }
    PyErr_SetString(PyExc_ValueError, "a record of a pool's channel has an unknown tag");
    return NULL;
}

PyObject *phx_plain_read(phx_plain_reader *reader, PyObject *loads, Py_ssize_t index) {
    return read_value(reader, loads, index, 0);
}
