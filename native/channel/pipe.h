// A pipe between processes of one tree: PIPE.md has the protocol.
#ifndef PHX_PIPE_H
#define PHX_PIPE_H

#include "channel.h"

#define PHX_PIPE_BYTES (4u << 20)  // of messages that wait in one direction: enough for some of a megabyte, and bounded
// How long the kernel's word that the peer is there holds: less than a process takes to end, more than many messages.
#define PHX_PEER_CHECK_NS ((int64_t)100000)

// One end, as one process holds it. Zeroed with `fd` -1: none.
typedef struct {
    phx_hold state;    // the shared block of the pipe
    phx_hold in, out;  // the channels; `address` is NULL for a direction that this end does not have
    int fd;
    uint32_t side;           // 0 or 1
    uint32_t closings_seen;  // of the last time the kernel was asked after the peer
    int64_t asked_ns;
} phx_pipe_end;

// Makes what two ends share over a connected socket pair. One way: messages go from the second to the first.
phx_status phx_pipe_new(phx_pipe_end *first, phx_pipe_end *second, bool duplex);
// Closes the descriptor and lets the peer look; the memory stays until phx_pipe_release.
void phx_pipe_close(phx_pipe_end *end);
void phx_pipe_release(phx_pipe_end *end);

// PHX_TIMED_OUT: full. PHX_BROKEN: the peer is gone.
phx_status phx_pipe_put(phx_pipe_end *end, const phx_message *message);
phx_status phx_pipe_wait_space(const phx_pipe_end *end, int64_t deadline_ns);
// PHX_TIMED_OUT: there is nothing.
phx_status phx_pipe_take(phx_pipe_end *end, phx_batch *batch);
bool phx_pipe_has_items(const phx_pipe_end *end);
// PHX_OK: look again. PHX_BROKEN: the peer is gone; look once more. PHX_TIMED_OUT, PHX_INTERRUPTED.
phx_status phx_pipe_wait_items(phx_pipe_end *end, int64_t deadline_ns);

// Prepares a sleep on the descriptor: false if something can be received.
bool phx_pipe_arm(phx_pipe_end *end);
// From now on the descriptor is readable exactly while there is something to receive.
void phx_pipe_watch(phx_pipe_end *end);
// Something foreign is about to be sent.
void phx_pipe_expect_foreign(phx_pipe_end *end);
// Something foreign has been sent: a token in front of it goes behind it.
void phx_pipe_ring_again(phx_pipe_end *end);

#endif
