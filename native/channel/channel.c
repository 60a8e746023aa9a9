#include "channel.h"

#include "bell.h"
#include "repair.h"

#include "../kill_point.h"
#include "../sync/wait.h"

#define FIRST_SEGMENT_BYTES 1024u  // a queue that is hardly used stays small

// -- segments --------------------------------------------------------------------------------------------------------

// Segments are aligned to their size, which is a power of two; the first is smaller than the others.
static phx_status new_segment(const phx_hold *hold, uint32_t bytes, segment **made) {
    phx_child child;
    phx_status status = phx_child_new(hold, bytes, &child);
    if (status != PHX_OK) {
        return status;
    }
    segment *here = phx_address(child.offset);
    if (here == NULL) {
        phx_child_free(hold, child);
        return PHX_NO_MEMORY;
    }
    *here = (segment){.self = child, .end = child.offset + bytes};
    ((record *)(here + 1))->word = 0;
    *made = here;
    return PHX_OK;
}

static uint64_t first_record(const segment *of) { return of->self.offset + sizeof(segment); }

phx_status phx_channel_new(uint64_t maxsize, uint64_t max_bytes, phx_hold *hold) {
    phx_status status = phx_block_new(sizeof(channel), true, hold);
    if (status != PHX_OK) {
        return status;
    }
    segment *first;
    status = new_segment(hold, FIRST_SEGMENT_BYTES, &first);
    if (status != PHX_OK) {
        phx_block_release(hold);
        return status;
    }
    channel *self = shared(hold);
    self->maxsize = maxsize;
    self->max_bytes = max_bytes;
    self->head = self->tail = first_record(first);
    self->tail_segment = first->self.offset;
    return PHX_OK;
}

// -- bells -----------------------------------------------------------------------------------------------------------

static void ring(uint32_t *bell, int count) {
    uint32_t seen = phx_load_relaxed32(bell);
    while (seen & 1) {
        if (phx_swap_if32(bell, &seen, (seen + 2) & ~1u)) {
            phx_unpark(bell, count);
            return;
        }
    }
}

// Says that somebody may sleep; what the bell reads then.
static uint32_t listen(uint32_t *bell) { return phx_or32(bell, 1) | 1; }

// -- put -------------------------------------------------------------------------------------------------------------

static uint32_t rounded(size_t bytes) { return (uint32_t)((bytes + 7) & ~(size_t)7); }

static size_t exact_bytes(const phx_message *message) {
    return sizeof(record) + message->handle_count * sizeof(phx_handle) + (has_weight(message) ? sizeof(uint64_t) : 0) +
           message->payload_bytes;
}

static bool has_room(const channel *self, uint64_t bytes) {
    // A consumer's count may be behind (it died): then there seems to be less room, never more.
    int64_t waiting = (int64_t)(phx_load64(&self->published) - phx_load64(&self->taken));
    if (self->maxsize != 0 && waiting >= (int64_t)self->maxsize) {
        return false;
    }
    // One record has room whatever it weighs, and also when a death has left the bytes miscounted.
    if (self->max_bytes == 0 || waiting <= 0) {
        return true;
    }
    uint64_t waiting_bytes = phx_load64(&self->published_bytes) - phx_load64(&self->taken_bytes);
    return (int64_t)(waiting_bytes + bytes) <= (int64_t)self->max_bytes;
}

static void publish(record *at, uint32_t bytes, phx_kind kind, bool spilled, uint16_t slack) {
    record_word parts = {.bytes = bytes, .kind = kind, .spilled = spilled, .payload_slack = slack};
    uint64_t word;
    memcpy(&word, &parts, sizeof word);
    phx_store64(&at->word, word);  // pairs: record-published
}

