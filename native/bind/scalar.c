#include "scalar.h"

#include <string.h>
#include <wchar.h>

// Integers are cut to size without a word, as ctypes does; only what is no integer is an error.
#define DEFINE_INTEGER(name, type, to_python, wide)                                                                    \
    static PyObject *read_##name(const void *from) {                                                                   \
        type value;                                                                                                    \
        memcpy(&value, from, sizeof value);                                                                            \
        return to_python((wide)value);                                                                                 \
    }                                                                                                                  \
    static int write_##name(void *to, PyObject *value) {                                                               \
        unsigned long long bits = PyLong_AsUnsignedLongLongMask(value);                                                \
        if (bits == (unsigned long long)-1 && PyErr_Occurred()) {                                                      \
            return -1;                                                                                                 \
        }                                                                                                              \
        type cut = (type)bits;                                                                                         \
        memcpy(to, &cut, sizeof cut);                                                                                  \
        return 0;                                                                                                      \
    }

DEFINE_INTEGER(int8, int8_t, PyLong_FromLong, long)
DEFINE_INTEGER(uint8, uint8_t, PyLong_FromLong, long)
DEFINE_INTEGER(short, short, PyLong_FromLong, long)
DEFINE_INTEGER(ushort, unsigned short, PyLong_FromLong, long)
DEFINE_INTEGER(int, int, PyLong_FromLong, long)
DEFINE_INTEGER(uint, unsigned int, PyLong_FromUnsignedLong, unsigned long)
DEFINE_INTEGER(long, long, PyLong_FromLong, long)
DEFINE_INTEGER(ulong, unsigned long, PyLong_FromUnsignedLong, unsigned long)
DEFINE_INTEGER(longlong, long long, PyLong_FromLongLong, long long)
DEFINE_INTEGER(ulonglong, unsigned long long, PyLong_FromUnsignedLongLong, unsigned long long)

static PyObject *read_float(const void *from) {
    float value;
    memcpy(&value, from, sizeof value);
    return PyFloat_FromDouble((double)value);
}

static int write_float(void *to, PyObject *value) {
    double number = PyFloat_AsDouble(value);
    if (number == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    float narrow = (float)number;
    memcpy(to, &narrow, sizeof narrow);
    return 0;
}

static PyObject *read_double(const void *from) {
    double value;
    memcpy(&value, from, sizeof value);
    return PyFloat_FromDouble(value);
}

static int write_double(void *to, PyObject *value) {
    double number = PyFloat_AsDouble(value);
    if (number == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    memcpy(to, &number, sizeof number);
    return 0;
}

static PyObject *read_bool(const void *from) { return PyBool_FromLong(*(const char *)from != 0); }

static int write_bool(void *to, PyObject *value) {
    int truth = PyObject_IsTrue(value);
    if (truth >= 0) {
        *(char *)to = (char)truth;
    }
    return truth < 0 ? -1 : 0;
}

static PyObject *read_char(const void *from) { return PyBytes_FromStringAndSize(from, 1); }
static PyObject *read_chars(const void *from, Py_ssize_t count) { return PyBytes_FromStringAndSize(from, count); }

static int write_char(void *to, PyObject *value) {
    if (PyBytes_Check(value) && PyBytes_Size(value) == 1) {
        *(char *)to = *PyBytes_AsString(value);
        return 0;
    }
    if (PyByteArray_Check(value) && PyByteArray_Size(value) == 1) {
        *(char *)to = *PyByteArray_AsString(value);
        return 0;
    }
    if (PyLong_Check(value)) {
        long number = PyLong_AsLong(value);
        PyErr_Clear();
        if (number >= 0 && number < 256) {
            *(unsigned char *)to = (unsigned char)number;
            return 0;
        }
    }
    PyErr_SetString(PyExc_TypeError, "one character bytes, bytearray or integer expected");
    return -1;
}

static PyObject *read_wides(const void *from, Py_ssize_t count) { return PyUnicode_FromWideChar(from, count); }
static PyObject *read_wide(const void *from) { return read_wides(from, 1); }

static int write_wide(void *to, PyObject *value) {
    if (!PyUnicode_Check(value)) {
        PyObject *name = PyType_GetName(Py_TYPE(value));
        PyErr_Format(PyExc_TypeError, "unicode string expected instead of %V instance", name, "other");
        Py_XDECREF(name);
        return -1;
    }
    wchar_t text[3];
    if (PyUnicode_GetLength(value) != 1 || PyUnicode_AsWideChar(value, text, 3) != 1) {
        PyErr_SetString(PyExc_TypeError, "one character unicode string expected");
        return -1;
    }
    memcpy(to, text, sizeof *text);
    return 0;
}

static const phx_scalar scalars[] = {
    {'c', 1, read_char, write_char, read_chars},
    {'u', sizeof(wchar_t), read_wide, write_wide, read_wides},
    {'b', 1, read_int8, write_int8, NULL},
    {'B', 1, read_uint8, write_uint8, NULL},
    {'h', sizeof(short), read_short, write_short, NULL},
    {'H', sizeof(short), read_ushort, write_ushort, NULL},
    {'i', sizeof(int), read_int, write_int, NULL},
    {'I', sizeof(int), read_uint, write_uint, NULL},
    {'l', sizeof(long), read_long, write_long, NULL},
    {'L', sizeof(long), read_ulong, write_ulong, NULL},
    {'q', sizeof(long long), read_longlong, write_longlong, NULL},
    {'Q', sizeof(long long), read_ulonglong, write_ulonglong, NULL},
    {'f', sizeof(float), read_float, write_float, NULL},
    {'d', sizeof(double), read_double, write_double, NULL},
    {'?', 1, read_bool, write_bool, NULL},
};

const phx_scalar *phx_scalar_of(PyObject *typecode) {
    if (PyUnicode_Check(typecode) && PyUnicode_GetLength(typecode) == 1) {
        Py_UCS4 code = PyUnicode_ReadChar(typecode, 0);
        for (size_t i = 0; i < sizeof scalars / sizeof *scalars; i++) {
            if ((Py_UCS4)scalars[i].code == code) {
                return &scalars[i];
            }
        }
    }
    PyErr_Format(PyExc_TypeError, "not a typecode: %R", typecode);
    return NULL;
}
