#include "channel.h"

#include "bell.h"

#include "../atomic.h"
#include "../kill_point.h"
#include "../sync/section.h"
#include "../sync/wait.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define CACHE_LINE 64
#define FIRST_SEGMENT_BYTES 1024u  // a queue that is hardly used stays small
#define SEGMENT_BYTES 65536u

// In shared memory. Producers' and consumers' fields are on lines of their own.
typedef struct {
    // A channel begins with the count of published records: the leases rely on it.
    uint64_t published;
    uint64_t published_bytes;
    uint64_t tail;
    uint64_t tail_segment;  // offset of the segment that the tail is in
    phx_section producers;
    uint32_t space_bell;
    uint8_t padding_producers[CACHE_LINE - 40];

    uint64_t taken;
    uint64_t taken_bytes;
    uint64_t head;
    phx_section consumers;
    uint32_t items_bell;
    phx_child retiring;  // a segment that the head has left, until it is freed
    uint64_t retiring_end;
    uint32_t recount;  // a producer died: published_bytes may be wrong
    uint8_t padding_consumers[CACHE_LINE - 60];

    uint64_t maxsize, max_bytes;  // 0: no bound
    uint64_t finished;            // calls of phx_channel_finish
    uint64_t watchers;            // of bell.c: 0 while nobody has asked for a descriptor
    uint32_t done_bell;
    uint8_t padding_rest[CACHE_LINE - 36];
} channel;
_Static_assert(sizeof(channel) == 3 * CACHE_LINE, "one line for each side");

typedef struct {
    phx_child self;
    uint64_t end;  // offset behind it
    uint64_t reserved;
} segment;

// The first word is the commit: zero until the record is published. A size is never zero: the header counts.
typedef struct {
    uint32_t bytes;  // the whole record, header included, rounded up to 8
    uint8_t kind;
    uint8_t spilled;
    uint16_t payload_slack;  // rounding: the payload ends so many bytes before the record does
} record_word;

typedef struct {
    uint64_t word;
    uint32_t sequence;
    uint16_t handle_count, buffer_count;
} record;

_Static_assert(sizeof(record) == 16 && sizeof(record_word) == 8, "a record's header is two words");

// What a link says: where to go on, and which segment ends here.
typedef struct {
    phx_child next, here;
    uint64_t here_end;
} link_body;

#define LINK_BYTES (sizeof(record) + sizeof(link_body))
#define RECORD_LIMIT (SEGMENT_BYTES - sizeof(segment) - LINK_BYTES - sizeof(uint64_t))

static channel *shared(const phx_hold *hold) { return hold->address; }

static record_word read_word(const record *at) {
    uint64_t word = phx_load64(&at->word);  // pairs: record-published
    record_word parts;
    memcpy(&parts, &word, sizeof parts);
    return parts;
}

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

// -- repair ----------------------------------------------------------------------------------------------------------

static link_body read_link(const record *link) {
    link_body body;
    memcpy(&body, link + 1, sizeof body);
    return body;
}

// Bytes that a record stands for, with what it carries out of line.
static uint64_t weight_of(const record *at, record_word word) {
    uint64_t weight = 0;
    if (word.spilled || at->buffer_count > 0) {
        memcpy(&weight, (const char *)(at + 1) + at->handle_count * sizeof(phx_handle), sizeof weight);
    }
    return word.bytes + weight;
}