static phx_status grow(const phx_hold *hold, channel *self, const segment *here) {
    segment *next;
    phx_status status = new_segment(hold, SEGMENT_BYTES, &next);
    if (status != PHX_OK) {
        return status;
    }
    phx_kill_point("channel.grown");
    link_body body = {.next = next->self, .here = here->self, .here_end = here->end};
    record *link = phx_address(self->tail);
    link->sequence = (uint32_t)phx_load64(&self->published);
    link->handle_count = link->buffer_count = 0;
    memcpy(link + 1, &body, sizeof body);
    publish(link, LINK_BYTES, PHX_KIND_LINK, false, 0);
    phx_kill_point("channel.linked");
    phx_channel_move_tail(self, next->self);
    return PHX_OK;
}

static phx_status make_room(const phx_hold *hold, channel *self, uint32_t bytes) {
    const segment *here = phx_address(self->tail_segment);
    if (here == NULL) {
        return PHX_NO_MEMORY;
    }
    return self->tail + bytes + LINK_BYTES <= here->end ? PHX_OK : grow(hold, self, here);
}

static void write_body(record *at, const phx_message *message) {
    char *to = (char *)(at + 1);
    size_t handle_bytes = message->handle_count * sizeof(phx_handle);
    if (handle_bytes > 0) {
        memcpy(to, message->handles, handle_bytes);
        to += handle_bytes;
    }
    if (has_weight(message)) {
        memcpy(to, &message->weight, sizeof message->weight);
        to += sizeof message->weight;
    }
    memcpy(to, message->payload, message->payload_bytes);
}

static phx_status put_one(const phx_hold *hold, channel *self, const phx_message *message) {
    size_t exact = exact_bytes(message);
    uint32_t bytes = rounded(exact);
    if (exact > RECORD_LIMIT) {
        return PHX_OVERFLOW;
    }
    if (!has_room(self, bytes + message->weight)) {
        return PHX_TIMED_OUT;
    }
    phx_status status = make_room(hold, self, bytes);
    if (status != PHX_OK) {
        return status;
    }
    uint64_t number = phx_load64(&self->published), tail = self->tail;
    record *at = phx_address(tail);
    at->sequence = (uint32_t)number;
    at->handle_count = message->handle_count;
    at->buffer_count = message->buffer_count;
    write_body(at, message);
    ((record *)((char *)at + bytes))->word = 0;
    phx_leases_address(message->handles, message->handle_count, hold->block, number);
    phx_kill_point("channel.written");
    publish(at, bytes, message->kind, message->spilled, (uint16_t)(bytes - exact));
    phx_kill_point("channel.published");
    phx_store64(&self->published_bytes, self->published_bytes + bytes + message->weight);
    phx_store64(&self->published, number + 1);  // a consumer may have done that already
    phx_kill_point("channel.counted");
    phx_store64(&self->tail, tail + bytes);
    return PHX_OK;
}

// Rings came while the one that was woken had not looked yet: who leaves something behind wakes the next.
static void hand_on(uint32_t *bell, bool (*is_ready)(const channel *), const channel *self) {
    if ((phx_load_relaxed32(bell) & 1) != 0 && is_ready(self)) {
        ring(bell, 1);
    }
}

static bool has_items(const channel *self) {
    uint64_t taken = phx_load64(&self->taken);
    return (int64_t)(phx_load64(&self->published) - taken) > 0;
}
static bool has_space(const channel *self) { return has_room(self, sizeof(record)); }

// After the unlocking, which is a full barrier.
static void tell_watchers(const channel *self, bool has) {
    uint64_t first = phx_load64(&self->watchers);
    if (__builtin_expect(first != 0, false)) {
        phx_watchers_tell(first, has);
    }
}

static void note_sent(const phx_message *messages, uint32_t count) {
    phx_kill_point("channel.sent");
    for (uint32_t i = 0; i < count; i++) {
        if (messages[i].handle_count > 0) {
            phx_leases_sent(messages[i].handles, messages[i].handle_count);
        }
    }
}

static phx_status put_locked(const phx_hold *hold, channel *self, const phx_message *messages, uint32_t count,
                             uint32_t *done) {
    phx_status status = PHX_OK;
    phx_kill_point("channel.put_locked");
    while (status == PHX_OK && *done < count) {
        status = put_one(hold, self, &messages[*done]);
        *done += status == PHX_OK;
    }
    return status;
}

