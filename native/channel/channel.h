// The channel: README.md has the protocol.
#ifndef PHX_CHANNEL_H
#define PHX_CHANNEL_H

#include "../memory/arena.h"

#include <stdbool.h>
#include <stdint.h>

#define PHX_INLINE_BYTES 16384u  // a larger payload is spilled: a page or more costs less to map than to copy twice
#define PHX_HANDLES_MAX 512u     // shared objects and buffers of one message

// What a record's payload is. The channel itself knows only 0 and PHX_KIND_LINK; the others are its users' agreement.
typedef uint8_t phx_kind;
#define PHX_KIND_LINK 1u

// A message to put. Handles: first `spilled` (0 or 1) for the payload, then `buffers`, then those of pickled objects.
typedef struct {
    const void *payload;
    const phx_handle *handles;
    uint32_t payload_bytes;
    uint64_t weight;  // of a message with a spilled payload or buffers: their bytes, for `max_bytes`
    uint16_t handle_count, buffer_count;
    phx_kind kind;
    bool spilled;
} phx_message;

// Records taken out, one after another; starts in the caller's own storage, moves to the heap when it grows.
typedef struct {
    uint8_t *bytes;
    size_t used, capacity;
    uint32_t count;
    bool on_heap;
} phx_batch;

void phx_batch_begin(phx_batch *batch, void *storage, size_t bytes);
void phx_batch_end(phx_batch *batch);
bool phx_batch_make_room(phx_batch *batch, size_t more);  // for so many bytes more; false without memory
// Reads the record at *position and moves on; false at the end.
bool phx_batch_next(const phx_batch *batch, size_t *position, phx_message *message);

phx_status phx_channel_new(uint64_t maxsize, uint64_t max_bytes, phx_hold *channel);

// How to wait for the producers' or consumers' lock while another process is inside: it is there for a microsecond, unless
// it was stopped or has died. PHX_INTERRUPTED then: nothing was done, and the caller may let go of the interpreter, run
// signal handlers, look at the clock, and call again.
typedef enum {
    PHX_PATIENT,   // sleeps as long as it takes
    PHX_SPINNING,  // gives up after a short spin
    PHX_SLEEPING,  // gives up after a slice of sleep, or a signal
} phx_patience;

// Puts as many of `count` messages as there is room for; how many in *done. PHX_OK if all. Never waits for room.
phx_status phx_channel_put(const phx_hold *channel, const phx_message *messages, uint32_t count, uint32_t *done);
phx_status phx_channel_put_by(const phx_hold *channel, const phx_message *messages, uint32_t count, uint32_t *done,
                              phx_patience patience);
// Takes up to `limit` records. PHX_TIMED_OUT when there is none. Never waits for one. A record that lost what it carries with
// its sender is passed over.
phx_status phx_channel_take(const phx_hold *channel, uint32_t limit, phx_batch *batch);
phx_status phx_channel_take_by(const phx_hold *channel, uint32_t limit, phx_batch *batch, phx_patience patience);

// Spin while there is nothing to take (nothing but looking: with the GIL held a short one is right); whether there is now.
bool phx_channel_spin_items(const phx_hold *channel, int64_t limit_ns);
bool phx_channel_spin_space(const phx_hold *channel, int64_t limit_ns);
// Sleep for a slice at most: PHX_OK look again; PHX_TIMED_OUT; PHX_INTERRUPTED run signal handlers, then look again.
phx_status phx_channel_wait_items(const phx_hold *channel, int64_t deadline_ns);
phx_status phx_channel_wait_space(const phx_hold *channel, int64_t deadline_ns);

uint64_t phx_channel_size(const phx_hold *channel);        // without a lock: after a death it may be behind for a while
uint64_t phx_channel_exact_size(const phx_hold *channel);  // looks after the dead first
uint64_t phx_channel_maxsize(const phx_hold *channel);
bool phx_channel_is_full(const phx_hold *channel);

uint64_t *
phx_channel_watchers(const phx_hold *channel);  // where bell.c keeps its first table of watchers: an offset, or 0

phx_status phx_channel_finish(const phx_hold *channel);  // one item is done; PHX_OVERFLOW if all are
bool phx_channel_is_finished(const phx_hold *channel);
phx_status phx_channel_wait_finished(const phx_hold *channel, int64_t deadline_ns);

#endif
