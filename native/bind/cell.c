// Cell and CellArray: C scalars in the arena with a lock beside them, read and written under it.
#include "locking.h"
#include "scalar.h"

#include <string.h>

typedef struct {
    PyObject_HEAD
    PyObject *weak_references;
    const phx_scalar *scalar;  // NULL before __init__
    char *data;                // in `block`
    Py_ssize_t length;         // of an array; 1 for a cell
    PyObject *block, *lock;
    phx_lock_kind kind;
} cell_object;

static int is_ready(const cell_object *self) {
    if (self->scalar == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "__init__() has not been called");
    }
    return self->scalar != NULL;
}

// -- making ----------------------------------------------------------------------------------------------------------

static PyObject *new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)args, (void)kwargs;
    return ((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
}

// Takes over `block` and `lock`, either of which may be NULL with an exception. 0 or -1.
static int assemble(cell_object *self, const phx_scalar *scalar, Py_ssize_t length, PyObject *block, PyObject *lock) {
    Py_buffer view;
    if (block == NULL || lock == NULL || PyObject_GetBuffer(block, &view, PyBUF_WRITABLE) != 0) {
        Py_XDECREF(block);
        Py_XDECREF(lock);
        return -1;
    }
    self->data = view.buf;  // stays there while the block lives
    bool fits = length >= 0 && length <= view.len / scalar->bytes;
    PyBuffer_Release(&view);
    PyObject *before[] = {self->block, self->lock};
    self->block = block;
    self->lock = lock;
    self->kind = phx_lock_kind_of(lock);
    self->length = length;
    self->scalar = scalar;
    Py_XDECREF(before[0]);
    Py_XDECREF(before[1]);
    if (!fits) {
        self->scalar = NULL;
        PyErr_SetString(PyExc_ValueError, "the block is too small for the array");
    }
    return fits ? 0 : -1;
}

static PyObject *new_block(const phx_scalar *scalar, Py_ssize_t length) {
    if (length > PY_SSIZE_T_MAX / scalar->bytes) {
        return PyErr_NoMemory();
    }
    uint64_t bytes = (uint64_t)length * scalar->bytes;
    phx_hold hold;
    if (phx_ensure_arena() != 0) {
        return NULL;
    }
    phx_status status;
    Py_BEGIN_ALLOW_THREADS
    status = phx_block_new(bytes == 0 ? 1 : bytes, true, &hold);
    Py_END_ALLOW_THREADS
    return status == PHX_OK ? phx_block_object(hold) : phx_raise(status);
}

static int make(cell_object *self, const phx_scalar *scalar, Py_ssize_t length, PyObject *lock) {
    PyObject *block = new_block(scalar, length);
    if (block == NULL) {
        return -1;
    }
    return assemble(self, scalar, length, block, lock == Py_None ? phx_rlock_object() : Py_NewRef(lock));
}

static int cell_init(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"typecode", "value", "lock", NULL};
    PyObject *typecode, *value = NULL, *lock = Py_None;
    char bytes[PHX_SCALAR_BYTES_MAX];
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O$O", names, &typecode, &value, &lock)) {
        return -1;
    }
    const phx_scalar *scalar = phx_scalar_of(typecode);
    if (scalar == NULL || (value != NULL && scalar->write(bytes, value) != 0)) {
        return -1;
    }
    cell_object *self = (cell_object *)object;
    if (make(self, scalar, 1, lock) != 0) {
        return -1;
    }
    if (value != NULL) {
        memcpy(self->data, bytes, scalar->bytes);
    }
    return 0;
}

// Writes the items of a sequence to `to`, `count` of them. 0, or -1 with an exception.
static int write_items(const phx_scalar *scalar, char *to, PyObject *items, Py_ssize_t count) {
    if (scalar->code == 'c' && PyBytes_CheckExact(items)) {
        memcpy(to, PyBytes_AsString(items), (size_t)count);
        return 0;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *item = PySequence_GetItem(items, i);
        int result = item == NULL ? -1 : scalar->write(to + i * scalar->bytes, item);
        Py_XDECREF(item);
        if (result != 0) {
            return -1;
        }
    }
    return 0;
}

