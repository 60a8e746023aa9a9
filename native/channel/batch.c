// Records that were taken out of a channel, one after another.
#include "record.h"

#include <stdlib.h>

void phx_batch_begin(phx_batch *batch, void *storage, size_t bytes) {
    *batch = (phx_batch){.bytes = storage, .capacity = bytes};
}

void phx_batch_end(phx_batch *batch) {
    if (batch->on_heap) {
        free(batch->bytes);
    }
}

bool phx_batch_make_room(phx_batch *batch, size_t more) {
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