// The tail itself last: a consumer frees a segment once the tail is out of it.
static void move_tail_to(channel *self, phx_child next) {
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
            move_tail_to(self, read_link(at).next);
            continue;
        }
        if (at->sequence == (uint32_t)phx_load64(&self->published)) {
            phx_store64(&self->published, phx_load64(&self->published) + 1);
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

static phx_status lock_producers(channel *self, phx_patience patience) {
    phx_status status = lock_section(&self->producers, patience);
    if (status == PHX_OWNER_DIED && (status = repair_tail(self)) != PHX_OK) {
        phx_section_abandon(&self->producers);
    }
    return status;
}

// The segment that the head has left is freed, unless the tail is still in it: then whoever linked the next one has died
// there, or is just moving on.
static void retire(const phx_hold *hold, channel *self) {
    phx_child retiring = self->retiring;
    uint64_t tail = phx_load64(&self->tail);
    if (tail >= retiring.offset && tail < self->retiring_end) {
        if (lock_producers(self, PHX_PATIENT) != PHX_OK) {
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
        retire(hold, self);
    }
    self->retiring = (phx_child){0};
    phx_status status = lock_producers(self, PHX_PATIENT);
    if (status == PHX_OK) {
        status = count_waiting(self);
        phx_section_unlock(&self->producers);
    }
    return status;
}

static phx_status lock_consumers(const phx_hold *hold, channel *self, phx_patience patience) {
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
static bool settle(const phx_hold *hold, channel *self) {
    if (phx_section_is_orphaned(&self->producers) && lock_producers(self, PHX_PATIENT) == PHX_OK) {
        phx_section_unlock(&self->producers);
    }
    bool was_wrong = phx_load32(&self->recount) != 0 || phx_section_is_orphaned(&self->consumers);
    if (was_wrong && lock_consumers(hold, self, PHX_PATIENT) == PHX_OK) {
        phx_section_unlock(&self->consumers);
    }
    return was_wrong;
}

// -- put -------------------------------------------------------------------------------------------------------------

static uint32_t rounded(size_t bytes) { return (uint32_t)((bytes + 7) & ~(size_t)7); }

static bool has_weight(const phx_message *message) { return message->spilled || message->buffer_count > 0; }

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
    move_tail_to(self, next->self);
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
    phx_status status = lock_producers(self, patience);
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
    } else if (status == PHX_TIMED_OUT && settle(hold, self) && has_space(self)) {
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

void phx_batch_begin(phx_batch *batch, void *storage, size_t bytes) {
    *batch = (phx_batch){.bytes = storage, .capacity = bytes};
}

void phx_batch_end(phx_batch *batch) {
    if (batch->on_heap) {
        free(batch->bytes);
    }
}

static bool make_room_in(phx_batch *batch, size_t more) {
    if (batch->used + more <= batch->capacity) {
        return true;
    }
    size_t capacity = (batch->used + more) * 2;
    uint8_t *larger = realloc(batch->on_heap ? batch->bytes : NULL, capacity);
    if (larger == NULL) {
        return false;
    }
    if (!batch->on_heap) {
        memcpy(larger, batch->bytes, batch->used);
    }
    batch->bytes = larger;
    batch->capacity = capacity;
    batch->on_heap = true;
    return true;
}

bool phx_batch_next(const phx_batch *batch, size_t *position, phx_message *message) {
    if (*position >= batch->used) {
        return false;
    }
    const record *at = (const record *)(batch->bytes + *position);
    record_word word;
    memcpy(&word, &at->word, sizeof word);
    *message = (phx_message){.kind = word.kind,
                             .spilled = word.spilled,
                             .handles = (const phx_handle *)(at + 1),
                             .handle_count = at->handle_count,
                             .buffer_count = at->buffer_count};
    const uint8_t *body = (const uint8_t *)(at + 1) + at->handle_count * sizeof(phx_handle);
    if (has_weight(message)) {
        memcpy(&message->weight, body, sizeof message->weight);
        body += sizeof message->weight;
    }
    message->payload = body;
    message->payload_bytes = (uint32_t)((const uint8_t *)at + word.bytes - word.payload_slack - body);
    *position += word.bytes;
    return true;
}

static void follow_link(const phx_hold *hold, channel *self, const record *link) {
    link_body body = read_link(link);
    self->retiring_end = body.here_end;
    self->retiring = body.here;
    phx_store64(&self->head, body.next.offset + sizeof(segment));
    phx_kill_point("channel.retiring");
    retire(hold, self);
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
        if (!make_room_in(batch, word.bytes)) {
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
    phx_status status = lock_consumers(hold, self, patience);
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
    settle(hold, shared(hold));
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