// An array's length from its second argument; negative with an exception.
static Py_ssize_t length_from(PyObject *size_or_items) {
    if (!PyLong_Check(size_or_items)) {
        return PySequence_Size(size_or_items);
    }
    Py_ssize_t length = PyLong_AsSsize_t(size_or_items);
    if (length < 0 && !PyErr_Occurred()) {
        PyErr_Format(PyExc_ValueError, "Array length must be >= 0, not %zd", length);
    }
    return length;
}

static int array_init(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"typecode", "size_or_initializer", "lock", NULL};
    PyObject *typecode, *items, *lock = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO|$O", names, &typecode, &items, &lock)) {
        return -1;
    }
    const phx_scalar *scalar = phx_scalar_of(typecode);
    Py_ssize_t length = scalar == NULL ? -1 : length_from(items);
    cell_object *self = (cell_object *)object;
    if (length < 0 || make(self, scalar, length, lock) != 0) {
        return -1;
    }
    return PyLong_Check(items) ? 0 : write_items(scalar, self->data, items, length);
}

// The class method `_from_parts(typecode, length, block, lock)`: the same scalars, seen from another object.
static PyObject *from_parts(PyObject *class, PyObject *args) {
    PyObject *typecode, *block, *lock;
    Py_ssize_t length;
    if (!PyArg_ParseTuple(args, "OnOO:_from_parts", &typecode, &length, &block, &lock)) {
        return NULL;
    }
    const phx_scalar *scalar = phx_scalar_of(typecode);
    PyObject *object = scalar == NULL ? NULL : new((PyTypeObject *)class, NULL, NULL);
    if (object != NULL && assemble((cell_object *)object, scalar, length, Py_NewRef(block), Py_NewRef(lock)) != 0) {
        Py_CLEAR(object);
    }
    return object;
}

static PyObject *reduce(PyObject *object, PyObject *unused) {
    (void)unused;
    cell_object *self = (cell_object *)object;
    if (!is_ready(self)) {
        return NULL;
    }
    if (!phx_is_granting()) {
        PyErr_SetString(PyExc_RuntimeError,
                        "Synchronized objects should only be shared between processes through inheritance");
        return NULL;
    }
    PyObject *rebuild = PyObject_GetAttrString((PyObject *)Py_TYPE(object), "_from_parts");
    return Py_BuildValue("(N(CnOO))", rebuild, self->scalar->code, self->length, self->block, self->lock);
}

// -- the value of a cell ---------------------------------------------------------------------------------------------

// One scalar out of the arena: a short copy under the lock, the Python object afterwards.
static inline PyObject *read_one(cell_object *self, const char *from) {
    uint64_t bytes = 0;
    if (phx_lock_enter(self->lock, self->kind) != 0) {
        return NULL;
    }
    memcpy(&bytes, from, self->scalar->bytes);
    return phx_lock_leave(self->lock, self->kind) == 0 ? self->scalar->read(&bytes) : NULL;
}

// The other way: conversion may run Python code, and does so before the lock is taken.
static inline int write_one(cell_object *self, char *to, PyObject *value) {
    uint64_t bytes = 0;
    if (self->scalar->write(&bytes, value) != 0 || phx_lock_enter(self->lock, self->kind) != 0) {
        return -1;
    }
    memcpy(to, &bytes, self->scalar->bytes);
    return phx_lock_leave(self->lock, self->kind);
}

static PyObject *get_value(PyObject *object, void *unused) {
    (void)unused;
    cell_object *self = (cell_object *)object;
    return is_ready(self) ? read_one(self, self->data) : NULL;
}

static int set_value(PyObject *object, PyObject *value, void *unused) {
    (void)unused;
    cell_object *self = (cell_object *)object;
    if (value == NULL) {
        PyErr_SetString(PyExc_TypeError, "can't delete attribute");
        return -1;
    }
    return is_ready(self) ? write_one(self, self->data, value) : -1;
}

// -- the items of an array -------------------------------------------------------------------------------------------

static Py_ssize_t array_length(PyObject *object) { return ((cell_object *)object)->length; }

