// The channel's two locks, and what is repaired when an owner has died inside. README.md has the steps.
#include "repair.h"

#include "../kill_point.h"

// The tail itself last: a consumer frees a segment once the tail is out of it.
void phx_channel_move_tail(channel *self, phx_child next) {
    phx_store64(&self->tail_segment, next.offset);
    phx_kill_point("channel.moving");
    phx_store64(&self->tail, next.offset + sizeof(segment));
}

// A producer died: walk over what it had published, count it. What it had not published goes back before anybody else's
// record gets that number, or its leases would be taken for sent.
static phx_status repair_tail(channel *self) {
    for (;;) {
        const record *at = phx_address(self->tail);
        if (at == NULL) {
            return PHX_NO_MEMORY;
        }
        record_word word = read_word(at);
        if (word.bytes == 0) {
            break;
        }
        if (word.kind == PHX_KIND_LINK) {
            phx_channel_move_tail(self, read_link(at).next);
            continue;
        }
        uint64_t number = phx_load64(&self->published);
        if (at->sequence == (uint32_t)number) {
            phx_swap_if64(&self->published, &number, number + 1);  // unless a consumer has just done it
        }
        phx_store64(&self->tail, self->tail + word.bytes);
    }
    phx_store32(&self->recount, 1);
    phx_arena_sweep();
    return PHX_OK;
}

// PHX_OK with the lock. PHX_INTERRUPTED and PHX_NO_MEMORY without it.
static phx_status lock_section(phx_section *section, phx_patience patience) {
    phx_slot_word self = phx_self();
    if (patience == PHX_SPINNING) {
        return phx_section_try(section, self) ? PHX_OK : phx_section_spin(section, self);
    }
    return patience == PHX_SLEEPING ? phx_section_sleep(section, self) : phx_section_lock(section, self);
}

phx_status phx_channel_lock_producers(channel *self, phx_patience patience) {
    phx_status status = lock_section(&self->producers, patience);
    if (status == PHX_OWNER_DIED && (status = repair_tail(self)) != PHX_OK) {
        phx_section_abandon(&self->producers);
    }
    return status;
}

// The segment that the head has left is freed, unless the tail is still in it: then whoever linked the next one has died
// there, or is just moving on.
void phx_channel_retire(const phx_hold *hold, channel *self) {
    phx_child retiring = self->retiring;
    uint64_t tail = phx_load64(&self->tail);
    if (tail >= retiring.offset && tail < self->retiring_end) {
        if (phx_channel_lock_producers(self, PHX_PATIENT) != PHX_OK) {
            return;  // it goes with the channel
        }
        phx_section_unlock(&self->producers);
    }
    phx_child_free(hold, retiring);
    self->retiring = (phx_child){0};
}

// Sets what consumers count from what waits between head and tail. Both locks are held.
static phx_status count_waiting(channel *self) {
    uint64_t count = 0, bytes = 0, offset = self->head;
    for (;;) {
        const record *at = phx_address(offset);
        if (at == NULL) {
            return PHX_NO_MEMORY;
        }
        record_word word = read_word(at);
        if (word.bytes == 0) {
            break;
        }
        bool is_link = word.kind == PHX_KIND_LINK;
        offset = is_link ? read_link(at).next.offset + sizeof(segment) : offset + word.bytes;
        count += !is_link;
        bytes += is_link ? 0 : weight_of(at, word);
    }
    phx_store64(&self->taken_bytes, self->published_bytes - bytes);
    phx_store64(&self->taken, phx_load64(&self->published) - count);
    phx_store32(&self->recount, 0);
    return PHX_OK;
}

// A consumer died: free the segment that it had left. A consumer or a producer died: count anew.
static phx_status repair_head(const phx_hold *hold, channel *self) {
    bool has_left = self->head < self->retiring.offset || self->head >= self->retiring_end;
    if (self->retiring.serial != 0 && has_left) {
        phx_channel_retire(hold, self);
    }
    self->retiring = (phx_child){0};
    phx_status status = phx_channel_lock_producers(self, PHX_PATIENT);
    if (status == PHX_OK) {
        status = count_waiting(self);
        phx_section_unlock(&self->producers);
    }
    return status;
}

phx_status phx_channel_lock_consumers(const phx_hold *hold, channel *self, phx_patience patience) {
    phx_status status = lock_section(&self->consumers, patience);
    if (status == PHX_OWNER_DIED || (status == PHX_OK && phx_load_relaxed32(&self->recount) != 0)) {
        status = repair_head(hold, self);
        if (status != PHX_OK) {
            phx_section_abandon(&self->consumers);
        }
    }
    return status;
}

// Counts are exact again after a death that nobody has come across yet. Whether there was one.
bool phx_channel_settle(const phx_hold *hold, channel *self) {
    if (phx_section_is_orphaned(&self->producers) && phx_channel_lock_producers(self, PHX_PATIENT) == PHX_OK) {
        phx_section_unlock(&self->producers);
    }
    bool was_wrong = phx_load32(&self->recount) != 0 || phx_section_is_orphaned(&self->consumers);
    if (was_wrong && phx_channel_lock_consumers(hold, self, PHX_PATIENT) == PHX_OK) {
        phx_section_unlock(&self->consumers);
    }
    return was_wrong;
}
