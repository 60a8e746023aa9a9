// Rows and outboxes: which task of a batch is in whose hands. README.md beside this file has the protocol.
#ifndef PHX_ROW_H
#define PHX_ROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PHX_ROW_HOLDERS_MAX 32766u
#define PHX_ROW_REBUILDING 1u  // as started_ns, while no task has begun

typedef struct {
    uint64_t owner;       // sequence << 16 | released << 15 | holder
    uint64_t span;        // position << 32 | end
    uint64_t started_ns;  // when the task before `position` began, phx_now_ns
    uint64_t unused[5];
} phx_row;
_Static_assert(sizeof(phx_row) == 64, "a row is one cache line");

typedef struct {
    uint64_t version;    // odd while the three words below change
    uint64_t sequence;   // of the batch that the results belong to
    uint64_t first;      // position of the first result
    uint64_t published;  // count << 32 | bytes
    uint8_t bytes[];     // the results, one behind the other
} phx_outbox;

typedef struct {
    uint64_t sequence;
    uint32_t holder;  // 0: nobody has claimed it
    bool released;
    uint32_t position, end;
    uint64_t started_ns;
} phx_row_view;

typedef struct {
    uint64_t sequence;
    uint32_t first, count, bytes;
} phx_outbox_view;

// -- the parent ------------------------------------------------------------------------------------------------------

void phx_row_post(phx_row *row, uint64_t sequence, uint32_t count);
phx_row_view phx_row_look(const phx_row *row);
// Takes the tasks from `keep` on away from the batch, as far as they have not begun. Where the batch ends now.
uint32_t phx_row_cut(phx_row *row, uint64_t sequence, uint32_t keep);
void phx_row_free(phx_row *row);
// What the outbox holds, and its bytes in `copy` (`capacity` of them). False when its worker changed it meanwhile.
bool phx_outbox_peek(const phx_outbox *outbox, phx_outbox_view *view, uint8_t *copy, size_t capacity);

// -- the worker ------------------------------------------------------------------------------------------------------

bool phx_row_claim(phx_row *row, uint64_t sequence, uint32_t holder);
// From here to the first task, code of the user's runs: function and items are rebuilt.
void phx_row_rebuild(phx_row *row);
// Begins the next task: its position, or UINT32_MAX when the batch is exhausted.
uint32_t phx_row_next(phx_row *row, uint64_t now_ns);
bool phx_row_is_exhausted(const phx_row *row);
void phx_row_release(phx_row *row);

void phx_outbox_begin(phx_outbox *outbox, uint64_t sequence, uint32_t first);
// The bytes behind what is published already were written: `bytes` more, one result more.
void phx_outbox_publish(phx_outbox *outbox, uint32_t bytes);

static inline uint32_t phx_published_bytes(uint64_t published) { return (uint32_t)published; }
static inline uint32_t phx_published_count(uint64_t published) { return (uint32_t)(published >> 32); }

#endif
