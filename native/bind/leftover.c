#include "leftover.h"

#include <string.h>

struct phx_leftover {
    phx_leftover *next;  // what was left over earlier, while this was being rebuilt by another thread
    phx_slot_word owner;
    PyObject *type, *value, *traceback;  // the exception that comes first, or NULL
    size_t position;
    phx_batch batch;
    uint8_t records[];  // aligned to 8: a batch reads its records in place
};
_Static_assert(offsetof(phx_leftover, records) % 8 == 0, "records are aligned to 8");

static uint32_t count_from(const phx_batch *batch, size_t position) {
    phx_message message;
    uint32_t count = 0;
    while (phx_batch_next(batch, &position, &message)) {
        count++;
    }
    return count;
}

static void drop_from(const phx_batch *batch, size_t position) {
    phx_message message;
    while (phx_batch_next(batch, &position, &message)) {
        for (uint32_t i = 0; i < message.handle_count; i++) {
            phx_lease_drop(message.handles[i]);
        }
    }
}

// Keeps the exception that is set, if `with_error`, and the records from `position` on. 0, or -1 with an exception.
static int keep(const phx_batch *batch, size_t position, bool with_error, phx_leftover **leftover) {
    PyObject *type = NULL, *value = NULL, *traceback = NULL;
    size_t bytes = batch->used - position;
    if (with_error) {
        PyErr_Fetch(&type, &value, &traceback);
    } else if (bytes == 0) {
        return 0;
    }
    phx_leftover *made = PyMem_Malloc(sizeof *made + bytes);
    if (made == NULL) {
        drop_from(batch, position);
        if (with_error) {
            PyErr_Restore(type, value, traceback);
        } else {
            PyErr_NoMemory();
        }
        return -1;
    }
    *made = (phx_leftover){.owner = phx_self(), .type = type, .value = value, .traceback = traceback};
    memcpy(made->records, batch->bytes + position, bytes);
    made->batch = (phx_batch){.bytes = made->records, .used = bytes, .count = count_from(batch, position)};
    *leftover = made;
    return 0;
}

// The object at `at` could not be rebuilt; what comes of the list so far.
static PyObject *stop(PyObject *list, const phx_batch *batch, size_t position, phx_leftover **leftover) {
    bool is_first = list == NULL || PyList_Size(list) == 0;
    bool at_once = is_first || !PyErr_ExceptionMatches(PyExc_Exception);
    if (at_once) {
        PyObject *type, *value, *traceback;
        PyErr_Fetch(&type, &value, &traceback);
        if (keep(batch, position, false, leftover) < 0) {
            PyErr_Clear();
        }
        PyErr_Restore(type, value, traceback);
    } else if (keep(batch, position, true, leftover) == 0) {
        return list;
    }
    Py_XDECREF(list);
    return NULL;
}

PyObject *phx_decode_many(const phx_batch *batch, size_t *position, uint32_t limit, phx_leftover **leftover) {
    PyObject *list = PyList_New(0);
    phx_message message;
    bool failed = list == NULL;
    while (!failed && limit > 0 && phx_batch_next(batch, position, &message)) {
        int is_gone;
        PyObject *item = phx_decode(&message, &is_gone);
        if (item == NULL && is_gone) {
            continue;
        }
        failed = item == NULL || PyList_Append(list, item) < 0;
        Py_XDECREF(item);
        limit--;
    }
    if (failed) {
        size_t rest = *position;
        *position = batch->used;
        return stop(list, batch, rest, leftover);
    }
    return list;
}

static void release(phx_leftover *leftover) {
    Py_XDECREF(leftover->type);
    Py_XDECREF(leftover->value);
    Py_XDECREF(leftover->traceback);
    PyMem_Free(leftover);
}

void phx_leftover_drop(phx_leftover **leftover) {
    phx_leftover *old;
    while ((old = *leftover) != NULL) {
        *leftover = old->next;
        drop_from(&old->batch, old->position);  // not what is another process's
        release(old);
    }
}

bool phx_leftover_check(phx_leftover **leftover) {
    if (*leftover != NULL && (*leftover)->owner != phx_self()) {
        phx_leftover_drop(leftover);
    }
    return *leftover != NULL;
}

uint32_t phx_leftover_count(const phx_leftover *leftover) {
    uint32_t count = 0;
    for (; leftover != NULL; leftover = leftover->next) {
        count += count_from(&leftover->batch, leftover->position) + (leftover->type != NULL);
    }
    return count;
}

static bool raise_kept(phx_leftover *old) {
    if (old->type == NULL) {
        return false;
    }
    PyErr_Restore(old->type, old->value, old->traceback);
    old->type = old->value = old->traceback = NULL;
    return true;
}

// It is this thread's alone while its objects are rebuilt.
static phx_leftover *pick(phx_leftover **leftover) {
    phx_leftover *old = *leftover;
    *leftover = old->next;
    return old;
}

void phx_leftover_add(phx_leftover **leftover, phx_leftover *more) {
    more->next = *leftover;
    *leftover = more;
}

static void put_back(phx_leftover **leftover, phx_leftover *old) {
    if (old->position == old->batch.used) {
        release(old);
    } else {
        phx_leftover_add(leftover, old);
    }
}

PyObject *phx_leftover_next(phx_leftover **leftover, PyObject *(*decode)(const phx_message *, int *)) {
    phx_leftover *old = pick(leftover);
    phx_message message;
    PyObject *item = NULL;
    if (!raise_kept(old) && phx_batch_next(&old->batch, &old->position, &message)) {
        int is_gone;
        item = decode(&message, &is_gone);
        if (item == NULL && is_gone) {
            phx_raise(PHX_STALE);
        }
    }
    put_back(leftover, old);
    return item;
}

PyObject *phx_leftover_many(phx_leftover **leftover, uint32_t limit) {
    phx_leftover *old = pick(leftover), *more = NULL;
    PyObject *list = raise_kept(old) ? NULL : phx_decode_many(&old->batch, &old->position, limit, &more);
    put_back(leftover, old);
    if (more != NULL) {
        phx_leftover_add(leftover, more);
    }
    return list;
}
