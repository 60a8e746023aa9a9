// A channel as it lies in the arena. Private to channel.c, repair.c and batch.c.
#ifndef PHX_RECORD_H
#define PHX_RECORD_H

#include "channel.h"

#include "../atomic.h"
#include "../sync/section.h"

#include <stddef.h>
#include <string.h>

#define CACHE_LINE 64
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

static inline channel *shared(const phx_hold *hold) { return hold->address; }

static inline record_word read_word(const record *at) {
    uint64_t word = phx_load64(&at->word);  // pairs: record-published
    record_word parts;
    memcpy(&parts, &word, sizeof parts);
    return parts;
}

static inline link_body read_link(const record *link) {
    link_body body;
    memcpy(&body, link + 1, sizeof body);
    return body;
}

// Bytes that a record stands for, with what it carries out of line.
static inline uint64_t weight_of(const record *at, record_word word) {
    uint64_t weight = 0;
    if (word.spilled || at->buffer_count > 0) {
        memcpy(&weight, (const char *)(at + 1) + at->handle_count * sizeof(phx_handle), sizeof weight);
    }
    return word.bytes + weight;
}

static inline bool has_weight(const phx_message *message) { return message->spilled || message->buffer_count > 0; }

#endif