phx_status phx_channel_put_by(const phx_hold *hold, const phx_message *messages, uint32_t count, uint32_t *done,
                              phx_patience patience) {
    channel *self = shared(hold);
    *done = 0;
    phx_status status = phx_channel_lock_producers(self, patience);
    if (status != PHX_OK) {
        return status;
    }
    status = put_locked(hold, self, messages, count, done);
    phx_section_unlock(&self->producers);
    if (*done > 0) {
        note_sent(messages, *done);
        ring(&self->items_bell, (int)*done);
        tell_watchers(self, true);
        hand_on(&self->space_bell, has_space, self);
    } else if (status == PHX_TIMED_OUT && phx_channel_settle(hold, self) && has_space(self)) {
        return PHX_INTERRUPTED;  // it had seemed full, because a consumer died before it had counted
    }
    return status;
}

phx_status phx_channel_put(const phx_hold *hold, const phx_message *messages, uint32_t count, uint32_t *done) {
    phx_status status;
    do {
        status = phx_channel_put_by(hold, messages, count, done, PHX_PATIENT);
    } while (status == PHX_INTERRUPTED);
    return status;
}

// -- take ------------------------------------------------------------------------------------------------------------

static void follow_link(const phx_hold *hold, channel *self, const record *link) {
    link_body body = read_link(link);
    self->retiring_end = body.here_end;
    self->retiring = body.here;
    phx_store64(&self->head, body.next.offset + sizeof(segment));
    phx_kill_point("channel.retiring");
    phx_channel_retire(hold, self);
}

// The record at the head, behind all links.
static phx_status find_record(const phx_hold *hold, channel *self, const record **at, record_word *word) {
    for (;;) {
        *at = phx_address(self->head);
        if (*at == NULL) {
            return PHX_NO_MEMORY;
        }
        *word = read_word(*at);
        if (word->kind != PHX_KIND_LINK) {
            return word->bytes == 0 ? PHX_TIMED_OUT : PHX_OK;
        }
        follow_link(hold, self, *at);
    }
}

// What the record carries is this process's from here on. False if it is gone: its sender died before it was safe.
static bool claim(const record *at) {
    const phx_handle *handles = (const phx_handle *)(at + 1);
    uint32_t count = at->handle_count;
    if (count == 0) {
        return true;
    }
    bool is_whole = phx_leases_claim(handles, count) == count;
    phx_kill_point("channel.claimed");
    for (uint32_t i = 0; !is_whole && i < count; i++) {
        phx_lease_drop(handles[i]);
    }
    return is_whole;
}

// Its producer may not have come to count the record, and may be dead: who has taken it may rely on its being counted.
static void count_published(channel *self) {
    uint64_t number = self->taken;
    if (phx_load64(&self->published) == number) {
        phx_swap_if64(&self->published, &number, number + 1);
    }
}

static phx_status take_one(const phx_hold *hold, channel *self, phx_batch *batch) {
    for (;;) {
        const record *at;
        record_word word;
        phx_status status = find_record(hold, self, &at, &word);
        if (status != PHX_OK) {
            return status;
        }
        if (!phx_batch_make_room(batch, word.bytes)) {
            return PHX_NO_MEMORY;
        }
        memcpy(batch->bytes + batch->used, at, word.bytes);
        uint64_t weight = weight_of(at, word);
        bool is_whole = claim(at);
        count_published(self);
        phx_store64(&self->head, self->head + word.bytes);
        phx_kill_point("channel.taken");
        phx_store64(&self->taken_bytes, self->taken_bytes + weight);
        phx_store64(&self->taken, self->taken + 1);
        if (is_whole) {
            batch->used += word.bytes;
            batch->count++;
            return PHX_OK;
        }
        phx_channel_finish(hold);  // nobody else will
    }
}

