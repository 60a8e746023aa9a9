// Waiting for a channel by a file descriptor: BELL.md has the protocol.
#ifndef PHX_BELL_H
#define PHX_BELL_H

#include "channel.h"

// One process's eventfd for one channel; zeroed but for `channel`, none yet. It must stay where it is from begin to end.
typedef struct phx_watch {
    struct phx_watch *next;
    const phx_hold *channel;  // the caller's; it outlives the watch
    uint64_t *entry;
    int fd;
    bool is_readable;
    phx_slot_word owner;  // a forked child's copy is not the child's
} phx_watch;

// PHX_OK with a descriptor that is readable exactly while the channel has items, also when there was one already.
// PHX_NO_MEMORY; PHX_SYSTEM: no descriptor or no thread is to be had.
phx_status phx_watch_begin(phx_watch *watch);
// Sets the level now, if there is a descriptor. Whether there is something to take.
bool phx_watch_refresh(phx_watch *watch);
void phx_watch_end(phx_watch *watch);

// -- for the channel -------------------------------------------------------------------------------------------------

// Tells those watchers in the tables from `first` on that wait for it: the channel has items now, or none any more. After a full
// barrier behind the change.
void phx_watchers_tell(uint64_t first, bool has_items);

#endif
