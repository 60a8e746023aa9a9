// Block: bytes of the arena through the buffer protocol.
#include "bind.h"

typedef struct {
    PyObject_HEAD
    phx_hold hold;
} block_object;

static PyTypeObject *block_type;

PyObject *phx_block_object(phx_hold hold) {
    block_object *self = PyObject_New(block_object, block_type);
    if (self == NULL) {
        phx_block_release(&hold);
        return NULL;
    }
    self->hold = hold;
    return (PyObject *)self;
}

static PyObject *new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)type;
    static char *names[] = {"size", NULL};
    Py_ssize_t size;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "n:Block", names, &size) || phx_ensure_arena() != 0) {
        return NULL;
    }
    if (size <= 0) {
        return PyErr_Format(PyExc_ValueError, "size must be positive, not %zd", size);
    }
    phx_hold hold;
    phx_status status;
    Py_BEGIN_ALLOW_THREADS
    status = phx_block_new((uint64_t)size, true, &hold);
    Py_END_ALLOW_THREADS
    return status == PHX_OK ? phx_block_object(hold) : phx_raise(status);
}

static void dealloc(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    phx_block_release(&((block_object *)object)->hold);
    PyObject_Free(object);
    Py_DECREF(type);
}

static Py_ssize_t length(PyObject *object) { return (Py_ssize_t)((block_object *)object)->hold.bytes; }

static int get_buffer(PyObject *object, Py_buffer *view, int flags) {
    block_object *self = (block_object *)object;
    return PyBuffer_FillInfo(view, object, self->hold.address, (Py_ssize_t)self->hold.bytes, 0, flags);
}

static PyObject *get_address(PyObject *object, void *unused) {
    (void)unused;
    return PyLong_FromVoidPtr(((block_object *)object)->hold.address);
}

static PyObject *from_handle(PyObject *class, PyObject *handle) {
    (void)class;
    phx_hold hold;
    return phx_take(handle, &hold) == 0 ? phx_block_object(hold) : NULL;
}

static PyObject *reduce(PyObject *object, PyObject *unused) {
    (void)unused;
    PyObject *rebuild = PyObject_GetAttrString((PyObject *)block_type, "_from_handle");
    if (rebuild == NULL) {
        return NULL;
    }
    PyObject *handle = phx_grant(&((block_object *)object)->hold, "Block");
    if (handle == NULL) {
        Py_DECREF(rebuild);
        return NULL;
    }
    return Py_BuildValue("(N(N))", rebuild, handle);
}

static PyMethodDef methods[] = {
    {"_from_handle", from_handle, METH_O | METH_CLASS, NULL},
    {"__reduce__", reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef properties[] = {
    {"address", get_address, NULL, "Where the block is mapped in this process.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_new, (void *)new},
    {Py_tp_dealloc, (void *)dealloc},
    {Py_sq_length, (void *)length},
    {Py_bf_getbuffer, (void *)get_buffer},
    {Py_tp_methods, methods},
    {Py_tp_getset, properties},
    {Py_tp_doc, (void *)"Block(size)\n--\n\nBytes of the arena, zeroed, writable through the buffer protocol."},
    {0, NULL},
};

static PyType_Spec spec = {"phalanx._native.Block", sizeof(block_object), 0, Py_TPFLAGS_DEFAULT, slots};

int phx_bind_block(PyObject *module) {
    PyObject *type = PyType_FromModuleAndSpec(module, &spec, NULL);
    if (type == NULL) {
        return -1;
    }
    block_type = (PyTypeObject *)type;
    return PyModule_AddType(module, block_type);
}