phx_status phx_channel_take_by(const phx_hold *hold, uint32_t limit, phx_batch *batch, phx_patience patience) {
    channel *self = shared(hold);
    uint32_t before = batch->count;
    phx_status status = phx_channel_lock_consumers(hold, self, patience);
    if (status != PHX_OK) {
        return status;
    }
    phx_kill_point("channel.take_locked");
    while (status == PHX_OK && batch->count - before < limit) {
        status = take_one(hold, self, batch);
    }
    phx_section_unlock(&self->consumers);
    uint32_t taken = batch->count - before;
    ring(&self->space_bell, taken == 0 ? 1 : (int)taken);  // one that was gone has left room too
    if (!has_items(self)) {
        tell_watchers(self, false);
    }
    if (taken > 0) {
        hand_on(&self->items_bell, has_items, self);
        return PHX_OK;  // what stopped it will stop the next call too
    }
    return status;
}

phx_status phx_channel_take(const phx_hold *hold, uint32_t limit, phx_batch *batch) {
    return phx_channel_take_by(hold, limit, batch, PHX_PATIENT);
}

// -- waiting ---------------------------------------------------------------------------------------------------------

bool phx_channel_is_full(const phx_hold *hold) { return !has_space(shared(hold)); }

static bool spin_until(bool (*is_ready)(const channel *), const channel *self, int64_t limit_ns) {
    if (is_ready(self)) {
        return true;
    }
    phx_spinner spinner = phx_spin_start(limit_ns);
    bool ready = false;
    while (!ready && phx_spin_turn(&spinner)) {
        ready = is_ready(self);
    }
    phx_spin_end(ready);
    return ready;
}

bool phx_channel_spin_items(const phx_hold *hold, int64_t limit_ns) {
    return spin_until(has_items, shared(hold), limit_ns);
}

bool phx_channel_spin_space(const phx_hold *hold, int64_t limit_ns) {
    return spin_until(has_space, shared(hold), limit_ns);
}

static phx_status wait_on(uint32_t *bell, bool (*is_ready)(const channel *), const channel *self, int64_t deadline_ns) {
    uint32_t heard = listen(bell);
    if (is_ready(self)) {
        return PHX_OK;
    }
    phx_status status = phx_park_slice(bell, heard, deadline_ns);
    listen(bell);  // who was woken took the bit from those that sleep on
    return status;
}

phx_status phx_channel_wait_items(const phx_hold *hold, int64_t deadline_ns) {
    channel *self = shared(hold);
    return wait_on(&self->items_bell, has_items, self, deadline_ns);
}

phx_status phx_channel_wait_space(const phx_hold *hold, int64_t deadline_ns) {
    channel *self = shared(hold);
    return wait_on(&self->space_bell, has_space, self, deadline_ns);
}

// -- counts ----------------------------------------------------------------------------------------------------------

uint64_t phx_channel_size(const phx_hold *hold) {
    const channel *self = shared(hold);
    uint64_t taken = phx_load64(&self->taken);
    int64_t waiting = (int64_t)(phx_load64(&self->published) - taken);
    return waiting > 0 ? (uint64_t)waiting : 0;
}

uint64_t phx_channel_exact_size(const phx_hold *hold) {
    phx_channel_settle(hold, shared(hold));
    return phx_channel_size(hold);
}

uint64_t *phx_channel_watchers(const phx_hold *hold) { return &shared(hold)->watchers; }

uint64_t phx_channel_maxsize(const phx_hold *hold) { return shared(hold)->maxsize; }

phx_status phx_channel_finish(const phx_hold *hold) {
    channel *self = shared(hold);
    uint64_t finished = phx_load64(&self->finished), published;
    do {
        published = phx_load64(&self->published);
        if (finished >= published) {
            return PHX_OVERFLOW;
        }
    } while (!phx_swap_if64(&self->finished, &finished, finished + 1));
    if (finished + 1 == published) {
        ring(&self->done_bell, INT32_MAX);
    }
    return PHX_OK;
}

static bool is_finished(const channel *self) { return phx_load64(&self->finished) == phx_load64(&self->published); }

bool phx_channel_is_finished(const phx_hold *hold) { return is_finished(shared(hold)); }

phx_status phx_channel_wait_finished(const phx_hold *hold, int64_t deadline_ns) {
    channel *self = shared(hold);
    return wait_on(&self->done_bell, is_finished, self, deadline_ns);
}