// Where an item is; NULL with an IndexError.
static char *item_at(const cell_object *self, Py_ssize_t index) {
    if (index < 0 || index >= self->length) {
        PyErr_SetString(PyExc_IndexError, "invalid index");
        return NULL;
    }
    return self->data + index * self->scalar->bytes;
}

static PyObject *get_item(PyObject *object, Py_ssize_t index) {
    char *item = item_at((cell_object *)object, index);
    return item == NULL ? NULL : read_one((cell_object *)object, item);
}

static int set_item(PyObject *object, Py_ssize_t index, PyObject *value) {
    char *item = value == NULL ? NULL : item_at((cell_object *)object, index);
    return item == NULL ? -1 : write_one((cell_object *)object, item, value);
}

// An index as a position from the start; -1 with an exception for what is no index.
static int parse_index(const cell_object *self, PyObject *key, const char *complaint, Py_ssize_t *index) {
    if (!PyIndex_Check(key)) {
        PyErr_SetString(PyExc_TypeError, complaint);
        return -1;
    }
    *index = PyNumber_AsSsize_t(key, PyExc_IndexError);
    if (*index == -1 && PyErr_Occurred()) {
        return -1;
    }
    *index += *index < 0 ? self->length : 0;
    return 0;
}

typedef struct {
    Py_ssize_t start, step, count;
} range_of_items;

static int parse_slice(const cell_object *self, PyObject *slice, range_of_items *range) {
    Py_ssize_t stop;
    if (PySlice_Unpack(slice, &range->start, &stop, &range->step) != 0) {
        return -1;
    }
    range->count = PySlice_AdjustIndices(self->length, &range->start, &stop, range->step);
    return 0;
}

// Between the array and `items`, which lie side by side: the copying that is done under the lock.
static void gather(const cell_object *self, const range_of_items *range, char *items) {
    size_t bytes = self->scalar->bytes;
    for (Py_ssize_t i = 0; i < range->count; i++) {
        memcpy(items + (size_t)i * bytes, self->data + (range->start + i * range->step) * (Py_ssize_t)bytes, bytes);
    }
}

static void scatter(const cell_object *self, const range_of_items *range, const char *items) {
    size_t bytes = self->scalar->bytes;
    for (Py_ssize_t i = 0; i < range->count; i++) {
        memcpy(self->data + (range->start + i * range->step) * (Py_ssize_t)bytes, items + (size_t)i * bytes, bytes);
    }
}

static void copy_out(const cell_object *self, const range_of_items *range, char *items) {
    size_t bytes = self->scalar->bytes;
    if (range->step == 1) {
        memcpy(items, self->data + (size_t)range->start * bytes, (size_t)range->count * bytes);
    } else {
        gather(self, range, items);
    }
}

static void copy_in(const cell_object *self, const range_of_items *range, const char *items) {
    size_t bytes = self->scalar->bytes;
    if (range->step == 1) {
        memcpy(self->data + (size_t)range->start * bytes, items, (size_t)range->count * bytes);
    } else {
        scatter(self, range, items);
    }
}

// Fills a list with the items, under the lock: making a number runs no Python code, and a copy would cost more.
static int fill(const cell_object *self, const range_of_items *range, PyObject *list) {
    const phx_scalar *scalar = self->scalar;
    const char *item = self->data + range->start * scalar->bytes;
    for (Py_ssize_t i = 0; i < range->count; i++, item += range->step * scalar->bytes) {
        PyObject *number = scalar->read(item);
        if (number == NULL || PyList_SetItem(list, i, number) != 0) {
            return -1;
        }
    }
    return 0;
}

static PyObject *get_list(cell_object *self, const range_of_items *range) {
    PyObject *list = PyList_New(range->count);
    if (list == NULL || phx_lock_enter(self->lock, self->kind) != 0) {
        Py_XDECREF(list);
        return NULL;
    }
    int result = fill(self, range, list);
    if (phx_lock_leave(self->lock, self->kind) != 0 || result != 0) {
        Py_CLEAR(list);
    }
    return list;
}

