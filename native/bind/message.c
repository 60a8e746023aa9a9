#include "message.h"

#include "plain.h"

#include <stdlib.h>
#include <string.h>

#define PLAIN_BYTES 512  // of a container of plain values; a larger one is pickled, which costs little then

static PyObject *dumps, *loads;  // phalanx.reduction registers them

static PyObject *set_serializer(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *new_dumps, *new_loads;
    if (!PyArg_ParseTuple(args, "OO:set_serializer", &new_dumps, &new_loads)) {
        return NULL;
    }
    Py_INCREF(new_dumps);
    Py_INCREF(new_loads);
    Py_XDECREF(dumps);
    Py_XDECREF(loads);
    dumps = new_dumps;
    loads = new_loads;
    Py_RETURN_NONE;
}

static int ensure_serializer(void) {
    if (dumps != NULL) {
        return 0;
    }
    PyObject *module = PyImport_ImportModule("phalanx.reduction");
    if (module == NULL) {
        return -1;
    }
    Py_DECREF(module);
    if (dumps == NULL) {
        PyErr_SetString(PyExc_ImportError, "phalanx.reduction has registered no serializer");
        return -1;
    }
    return 0;
}

// -- encoding --------------------------------------------------------------------------------------------------------

static int set_payload(phx_encoded *encoded, phx_kind kind, const void *payload, size_t bytes) {
    encoded->message.kind = kind;
    encoded->message.payload = payload;
    encoded->message.payload_bytes = (uint32_t)bytes;
    return 0;
}

// Copies `bytes` into a new block and hands its lease to the message; without the GIL, which big copies can spare.
static int spill(const void *from, size_t bytes, phx_handle *handle) {
    phx_hold hold;
    phx_status status;
    Py_BEGIN_ALLOW_THREADS
    status = phx_block_new(bytes == 0 ? 1 : bytes, false, &hold);
    if (status == PHX_OK) {
        memcpy(hold.address, from, bytes);
        status = phx_lease_give(&hold, handle);
    }
    Py_END_ALLOW_THREADS
    if (status != PHX_OK) {
        phx_raise(status);
        return -1;
    }
    return 0;
}

static int set_bytes(phx_encoded *encoded, phx_kind kind, const void *payload, size_t bytes) {
    if (bytes <= PHX_INLINE_BYTES) {
        return set_payload(encoded, kind, payload, bytes);
    }
    encoded->handles = malloc(sizeof(phx_handle));
    if (encoded->handles == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    if (spill(payload, bytes, encoded->handles) < 0) {
        free(encoded->handles);
        encoded->handles = NULL;
        return -1;
    }
    encoded->message.handles = encoded->handles;
    encoded->message.handle_count = 1;
    encoded->message.spilled = true;
    encoded->message.weight = bytes;
    return set_payload(encoded, kind, "", 0);
}

int phx_encode_bytes(const Py_buffer *view, phx_encoded *encoded) {
    *encoded = (phx_encoded){0};
    return set_bytes(encoded, PHX_BYTES, view->buf, (size_t)view->len);
}

static int encode_bytes_object(PyObject *object, phx_encoded *encoded) {
    char *data;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(object, &data, &size) < 0) {
        return -1;
    }
    Py_INCREF(object);
    encoded->keeps = object;
    return set_bytes(encoded, PHX_BYTES, data, (size_t)size);
}

static int encode_str(PyObject *object, const char *text, Py_ssize_t size, phx_encoded *encoded) {
    Py_INCREF(object);
    encoded->keeps = object;
    return set_bytes(encoded, PHX_STR, text, (size_t)size);
}

static int spill_buffer(PyObject *buffer, phx_handle *handle, uint64_t *weight) {
    Py_buffer view;
    if (PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE) < 0) {
        return -1;
    }
    int result = spill(view.buf, (size_t)view.len, handle);
    *weight += (uint64_t)view.len;
    PyBuffer_Release(&view);
    return result;
}

