// The control part, as it lies in the file. Private to memory/. Offsets and indices only, never pointers.
#ifndef PHX_LAYOUT_H
#define PHX_LAYOUT_H

#include "../atomic.h"
#include "../sync/section.h"
#include "arena.h"

#define PHX_MAGIC 0x786e616c61687000u
#include "layout_stamp.h"

#define SLOT_BITS 12
#define SLOT_COUNT (1u << SLOT_BITS)
#define SLOT_INDEX(word) ((word) & (SLOT_COUNT - 1))
#define GENERATION_LIMIT (1u << (31 - SLOT_BITS))
#define BLOCK_COUNT (1u << 19)
#define LEASE_COUNT (1u << 19)
#define NONE 0u  // index 0 of every table is never used

#define UNIT_SHIFT 22
#define UNIT_BYTES ((uint64_t)1 << UNIT_SHIFT)
#define CONTROL_BYTES ((uint64_t)64 << 20)
#define FILE_BYTES ((uint64_t)1 << 44)  // address space of the file; sparse
#define SMALLEST_CLASS 6                // 64 bytes: a cache line
#define SMALL_CLASS 16                  // up to 64 KiB: in small units, carved from runs
#define RUN_BYTES ((uint64_t)1 << SMALL_CLASS)
#define LARGEST_CLASS 40
#define CLASS_COUNT (LARGEST_CLASS + 1)

enum slot_state { SLOT_FREE, SLOT_RESERVED, SLOT_LIVE };

typedef struct {
    uint32_t word;    // index and generation
    uint32_t state;   // enum slot_state
    int32_t pid;      // 0 while nobody knows it
    uint32_t parent;  // slot word of who reserved it
    uint64_t start_time;
    uint32_t bell;  // rung for the process when a channel that it watches has changed (../channel/BELL.md)
    uint8_t reserved[36];
} slot_row;

typedef struct {
    uint64_t offset;           // in the file; 0: never carved
    uint64_t bytes;            // asked for at present
    uint64_t committed_bytes;  // of a large block: how far from its beginning pages are real
    uint32_t serial;
    uint32_t references;      // cache: leases that name it
    uint32_t owner;           // of a child block: the block it belongs to
    uint32_t next, previous;  // cache: free list by class, or the owner's list of children
    uint32_t first_child;     // cache
    uint32_t sent_count;      // cache: leases sent to this channel
    uint8_t size_class;
    uint8_t is_dirty;  // its bytes may be other than zero
    uint8_t is_free;   // cache: it is on a free list
    uint8_t unused;
    uint8_t reserved[8];
} block_row;

enum lease_state { LEASE_FREE, LEASE_HELD, LEASE_PENDING, LEASE_SENT };

typedef struct {
    uint32_t state;  // enum lease_state: written last when a lease begins, first when it ends
    uint32_t block;
    uint32_t serial;    // of the block
    uint32_t holder;    // slot word; NONE when sent
    uint32_t channel;   // block of the channel that it goes through, or NONE
    uint32_t sequence;  // low bits of the record's number in that channel
    uint32_t next;      // cache: free list
    uint32_t reserved;
} lease_row;

typedef struct {
    uint64_t magic, layout, id, file_bytes;
    phx_section lock;
    uint32_t slot_hint;
    uint32_t blocks_carved, leases_carved;  // indices below have been used
    uint32_t free_lease;                    // cache
    uint32_t free_block[CLASS_COUNT];       // cache
    uint32_t live_blocks, live_leases;      // cache
    // Where the next piece is carved from a run, from the small unit, from the unit of blocks between a run and a unit.
    // Pieces divide what they are carved from, which is aligned to its size: at a multiple of it, it is used up. One word
    // each, so that a death in between leaves nothing half-moved.
    uint64_t run_next[SMALL_CLASS + 1], small_next, part_next[UNIT_SHIFT];
    uint64_t data_end;                     // the file behind it is untouched
    uint64_t committed_bytes, warm_bytes;  // cache: real pages; real pages of free large blocks
    uint64_t approved_bytes;               // committed_bytes may grow to here before memory is asked about again
    uint64_t limit_bytes, warm_limit_bytes;
} arena_header;

typedef struct {
    arena_header header;
    uint8_t padding[8192 - sizeof(arena_header)];
    slot_row slots[SLOT_COUNT];
    block_row blocks[BLOCK_COUNT];
    lease_row leases[LEASE_COUNT];
} control_part;

_Static_assert(sizeof(slot_row) == 64 && sizeof(block_row) == 64 && sizeof(lease_row) == 32, "rows have no gaps");
_Static_assert(sizeof(arena_header) < 8192 && sizeof(control_part) <= CONTROL_BYTES, "the control part is 64 MiB");

#define LAYOUT_STAMP (((uint64_t)PHX_LAYOUT_VERSION << 32) | (sizeof(control_part) & 0xffffffffu))

// -- this process (process-private) ----------------------------------------------------------------------------------

extern control_part *phx_control;  // NULL: no arena yet

// The private tables' mutex, then the arena's lock, repaired if its owner died.
void phx_arena_enter(void);
void phx_arena_enter_after(phx_slot_word dead);  // at once if it is `dead`, known to have ended, that holds the lock
void phx_arena_leave(void);
void phx_arena_repair(void);  // inside the lock
// The private tables alone. Recursive: who is inside the arena may ask for an address.
void phx_private_lock(void);
void phx_private_unlock(void);
void phx_private_reset(void);  // in a forked child: no other thread is left

// -- slots.c ---------------------------------------------------------------------------------------------------------

phx_status phx_slot_become(phx_slot_word slot);  // this process is that reserved slot's from here on
uint32_t phx_slots_count(void);

// -- blocks.c, inside the lock ---------------------------------------------------------------------------------------

phx_status phx_block_take(uint64_t bytes, uint32_t *block);  // off a free list or carved; no lease yet
void phx_block_destroy(uint32_t block);                      // its last lease is gone: children, sent leases, itself
void phx_block_add_child(uint32_t owner, uint32_t child);
void phx_block_give_back(uint32_t block);           // onto its free list
phx_status phx_block_approve(uint64_t more_bytes);  // may that much more be committed?

// -- leases.c, inside the lock ---------------------------------------------------------------------------------------

phx_status phx_lease_begin(uint32_t block, enum lease_state state, phx_slot_word holder, uint32_t *lease);
void phx_lease_end(uint32_t lease);
void phx_leases_end_of_slot(phx_slot_word slot);
void phx_leases_end_of_channel(uint32_t channel);
void phx_leases_move(phx_slot_word from, phx_slot_word to);
// This process holds the block by a new lease; on failure the block has none.
phx_status phx_hold_begin(uint32_t block, phx_hold *hold);
// The child's leases, one for each of this process's; the private table that the child will use.
phx_status phx_leases_copy_for(phx_slot_word child);
void phx_leases_adopt_copy(void);
void phx_leases_renew(phx_slot_word before);  // after an unseen fork: own leases for what is still there

// -- units.c ---------------------------------------------------------------------------------------------------------

// Inside the private mutex. The address of a block; NULL with errno. A large block is kept mapped until unpinned.
void *phx_unit_pin(uint64_t offset, uint64_t extent_bytes);
void phx_unit_unpin(uint64_t offset, uint64_t extent_bytes);
uint64_t phx_units_mapped_bytes(void);

static inline uint64_t class_bytes(uint32_t size_class) { return (uint64_t)1 << size_class; }

#endif