// The characters of a slice as one bytes or str.
static PyObject *get_text(cell_object *self, const range_of_items *range) {
    char *items = PyMem_Malloc((size_t)(range->count + 1) * self->scalar->bytes);
    if (items == NULL) {
        return PyErr_NoMemory();
    }
    PyObject *text = NULL;
    if (phx_lock_enter(self->lock, self->kind) == 0) {
        copy_out(self, range, items);
        if (phx_lock_leave(self->lock, self->kind) == 0) {
            text = self->scalar->read_all(items, range->count);
        }
    }
    PyMem_Free(items);
    return text;
}

static PyObject *get_slice(cell_object *self, PyObject *slice) {
    range_of_items range;
    if (!is_ready(self) || parse_slice(self, slice, &range) != 0) {
        return NULL;
    }
    return self->scalar->read_all == NULL ? get_list(self, &range) : get_text(self, &range);
}

static int set_slice(cell_object *self, PyObject *slice, PyObject *values) {
    range_of_items range;
    if (!is_ready(self) || parse_slice(self, slice, &range) != 0) {
        return -1;
    }
    if (PySequence_Size(values) != range.count) {
        PyErr_SetString(PyExc_ValueError, "Can only assign sequence of same size");
        return -1;
    }
    char *items = PyMem_Malloc((size_t)(range.count + 1) * self->scalar->bytes);
    if (items == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    int result = write_items(self->scalar, items, values, range.count);
    if (result == 0 && (result = phx_lock_enter(self->lock, self->kind)) == 0) {
        copy_in(self, &range, items);
        result = phx_lock_leave(self->lock, self->kind);
    }
    PyMem_Free(items);
    return result;
}

static PyObject *get_subscript(PyObject *object, PyObject *key) {
    cell_object *self = (cell_object *)object;
    Py_ssize_t index;
    if (PySlice_Check(key)) {
        return get_slice(self, key);
    }
    return parse_index(self, key, "indices must be integers", &index) == 0 ? get_item(object, index) : NULL;
}

static int set_subscript(PyObject *object, PyObject *key, PyObject *value) {
    cell_object *self = (cell_object *)object;
    Py_ssize_t index;
    if (value == NULL) {
        PyErr_SetString(PyExc_TypeError, "Array does not support item deletion");
        return -1;
    }
    if (PySlice_Check(key)) {
        return set_slice(self, key, value);
    }
    return parse_index(self, key, "indices must be integer", &index) == 0 ? set_item(object, index, value) : -1;
}

// -- what both have --------------------------------------------------------------------------------------------------

static PyObject *get_lock(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    (void)args, (void)count;
    cell_object *self = (cell_object *)object;
    return is_ready(self) ? Py_NewRef(self->lock) : NULL;
}

static PyObject *get_acquire(PyObject *object, void *unused) {
    (void)unused;
    cell_object *self = (cell_object *)object;
    return is_ready(self) ? PyObject_GetAttrString(self->lock, "acquire") : NULL;
}

static PyObject *get_release(PyObject *object, void *unused) {
    (void)unused;
    cell_object *self = (cell_object *)object;
    return is_ready(self) ? PyObject_GetAttrString(self->lock, "release") : NULL;
}

static PyObject *enter(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    (void)args, (void)count;
    cell_object *self = (cell_object *)object;
    return is_ready(self) && phx_lock_enter(self->lock, self->kind) == 0 ? PyBool_FromLong(1) : NULL;
}

static PyObject *leave(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    (void)args, (void)count;
    cell_object *self = (cell_object *)object;
    return is_ready(self) && phx_lock_leave(self->lock, self->kind) == 0 ? Py_NewRef(Py_None) : NULL;
}

static PyObject *get_block(PyObject *object, void *unused) {
    (void)unused;
    cell_object *self = (cell_object *)object;
    return is_ready(self) ? Py_NewRef(self->block) : NULL;
}

static PyObject *get_typecode(PyObject *object, void *unused) {
    (void)unused;
    cell_object *self = (cell_object *)object;
    return is_ready(self) ? PyUnicode_FromStringAndSize(&self->scalar->code, 1) : NULL;
}

static int traverse(PyObject *object, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(((cell_object *)object)->lock);
    Py_VISIT(((cell_object *)object)->block);
    return 0;
}

static int clear(PyObject *object) {
    cell_object *self = (cell_object *)object;
    self->scalar = NULL;
    self->length = 0;
    Py_CLEAR(self->lock);
    Py_CLEAR(self->block);
    return 0;
}

static void dealloc(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    if (((cell_object *)object)->weak_references != NULL) {
        PyObject_ClearWeakRefs(object);
    }
    clear(object);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF(type);
}

static PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(cell_object, weak_references), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyMethodDef methods[] = {
    {"get_lock", PHX_FASTCALL(get_lock), METH_FASTCALL, "get_lock($self, /)\n--\n\nThe lock that guards it."},
    {"__enter__", PHX_FASTCALL(enter), METH_FASTCALL, "__enter__($self)\n--\n\n"},
    {"__exit__", PHX_FASTCALL(leave), METH_FASTCALL, "__exit__($self, *exc)\n--\n\n"},
    {"__reduce__", reduce, METH_NOARGS, NULL},
    {"_from_parts", from_parts, METH_VARARGS | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL},
};

#define ACQUIRE {"acquire", get_acquire, NULL, "The lock's `acquire`.", NULL}
#define RELEASE {"release", get_release, NULL, "The lock's `release`.", NULL}
#define BLOCK {"block", get_block, NULL, "The block of the arena that it lies in, from its first byte.", NULL}
#define TYPECODE {"typecode", get_typecode, NULL, "Which C type it is, as a typecode of one letter.", NULL}
#define END {NULL, NULL, NULL, NULL, NULL}

static PyGetSetDef cell_properties[] = {
    {"value", get_value, set_value, "The value, read and written under the lock.", NULL},
    ACQUIRE,
    RELEASE,
    BLOCK,
    TYPECODE,
    END,
};

static PyGetSetDef array_properties[] = {ACQUIRE, RELEASE, BLOCK, TYPECODE, END};

static PyType_Slot cell_slots[] = {
    {Py_tp_new, (void *)new},
    {Py_tp_init, (void *)cell_init},
    {Py_tp_dealloc, (void *)dealloc},
    {Py_tp_traverse, (void *)traverse},
    {Py_tp_clear, (void *)clear},
    {Py_tp_methods, methods},
    {Py_tp_members, members},
    {Py_tp_getset, cell_properties},
    {Py_tp_doc, (void *)"Cell(typecode, value=0, *, lock=None)\n--\n\n"
                        "A C scalar of the arena with a lock beside it, a new RLock by default."},
    {0, NULL},
};

static PyType_Slot array_slots[] = {
    {Py_tp_new, (void *)new},
    {Py_tp_init, (void *)array_init},
    {Py_tp_dealloc, (void *)dealloc},
    {Py_tp_traverse, (void *)traverse},
    {Py_tp_clear, (void *)clear},
    {Py_tp_methods, methods},
    {Py_tp_members, members},
    {Py_tp_getset, array_properties},
    {Py_sq_length, (void *)array_length},
    {Py_sq_item, (void *)get_item},
    {Py_sq_ass_item, (void *)set_item},
    {Py_mp_length, (void *)array_length},
    {Py_mp_subscript, (void *)get_subscript},
    {Py_mp_ass_subscript, (void *)set_subscript},
    {Py_tp_doc, (void *)"CellArray(typecode, size_or_initializer, *, lock=None)\n--\n\n"
                        "C scalars of the arena, side by side, with a lock beside them, a new RLock by default."},
    {0, NULL},
};

static PyType_Spec cell_spec = {"phalanx._native.Cell", sizeof(cell_object), 0,
                                Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, cell_slots};
static PyType_Spec array_spec = {"phalanx._native.CellArray", sizeof(cell_object), 0,
                                 Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, array_slots};

int phx_bind_cell(PyObject *module) {
    return phx_add_type(module, &cell_spec, NULL) == NULL || phx_add_type(module, &array_spec, NULL) == NULL ? -1 : 0;
}
