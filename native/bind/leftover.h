// What get_many took out of a channel and could not return, because an object before it could not be rebuilt.
#ifndef PHX_LEFTOVER_H
#define PHX_LEFTOVER_H

#include "message.h"

typedef struct phx_leftover phx_leftover;

// Rebuilds the objects of a batch from *position on, `limit` at most: a list. When one cannot be rebuilt, those before it are
// returned, and the exception is the next thing to come: *leftover keeps it and what is behind, and *position is the end.
// NULL with an exception when it is the first. Ctrl-C and the like are raised at once, whatever was rebuilt before.
PyObject *phx_decode_many(const phx_batch *batch, size_t *position, uint32_t limit, phx_leftover **leftover);

// Whether there is something left, of this process: a forked child's copy is not its own, and is forgotten.
bool phx_leftover_check(phx_leftover **leftover);
void phx_leftover_add(phx_leftover **leftover, phx_leftover *more);
uint32_t phx_leftover_count(const phx_leftover *leftover);
// The next of it, rebuilt by `decode`; NULL with an exception.
PyObject *phx_leftover_next(phx_leftover **leftover, PyObject *(*decode)(const phx_message *, int *));
PyObject *phx_leftover_many(phx_leftover **leftover, uint32_t limit);
void phx_leftover_drop(phx_leftover **leftover);

#endif
