// Frame: a message that was taken out of a channel and not rebuilt yet, so that a fault in rebuilding is its user's.
#include "message.h"

#include <string.h>

typedef struct {
    PyObject_HEAD
    phx_message message;  // payload and handles lie in `bytes`
    uint8_t *bytes;
    phx_slot_word owner;  // a forked child's copy has nothing to load: what the frame carries is its parent's
    int loaded;
} frame_object;

static PyTypeObject *frame_type;

static void drop_handles(const phx_message *message) {
    for (uint32_t i = 0; i < message->handle_count; i++) {
        phx_lease_drop(message->handles[i]);
    }
}

PyObject *phx_frame_object(const phx_message *message, int *is_gone) {
    *is_gone = 0;
    frame_object *self = PyObject_New(frame_object, frame_type);
    if (self == NULL) {
        drop_handles(message);
        return NULL;
    }
    size_t handle_bytes = message->handle_count * sizeof(phx_handle);
    self->message = *message;
    self->loaded = 0;
    self->owner = phx_self();
    self->bytes = PyMem_Malloc(handle_bytes + message->payload_bytes + 1);
    if (self->bytes == NULL) {
        drop_handles(message);
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    memcpy(self->bytes, message->handles, handle_bytes);
    memcpy(self->bytes + handle_bytes, message->payload, message->payload_bytes);
    self->message.handles = (const phx_handle *)self->bytes;
    self->message.payload = self->bytes + handle_bytes;
    return (PyObject *)self;
}

static PyObject *load(PyObject *object, PyObject *unused) {
    (void)unused;
    frame_object *self = (frame_object *)object;
    if (self->loaded) {
        PyErr_SetString(PyExc_RuntimeError, "the frame was loaded before");
        return NULL;
    }
    if (self->owner != phx_self()) {
        PyErr_SetString(PyExc_RuntimeError, "the frame is the parent's, which took it out of the channel");
        return NULL;
    }
    self->loaded = 1;
    int is_gone;
    PyObject *item = phx_decode(&self->message, &is_gone);
    return item == NULL && is_gone ? phx_raise(PHX_STALE) : item;
}

static void dealloc(PyObject *object) {
    frame_object *self = (frame_object *)object;
    PyTypeObject *type = Py_TYPE(object);
    if (self->bytes != NULL && !self->loaded) {
        drop_handles(&self->message);
    }
    PyMem_Free(self->bytes);
    PyObject_Free(object);
    Py_DECREF(type);
}

static PyMethodDef methods[] = {
    {"load", load, METH_NOARGS, "load($self)\n--\n\nThe object; once. Raises what rebuilding it raises."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_dealloc, (void *)dealloc},
    {Py_tp_methods, methods},
    {Py_tp_doc, (void *)"A message that was taken out of a channel and not rebuilt yet."},
    {0, NULL},
};

static PyType_Spec spec = {"phalanx._native.Frame", sizeof(frame_object), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};

int phx_bind_frame(PyObject *module) {
    frame_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &spec, NULL);
    return frame_type == NULL ? -1 : PyModule_AddType(module, frame_type);
}
