// The channel's two locks. Who needs both takes the consumers' first.
#ifndef PHX_REPAIR_H
#define PHX_REPAIR_H

#include "record.h"

// PHX_OK with the lock, and what it guards whole. PHX_INTERRUPTED and PHX_NO_MEMORY without it.
phx_status phx_channel_lock_producers(channel *self, phx_patience patience);
phx_status phx_channel_lock_consumers(const phx_hold *hold, channel *self, phx_patience patience);
// Counts are exact again after a death that nobody has come across yet. Whether there was one. No lock is held.
bool phx_channel_settle(const phx_hold *hold, channel *self);
// With the producers' lock: the tail goes to the beginning of the next segment.
void phx_channel_move_tail(channel *self, phx_child next);
// With the consumers' lock: frees the segment noted as retiring.
void phx_channel_retire(const phx_hold *hold, channel *self);

#endif
