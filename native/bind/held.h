// A Python object that is a block of the arena and nothing else: the synchronisation types, and their subclasses.
#ifndef PHX_HELD_H
#define PHX_HELD_H

#include "bind.h"

#include <stddef.h>
#include <structmember.h>

typedef struct {
    PyObject_HEAD
    PyObject *weak_references;
    phx_hold hold;
} phx_held_object;

#define PHX_HELD_ADDRESS(object) (((phx_held_object *)(object))->hold.address)

// A new object of `type` with a zeroed block; opens the arena. NULL with an exception.
PyObject *phx_held_new(PyTypeObject *type, uint64_t bytes);
void phx_held_dealloc(PyObject *object);
// The class method `_from_handle`: an object over the block that a handle stands for.
PyObject *phx_held_from_handle(PyObject *class, PyObject *handle);
// `__reduce__`, with the attributes of a subclass as its state.
PyObject *phx_held_reduce(PyObject *object, PyObject *unused);
// The attributes that a subclass has added, or None. A new reference.
PyObject *phx_state_of(PyObject *object);

// Makes a type and adds it to the module; NULL with an exception. The caller keeps the reference for ever.
PyTypeObject *phx_add_type(PyObject *module, PyType_Spec *spec, PyTypeObject *base);

// The name of an object's class. A new reference.
static inline PyObject *phx_class_name(PyObject *object) { return PyType_GetName(Py_TYPE(object)); }

#define PHX_HELD_FROM_HANDLE {"_from_handle", phx_held_from_handle, METH_O | METH_CLASS, NULL}
#define PHX_HELD_REDUCE {"__reduce__", phx_held_reduce, METH_NOARGS, NULL}
#define PHX_HELD_WEAK_REFERENCES                                                                                       \
    {"__weaklistoffset__", T_PYSSIZET, offsetof(phx_held_object, weak_references), READONLY, NULL}

#define PHX_FASTCALL(function) ((PyCFunction)(void (*)(void))(function))
#define PHX_WITH_KEYWORDS (METH_FASTCALL | METH_KEYWORDS)

#endif
