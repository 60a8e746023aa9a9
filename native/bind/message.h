// Objects to messages and back: what queues, pipes and pools put into a channel.
#ifndef PHX_MESSAGE_H
#define PHX_MESSAGE_H

#include "bind.h"

#include "../channel/channel.h"

// Kinds of records: exact scalars need no pickler. PHX_KIND_LINK is the channel's own.
enum { PHX_NONE = 2, PHX_TRUE, PHX_FALSE, PHX_INT, PHX_FLOAT, PHX_BYTES, PHX_STR, PHX_PICKLE, PHX_PLAIN };

// A message and what keeps its memory alive until it is published.
typedef struct {
    phx_message message;
    union {
        int64_t integer;
        double floating;
    } scalar;
    PyObject *keeps;        // whose memory the payload is
    uint8_t *plain;         // the payload of a container of plain values
    phx_granting granting;  // handles of pickled objects
    phx_handle *handles;    // all handles, when there are others too
} phx_encoded;

// 0, or -1 with the exception that pickling raised. Then either `sent` or `drop` ends it.
int phx_encode(PyObject *object, phx_encoded *encoded);
// Bytes as they are, copied once.
int phx_encode_bytes(const Py_buffer *view, phx_encoded *encoded);
void phx_encoded_sent(phx_encoded *encoded);
void phx_encoded_drop(phx_encoded *encoded);

// The object, or NULL with an exception; NULL with *is_gone and without one for a record whose sender died before what
// it carries was safe: skip it. Leases that the object did not take over are returned.
PyObject *phx_decode(const phx_message *message, int *is_gone);
// The payload as bytes: what send_bytes sent, or the pickle that an object travelled as.
PyObject *phx_decode_bytes(const phx_message *message, int *is_gone);

// A Frame: the message as it is, rebuilt later.
PyObject *phx_frame_object(const phx_message *message, int *is_gone);

int phx_bind_message(PyObject *module);
int phx_bind_frame(PyObject *module);

#endif
