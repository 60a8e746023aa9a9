// Handing objects over: which thread may pickle arena objects now, and to whom the leases go.
#include "bind.h"

#include <stdlib.h>

static _Thread_local phx_granting *innermost;

void phx_granting_push(phx_granting *granting, phx_slot_word slot) {
    *granting = (phx_granting){.slot = slot, .outer = innermost};
    innermost = granting;
}

void phx_granting_pop(phx_granting *granting) { innermost = granting->outer; }

void phx_granting_drop(phx_granting *granting) {
    for (uint32_t i = 0; i < granting->count; i++) {
        phx_lease_drop(granting->handles[i]);
    }
    free(granting->handles);
    granting->handles = NULL;
    granting->count = 0;
}

phx_granting *phx_granting_innermost(void) { return innermost; }

int phx_is_granting(void) { return innermost != NULL; }

static int remember(phx_granting *granting, phx_handle handle) {
    if (granting->count == granting->capacity) {
        uint32_t capacity = granting->capacity == 0 ? 8 : granting->capacity * 2;
        phx_handle *larger = realloc(granting->handles, capacity * sizeof *larger);
        if (larger == NULL) {
            return -1;
        }
        granting->handles = larger;
        granting->capacity = capacity;
    }
    granting->handles[granting->count++] = handle;
    return 0;
}

static phx_status direct(phx_handle handle) {
    if (innermost->slot != 0) {
        return phx_lease_grant(handle, innermost->slot);
    }
    return remember(innermost, handle) == 0 ? PHX_OK : PHX_NO_MEMORY;
}

PyObject *phx_grant(const phx_hold *hold, const char *type_name) {
    if (innermost == NULL) {
        return PyErr_Format(PyExc_RuntimeError,
                            "%s objects should only be shared between processes through inheritance", type_name);
    }
    phx_handle handle;
    phx_status status = phx_lease_lend(hold, &handle);
    if (status != PHX_OK) {
        return phx_raise(status);
    }
    status = direct(handle);
    if (status != PHX_OK) {
        phx_lease_drop(handle);
        return phx_raise(status);
    }
    return Py_BuildValue("(KIII)", (unsigned long long)phx_arena_id(), handle.block, handle.serial, handle.lease);
}

int phx_take(PyObject *tuple, phx_hold *hold) {
    unsigned long long arena;
    phx_handle handle;
    if (!PyArg_ParseTuple(tuple, "KIII:handle", &arena, &handle.block, &handle.serial, &handle.lease)) {
        return -1;
    }
    if (!phx_arena_is_open() || phx_arena_id() != arena) {
        PyErr_SetString(PyExc_RuntimeError, "the shared object belongs to another process tree");
        return -1;
    }
    phx_status status = phx_lease_take(handle, hold);
    if (status != PHX_OK) {
        phx_raise(status);
        return -1;
    }
    return 0;
}