// Handles in the order of phx_message: the payload's, the buffers', those of pickled objects. How many were made.
static int gather_handles(phx_encoded *encoded, PyObject *pickled, PyObject *buffers) {
    phx_message *message = &encoded->message;
    Py_ssize_t size = PyBytes_Size(pickled), buffer_count = PyList_Size(buffers);
    size_t spilled = size > (Py_ssize_t)PHX_INLINE_BYTES;
    size_t total = spilled + (size_t)buffer_count + encoded->granting.count;
    if (total > PHX_HANDLES_MAX) {
        PyErr_Format(PyExc_ValueError, "a message carries at most %u shared objects and large buffers, this one %zu",
                     PHX_HANDLES_MAX, total);
        return -1;
    }
    if (total == 0) {
        return 0;
    }
    encoded->handles = malloc(total * sizeof(phx_handle));
    if (encoded->handles == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    message->handles = encoded->handles;
    if (spilled) {
        if (spill(PyBytes_AsString(pickled), (size_t)size, encoded->handles) < 0) {
            return -1;
        }
        message->handle_count = 1;
        message->spilled = true;
        message->weight = (uint64_t)size;
    }
    for (Py_ssize_t i = 0; i < buffer_count; i++) {
        if (spill_buffer(PyList_GetItem(buffers, i), &encoded->handles[message->handle_count], &message->weight) < 0) {
            return -1;
        }
        message->handle_count++;
        message->buffer_count++;
    }
    // From here on the message's list is the one that is dropped or sent.
    for (uint32_t i = 0; i < encoded->granting.count; i++) {
        encoded->handles[message->handle_count++] = encoded->granting.handles[i];
    }
    encoded->granting.count = 0;
    return 0;
}

static int encode_pickled(PyObject *result, phx_encoded *encoded) {
    PyObject *pickled, *buffers;
    if (!PyArg_ParseTuple(result, "SO!:serializer", &pickled, &PyList_Type, &buffers) ||
        gather_handles(encoded, pickled, buffers) < 0) {
        return -1;
    }
    if (encoded->message.spilled) {
        return set_payload(encoded, PHX_PICKLE, "", 0);
    }
    Py_INCREF(pickled);
    encoded->keeps = pickled;
    return set_payload(encoded, PHX_PICKLE, PyBytes_AsString(pickled), (size_t)PyBytes_Size(pickled));
}

// Containers of plain values need no pickler either. 1 if this is one, 0 if it is not, -1 with an exception.
static int encode_plain(PyObject *object, phx_encoded *encoded) {
    PyTypeObject *type = Py_TYPE(object);
    if (type != &PyTuple_Type && type != &PyList_Type && type != &PyDict_Type) {
        return 0;
    }
    phx_plain_writer writer = {.bytes = PyMem_Malloc(PLAIN_BYTES), .capacity = PLAIN_BYTES};
    if (writer.bytes == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    phx_plain_result result = phx_plain_write(&writer, object);
    if (result == PHX_PLAIN_OK) {
        encoded->plain = writer.bytes;
        set_payload(encoded, PHX_PLAIN, writer.bytes, writer.used);
        return 1;
    }
    PyMem_Free(writer.bytes);
    return result == PHX_PLAIN_ERROR ? -1 : 0;
}

static int encode_other(PyObject *object, phx_encoded *encoded) {
    int is_plain = encode_plain(object, encoded);
    if (is_plain != 0) {
        return is_plain < 0 ? -1 : 0;
    }
    if (ensure_serializer() < 0) {
        return -1;
    }
    phx_granting_push(&encoded->granting, 0);
    PyObject *result = PyObject_CallFunctionObjArgs(dumps, object, NULL);
    phx_granting_pop(&encoded->granting);
    if (result == NULL) {
        return -1;
    }
    int status = encode_pickled(result, encoded);
    Py_DECREF(result);
    return status;
}

static int encode_scalar_or_other(PyObject *object, phx_encoded *encoded) {
    PyTypeObject *type = Py_TYPE(object);
    if (type == &PyLong_Type) {
        int overflow;
        encoded->scalar.integer = PyLong_AsLongLongAndOverflow(object, &overflow);
        if (overflow == 0) {
            return set_payload(encoded, PHX_INT, &encoded->scalar, sizeof encoded->scalar);
        }
    } else if (object == Py_None) {
        return set_payload(encoded, PHX_NONE, "", 0);
    } else if (type == &PyBool_Type) {
        return set_payload(encoded, object == Py_True ? PHX_TRUE : PHX_FALSE, "", 0);
    } else if (type == &PyFloat_Type) {
        encoded->scalar.floating = PyFloat_AsDouble(object);
        return set_payload(encoded, PHX_FLOAT, &encoded->scalar, sizeof encoded->scalar);
    } else if (type == &PyBytes_Type) {
        return encode_bytes_object(object, encoded);
    } else if (type == &PyUnicode_Type) {
        Py_ssize_t size;
        const char *text = PyUnicode_AsUTF8AndSize(object, &size);
        if (text != NULL) {
            return encode_str(object, text, size, encoded);
        }
        PyErr_Clear();  // a lone surrogate: pickle knows how
    }
    return encode_other(object, encoded);
}

int phx_encode(PyObject *object, phx_encoded *encoded) {
    memset(encoded, 0, sizeof *encoded);
    if (encode_scalar_or_other(object, encoded) == 0) {
        return 0;
    }
    phx_encoded_drop(encoded);
    return -1;
}

static void forget(phx_encoded *encoded) {
    Py_CLEAR(encoded->keeps);
    if (encoded->plain != NULL) {
        PyMem_Free(encoded->plain);
        encoded->plain = NULL;
    }
    if (encoded->handles != NULL) {
        free(encoded->handles);
        encoded->handles = NULL;
    }
    if (encoded->granting.handles != NULL) {
        phx_granting_drop(&encoded->granting);  // what gather_handles moved is no longer counted there
    }
}

void phx_encoded_sent(phx_encoded *encoded) { forget(encoded); }

void phx_encoded_drop(phx_encoded *encoded) {
    for (uint32_t i = 0; i < encoded->message.handle_count; i++) {
        phx_lease_drop(encoded->handles[i]);
    }
    forget(encoded);
}

// -- decoding --------------------------------------------------------------------------------------------------------

static void drop_from(const phx_message *message, uint32_t first) {
    for (uint32_t i = first; i < message->handle_count; i++) {
        phx_handle handle;
        memcpy(&handle, &message->handles[i], sizeof handle);
        phx_lease_drop(handle);  // nothing happens if somebody has taken it
    }
}

static PyObject *take_block(const phx_message *message, uint32_t index, int *is_gone) {
    phx_hold hold;
    phx_status status = phx_lease_take(message->handles[index], &hold);
    if (status == PHX_OK) {
        return phx_block_object(hold);
    }
    if (status == PHX_STALE) {
        *is_gone = 1;
        return NULL;
    }
    return phx_raise(status);
}

// The payload as something with the buffer protocol.
static PyObject *payload_of(const phx_message *message, int *is_gone) {
    if (message->spilled) {
        return take_block(message, 0, is_gone);
    }
    return PyMemoryView_FromMemory((char *)(uintptr_t)message->payload, (Py_ssize_t)message->payload_bytes, PyBUF_READ);
}

static PyObject *take_buffers(const phx_message *message, int *is_gone) {
    PyObject *buffers = PyList_New(message->buffer_count);
    for (uint32_t i = 0; buffers != NULL && i < message->buffer_count; i++) {
        PyObject *block = take_block(message, i + message->spilled, is_gone);
        if (block == NULL || PyList_SetItem(buffers, (Py_ssize_t)i, block) < 0) {
            Py_CLEAR(buffers);
        }
    }
    return buffers;
}

// The exception's traceback may keep this view of memory that is about to go.
static void let_go(PyObject *view) {
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyObject *result = PyObject_CallMethod(view, "release", NULL);
    if (result == NULL) {
        PyErr_Clear();
    }
    Py_XDECREF(result);
    PyErr_Restore(type, value, traceback);
}

static PyObject *decode_pickle(const phx_message *message, int *is_gone) {
    PyObject *object = NULL;
    PyObject *payload = ensure_serializer() < 0 ? NULL : payload_of(message, is_gone);
    PyObject *buffers = payload == NULL ? NULL : take_buffers(message, is_gone);
    if (buffers != NULL) {
        object = PyObject_CallFunctionObjArgs(loads, payload, buffers, NULL);
        if (object == NULL && !message->spilled) {
            let_go(payload);
        }
    }
    Py_XDECREF(buffers);
    Py_XDECREF(payload);
    drop_from(message, 0);
    return object;
}

static PyObject *decode_text(const phx_message *message, int *is_gone, PyObject *(*make)(const char *, Py_ssize_t)) {
    if (!message->spilled) {
        return make(message->payload, (Py_ssize_t)message->payload_bytes);
    }
    phx_hold hold;
    phx_status status = phx_lease_take(message->handles[0], &hold);
    if (status != PHX_OK) {
        drop_from(message, 0);
        *is_gone = status == PHX_STALE;
        return *is_gone ? NULL : phx_raise(status);
    }
    PyObject *object = make(hold.address, (Py_ssize_t)hold.bytes);
    phx_block_release(&hold);
    return object;
}

static PyObject *decode_str(const char *text, Py_ssize_t size) { return PyUnicode_DecodeUTF8(text, size, NULL); }

static PyObject *decode_plain(const phx_message *message) {
    phx_plain_reader reader = {message->payload, (const uint8_t *)message->payload + message->payload_bytes};
    return phx_plain_read(&reader, NULL, 0);
}

PyObject *phx_decode(const phx_message *message, int *is_gone) {
    int64_t integer;
    double floating;
    *is_gone = 0;
    switch (message->kind) {
    case PHX_INT: memcpy(&integer, message->payload, sizeof integer); return PyLong_FromLongLong(integer);
    case PHX_NONE: Py_RETURN_NONE;
    case PHX_TRUE: Py_RETURN_TRUE;
    case PHX_FALSE: Py_RETURN_FALSE;
    case PHX_FLOAT: memcpy(&floating, message->payload, sizeof floating); return PyFloat_FromDouble(floating);
    case PHX_BYTES: return decode_text(message, is_gone, PyBytes_FromStringAndSize);
    case PHX_STR: return decode_text(message, is_gone, decode_str);
    case PHX_PLAIN: return decode_plain(message);
    case PHX_PICKLE: return decode_pickle(message, is_gone);
    default: return PyErr_Format(PyExc_SystemError, "a record of unknown kind %d", (int)message->kind);
    }
}

static PyObject *pickle_in_band(PyObject *object) {
    PyObject *pair = ensure_serializer() < 0 ? NULL : PyObject_CallFunctionObjArgs(dumps, object, Py_True, NULL);
    PyObject *bytes = pair == NULL ? NULL : PySequence_GetItem(pair, 0);
    Py_XDECREF(pair);
    return bytes;
}

PyObject *phx_decode_bytes(const phx_message *message, int *is_gone) {
    *is_gone = 0;
    if (message->kind == PHX_BYTES || (message->kind == PHX_PICKLE && message->buffer_count == 0)) {
        PyObject *bytes = decode_text(message, is_gone, PyBytes_FromStringAndSize);
        drop_from(message, message->spilled);
        return bytes;
    }
    PyObject *object = phx_decode(message, is_gone);
    if (object == NULL) {
        return NULL;
    }
    PyObject *bytes = pickle_in_band(object);
    Py_DECREF(object);
    return bytes;
}

static PyMethodDef functions[] = {
    {"set_serializer", set_serializer, METH_VARARGS, "set_serializer(dumps, loads, /)\n--\n\n"},
    {NULL, NULL, 0, NULL},
};

int phx_bind_message(PyObject *module) { return PyModule_AddFunctions(module, functions); }
