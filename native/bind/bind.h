// What the binding's files share. Only bind/ knows Python.h; status codes become exceptions here and nowhere else.
#ifndef PHX_BIND_H
#define PHX_BIND_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "../memory/arena.h"

// Each file of bind/ adds its types and functions to the module: 0, or -1 with an exception.
int phx_bind_arena(PyObject *module);
int phx_bind_block(PyObject *module);
int phx_bind_lock(PyObject *module);       // Lock, RLock
int phx_bind_semaphore(PyObject *module);  // Semaphore, BoundedSemaphore
int phx_bind_condition(PyObject *module);
int phx_bind_event(PyObject *module);
int phx_bind_barrier(PyObject *module);
int phx_bind_cell(PyObject *module);  // Cell, CellArray
int phx_bind_channel(PyObject *module);
int phx_bind_watch(PyObject *module);
int phx_bind_row(PyObject *module);
int phx_bind_pipe(PyObject *module);

// Sets the exception that a status stands for (MemoryError with the figures, OwnerDied, OSError...). Returns NULL.
PyObject *phx_raise(phx_status status);
// phalanx._base.errors.NAME, a borrowed reference kept for ever; NULL with an exception.
PyObject *phx_error_class(const char *name);

// Opens the arena if this process has none: 0, or -1 with an exception. Call it first in every constructor.
int phx_ensure_arena(void);

// An absolute deadline from a relative timeout in seconds: None is PHX_FOREVER, negative is 0. 0, or -1 with an exception.
int phx_deadline_from(PyObject *timeout, int64_t *deadline_ns);

// How long a wait may spin with the GIL held, then without it, before it parks; 0 where spinning cannot pay.
#define PHX_SPIN_WITH_GIL_NS 1000
#define PHX_SPIN_NS 30000

// -- handing over (granting.c) ---------------------------------------------------------------------------------------

// Whether this thread may pickle arena objects now.
int phx_is_granting(void);
// A handle for `hold` as a tuple (arena id, block, serial, lease), leased to whom this thread is granting to. RuntimeError
// "NAME objects should only be shared between processes through inheritance" when nothing is being handed over.
PyObject *phx_grant(const phx_hold *hold, const char *type_name);
// The other way: takes over what a tuple of phx_grant stands for. RuntimeError for another tree's, or one that is gone.
int phx_take(PyObject *handle, phx_hold *hold);

// The leases that were pickled for a channel, in between: start, then collect (at most PHX_LEASES_MAX), or drop.
typedef struct phx_granting {
    phx_slot_word slot;  // 0: for a channel
    uint32_t count, capacity;
    phx_handle *handles;         // pending leases, in the order in which they were pickled
    struct phx_granting *outer;  // granting may nest
} phx_granting;
void phx_granting_push(phx_granting *granting, phx_slot_word slot);
void phx_granting_pop(phx_granting *granting);   // drops nothing: the caller has `handles`, and frees them
void phx_granting_drop(phx_granting *granting);  // drops the pending leases and frees `handles`

phx_granting *phx_granting_innermost(void);

// -- blocks ----------------------------------------------------------------------------------------------------------

// A Block object for `hold`, which is the object's from here on, also when NULL is returned with an exception.
PyObject *phx_block_object(phx_hold hold);

// -- arguments (arguments.c) -----------------------------------------------------------------------------------------

// Keyword names, compared by pointer first: interned once.
int phx_parse_block_timeout(PyObject *const *args, Py_ssize_t positional, PyObject *names, int *block,
                            PyObject **timeout);

#endif
