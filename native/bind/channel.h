// What other files of the binding may know of Channel.
#ifndef PHX_BIND_CHANNEL_H
#define PHX_BIND_CHANNEL_H

#include "bind.h"

PyTypeObject *phx_channel_type(void);
// The block of a Channel; it may change with the object's state. NULL with an exception.
const phx_hold *phx_hold_of_channel(PyObject *channel);

#endif
