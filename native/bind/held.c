#include "held.h"

static PyObject *allocate(PyTypeObject *type, phx_hold hold) {
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    phx_held_object *self = (phx_held_object *)alloc(type, 0);
    if (self == NULL) {
        phx_block_release(&hold);
        return NULL;
    }
    self->hold = hold;
    return (PyObject *)self;
}

PyObject *phx_held_new(PyTypeObject *type, uint64_t bytes) {
    phx_hold hold;
    if (phx_ensure_arena() != 0) {
        return NULL;
    }
    phx_status status = phx_block_new(bytes, true, &hold);
    return status == PHX_OK ? allocate(type, hold) : phx_raise(status);
}

void phx_held_dealloc(PyObject *object) {
    phx_held_object *self = (phx_held_object *)object;
    PyTypeObject *type = Py_TYPE(object);
    if (self->weak_references != NULL) {
        PyObject_ClearWeakRefs(object);
    }
    if (self->hold.address != NULL) {
        phx_block_release(&self->hold);
    }
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF(type);
}

PyObject *phx_held_from_handle(PyObject *class, PyObject *handle) {
    phx_hold hold;
    return phx_take(handle, &hold) == 0 ? allocate((PyTypeObject *)class, hold) : NULL;
}

PyObject *phx_state_of(PyObject *object) {
    PyObject *state = PyObject_GetAttrString(object, "__dict__");
    if (state != NULL && PyObject_IsTrue(state) == 1) {
        return state;
    }
    Py_XDECREF(state);
    PyErr_Clear();
    Py_RETURN_NONE;
}

PyObject *phx_held_reduce(PyObject *object, PyObject *unused) {
    (void)unused;
    PyObject *name = phx_class_name(object);
    const char *text = name == NULL ? NULL : PyUnicode_AsUTF8AndSize(name, NULL);
    PyObject *handle = text == NULL ? NULL : phx_grant(&((phx_held_object *)object)->hold, text);
    Py_XDECREF(name);
    if (handle == NULL) {
        return NULL;
    }
    PyObject *rebuild = PyObject_GetAttrString((PyObject *)Py_TYPE(object), "_from_handle");
    return Py_BuildValue("(N(N)N)", rebuild, handle, phx_state_of(object));
}

PyTypeObject *phx_add_type(PyObject *module, PyType_Spec *spec, PyTypeObject *base) {
    PyTypeObject *type = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, (PyObject *)base);
    return type == NULL || PyModule_AddType(module, type) != 0 ? NULL : type;
}
