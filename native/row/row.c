#include "row.h"

#include "../atomic.h"
#include "../kill_point.h"

#include <string.h>

#define HOLDER_MASK 0x7fffu
#define RELEASED 0x8000u
#define SEQUENCE_SHIFT 16

static uint64_t make_span(uint32_t position, uint32_t end) { return (uint64_t)position << 32 | end; }
static uint32_t span_position(uint64_t span) { return (uint32_t)(span >> 32); }
static uint32_t span_end(uint64_t span) { return (uint32_t)span; }

void phx_row_post(phx_row *row, uint64_t sequence, uint32_t count) {
    phx_store_relaxed64(&row->span, make_span(0, count));
    phx_store_relaxed64(&row->started_ns, 0);
    phx_store64(&row->owner, sequence << SEQUENCE_SHIFT);  // pairs: row-posted
}

bool phx_row_claim(phx_row *row, uint64_t sequence, uint32_t holder) {
    phx_kill_point("row.taken");
    uint64_t expected = sequence << SEQUENCE_SHIFT;
    bool claimed = phx_swap_if64(&row->owner, &expected, expected | holder);  // pairs: row-posted
    phx_kill_point("row.claimed");
    return claimed;
}

void phx_row_rebuild(phx_row *row) {
    phx_store64(&row->started_ns, PHX_ROW_REBUILDING);
    phx_kill_point("row.rebuilding");
}

uint32_t phx_row_next(phx_row *row, uint64_t now_ns) {
    // Before the claim: who sees the position must not see the time of the task before it.
    phx_store_relaxed64(&row->started_ns, now_ns);
    uint64_t span = phx_load64(&row->span);
    do {
        if (span_position(span) >= span_end(span)) {
            return UINT32_MAX;
        }
    } while (!phx_swap_if64(&row->span, &span, span + ((uint64_t)1 << 32)));
    phx_kill_point("row.item");
    return span_position(span);
}

bool phx_row_is_exhausted(const phx_row *row) {
    uint64_t span = phx_load64(&row->span);
    return span_position(span) >= span_end(span);
}

void phx_row_release(phx_row *row) {
    phx_store64(&row->owner, phx_load_relaxed64(&row->owner) | RELEASED);  // pairs: row-released
    phx_kill_point("row.released");
}

uint32_t phx_row_cut(phx_row *row, uint64_t sequence, uint32_t keep) {
    uint64_t span = phx_load64(&row->span);
    while (phx_load64(&row->owner) >> SEQUENCE_SHIFT == sequence) {
        uint32_t position = span_position(span);
        uint32_t end = position > keep ? position : keep;
        if (end >= span_end(span)) {
            break;
        }
        if (phx_swap_if64(&row->span, &span, make_span(position, end))) {
            return end;
        }
    }
    return span_end(span);
}

phx_row_view phx_row_look(const phx_row *row) {
    uint64_t owner = phx_load64(&row->owner);  // pairs: row-released
    uint64_t span = phx_load64(&row->span);
    return (phx_row_view){
        .sequence = owner >> SEQUENCE_SHIFT,
        .holder = (uint32_t)(owner & HOLDER_MASK),
        .released = (owner & RELEASED) != 0,
        .position = span_position(span),
        .end = span_end(span),
        .started_ns = phx_load_relaxed64(&row->started_ns),
    };
}

void phx_row_free(phx_row *row) { phx_store64(&row->owner, 0); }

void phx_outbox_begin(phx_outbox *outbox, uint64_t sequence, uint32_t first) {
    uint64_t version = phx_load_relaxed64(&outbox->version) | 1;  // odd already when a dead worker left it so
    phx_store_relaxed64(&outbox->version, version);
    phx_fence();  // pairs: outbox-version
    phx_store_relaxed64(&outbox->sequence, sequence);
    phx_store_relaxed64(&outbox->first, first);
    phx_store_relaxed64(&outbox->published, 0);
    phx_store64(&outbox->version, version + 1);
}

void phx_outbox_publish(phx_outbox *outbox, uint32_t bytes) {
    uint64_t more = (uint64_t)1 << 32 | bytes;
    phx_store64(&outbox->published, phx_load_relaxed64(&outbox->published) + more);  // pairs: outbox-published
    phx_kill_point("row.appended");
}

bool phx_outbox_peek(const phx_outbox *outbox, phx_outbox_view *view, uint8_t *copy, size_t capacity) {
    uint64_t version = phx_load64(&outbox->version);
    uint64_t published = phx_load64(&outbox->published);  // pairs: outbox-published
    view->sequence = phx_load_relaxed64(&outbox->sequence);
    view->first = (uint32_t)phx_load_relaxed64(&outbox->first);
    view->count = phx_published_count(published);
    view->bytes = phx_published_bytes(published);
    if ((version & 1) != 0 || view->bytes > capacity) {
        return false;
    }
    memcpy(copy, outbox->bytes, view->bytes);
    phx_fence();  // pairs: outbox-version
    return phx_load_relaxed64(&outbox->version) == version;
}
