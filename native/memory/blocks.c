// The block table: carving, size classes, free lists, destruction. All inside the arena's lock.
#include "layout.h"

#include "../kill_point.h"

#include <errno.h>
#include <string.h>

#define PAGE_BYTES 4096u
// Memory is asked about (files of /proc and of the cgroup are read) once for so much growth.
#define APPROVAL_BYTES ((uint64_t)16 << 20)

static block_row *row_of(uint32_t block) { return &phx_control->blocks[block]; }

static uint32_t class_of(uint64_t bytes) {
    uint32_t size_class = SMALLEST_CLASS;
    while (class_bytes(size_class) < bytes) {
        size_class++;
    }
    return size_class;
}

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

phx_status phx_block_approve(uint64_t more_bytes) {
    arena_header *header = &phx_control->header;
    uint64_t wanted = header->committed_bytes + more_bytes;
    if (wanted > header->limit_bytes) {
        return PHX_NO_MEMORY;
    }
    if (wanted > header->approved_bytes) {
        uint64_t available = phx_memory_available();
        if (more_bytes > available) {
            return PHX_NO_MEMORY;
        }
        header->approved_bytes = wanted + least(APPROVAL_BYTES, (available - more_bytes) / 8);
    }
    return PHX_OK;
}

// What is carved from is aligned to its size, and 0 at the beginning.
static bool is_used_up(uint64_t next, uint64_t whole_bytes) { return (next & (whole_bytes - 1)) == 0; }

static uint64_t grow_file(uint64_t bytes) {
    arena_header *header = &phx_control->header;
    uint64_t offset = header->data_end;
    if (offset + bytes > header->file_bytes) {
        return 0;
    }
    header->data_end = offset + bytes;
    return offset;
}

static uint64_t carve_run(void) {
    arena_header *header = &phx_control->header;
    uint64_t run = is_used_up(header->small_next, UNIT_BYTES) ? grow_file(UNIT_BYTES) : header->small_next;
    if (run != 0) {
        phx_store64(&header->small_next, run + RUN_BYTES);
    }
    return run;
}

static phx_status commit_run(uint64_t offset) {
    phx_status status = phx_block_approve(RUN_BYTES);
    void *address = status == PHX_OK ? phx_unit_pin(offset, RUN_BYTES) : NULL;
    if (address == NULL || phx_memory_commit(address, RUN_BYTES) != 0) {
        return PHX_NO_MEMORY;
    }
    phx_control->header.committed_bytes += RUN_BYTES;
    return PHX_OK;
}

static uint64_t new_run(void) {
    uint64_t run = carve_run();
    return run != 0 && commit_run(run) == PHX_OK ? run : 0;
}

// Where a block of this class begins that was never used before; 0 when there is no room. What a death in between
// leaves is a piece of the file that nobody uses: addresses, and a run at most.
static uint64_t carve(uint32_t size_class) {
    arena_header *header = &phx_control->header;
    if (size_class >= UNIT_SHIFT) {
        return grow_file(class_bytes(size_class));
    }
    bool is_small = size_class <= SMALL_CLASS;
    uint64_t *next = is_small ? &header->run_next[size_class] : &header->part_next[size_class];
    uint64_t offset = *next;
    if (is_used_up(offset, is_small ? RUN_BYTES : UNIT_BYTES)) {
        offset = is_small ? new_run() : grow_file(UNIT_BYTES);
    }
    if (offset != 0) {
        phx_store64(next, offset + class_bytes(size_class));
    }
    return offset;
}

static phx_status take_fresh(uint32_t size_class, uint32_t *block) {
    arena_header *header = &phx_control->header;
    if (header->blocks_carved == BLOCK_COUNT) {
        return PHX_NO_MEMORY;
    }
    uint64_t offset = carve(size_class);
    if (offset == 0) {
        return PHX_NO_MEMORY;
    }
    *block = header->blocks_carved;
    *row_of(*block) = (block_row){.offset = offset, .size_class = (uint8_t)size_class};
    header->blocks_carved = *block + 1;
    return PHX_OK;
}

static bool take_used(uint32_t size_class, uint32_t *block) {
    arena_header *header = &phx_control->header;
    *block = header->free_block[size_class];
    if (*block == NONE) {
        return false;
    }
    block_row *row = row_of(*block);
    header->free_block[size_class] = row->next;
    header->warm_bytes -= row->committed_bytes;
    row->next = NONE;
    row->is_free = false;
    return true;
}

phx_status phx_block_take(uint64_t bytes, uint32_t *block) {
    if (bytes == 0 || bytes > class_bytes(LARGEST_CLASS)) {
        return PHX_NO_MEMORY;
    }
    uint32_t size_class = class_of(bytes);
    if (!take_used(size_class, block)) {
        phx_status status = take_fresh(size_class, block);
        if (status != PHX_OK) {
            return status;
        }
    }
    phx_kill_point("arena.block_taken");
    block_row *row = row_of(*block);
    row->bytes = bytes;
    row->serial++;
    phx_control->header.live_blocks++;
    return PHX_OK;
}

// The pages of a free block go back to the system.
static void discard(block_row *row) {
    arena_header *header = &phx_control->header;
    void *address = phx_unit_pin(row->offset, class_bytes(row->size_class));
    if (address != NULL) {
        phx_memory_discard(address, row->committed_bytes);
        phx_unit_unpin(row->offset, class_bytes(row->size_class));
        header->committed_bytes -= row->committed_bytes;
        header->approved_bytes = least(header->approved_bytes, header->committed_bytes + APPROVAL_BYTES);
        row->committed_bytes = 0;
        row->is_dirty = false;
    }
}

// Free pages stay warm up to a limit of the whole arena; above it they are given back to the system.
static void cool(block_row *row) {
    arena_header *header = &phx_control->header;
    if (row->committed_bytes == 0 || header->warm_bytes + row->committed_bytes <= header->warm_limit_bytes) {
        return;
    }
    discard(row);
}

// All that free blocks keep warm goes back to the system: another block needs the room. Whether there was anything.
static bool cool_all(void) {
    arena_header *header = &phx_control->header;
    phx_arena_enter();
    uint64_t before = header->warm_bytes;
    for (uint32_t block = 1; before > 0 && block < header->blocks_carved; block++) {
        block_row *row = row_of(block);
        uint64_t had = row->committed_bytes;
        if (row->is_free && had > 0) {
            discard(row);
            header->warm_bytes -= had - row->committed_bytes;
        }
    }
    bool found = header->warm_bytes < before;
    phx_arena_leave();
    return found;
}

void phx_block_give_back(uint32_t block) {
    arena_header *header = &phx_control->header;
    block_row *row = row_of(block);
    cool(row);
    header->warm_bytes += row->committed_bytes;
    row->is_free = true;
    row->next = header->free_block[row->size_class];
    header->free_block[row->size_class] = block;
}

void phx_block_add_child(uint32_t owner, uint32_t child) {
    block_row *above = row_of(owner), *row = row_of(child);
    row->previous = NONE;
    row->next = above->first_child;
    if (above->first_child != NONE) {
        row_of(above->first_child)->previous = child;
    }
    above->first_child = child;
}

static void remove_child(uint32_t child) {
    block_row *row = row_of(child);
    if (row->previous != NONE) {
        row_of(row->previous)->next = row->next;
    } else {
        row_of(row->owner)->first_child = row->next;
    }
    if (row->next != NONE) {
        row_of(row->next)->previous = row->previous;
    }
    row->next = row->previous = NONE;
    row->owner = NONE;
}

static void free_child(uint32_t child) {
    remove_child(child);
    phx_control->header.live_blocks--;
    phx_block_give_back(child);
}

// A channel in a channel in a channel: freeing the leases sent to one may end the next, a level of recursion for each.
void phx_block_destroy(uint32_t block) {
    block_row *row = row_of(block);
    while (row->first_child != NONE) {
        free_child(row->first_child);
    }
    if (row->sent_count > 0) {
        phx_leases_end_of_channel(block);
    }
    phx_control->header.live_blocks--;
    phx_block_give_back(block);
}

// -- what others call ------------------------------------------------------------------------------------------------

static uint64_t rounded_to_page(uint64_t bytes) { return (bytes + PAGE_BYTES - 1) & ~(uint64_t)(PAGE_BYTES - 1); }

// The pages are counted before they are made, so that a death in between counts too many, never too few.
static phx_status commit_large(block_row *row, char *address) {
    uint64_t wanted = rounded_to_page(row->bytes), had = row->committed_bytes;
    if (row->size_class <= SMALL_CLASS || wanted <= had) {
        return PHX_OK;
    }
    phx_arena_enter();
    phx_status status = phx_block_approve(wanted - had);
    if (status == PHX_OK) {
        phx_control->header.committed_bytes += wanted - had;
        row->committed_bytes = wanted;
    }
    phx_arena_leave();
    if (status == PHX_OK && phx_memory_commit(address + had, wanted - had) != 0) {
        phx_arena_enter();  // not there after all: the next to use the block must ask again
        phx_control->header.committed_bytes -= wanted - had;
        row->committed_bytes = had;
        phx_arena_leave();
        status = PHX_NO_MEMORY;
    }
    return status;
}

static void zero(block_row *row, char *address) {
    if (row->is_dirty) {
        memset(address, 0, row->bytes);
    }
}

static phx_status new_hold(uint64_t bytes, phx_hold *hold) {
    uint32_t block;
    phx_arena_enter();
    phx_kill_point("arena.locked");
    phx_status status = phx_block_take(bytes, &block);
    if (status == PHX_OK) {
        status = phx_hold_begin(block, hold);
        if (status != PHX_OK) {
            phx_control->header.live_blocks--;
            phx_block_give_back(block);
        }
    }
    phx_kill_point("arena.leased");
    phx_arena_leave();
    return status;
}

static phx_status new_committed(uint64_t bytes, phx_hold *hold) {
    phx_status status = new_hold(bytes, hold);
    if (status != PHX_OK) {
        return status;
    }
    status = commit_large(row_of(hold->block), hold->address);
    if (status != PHX_OK) {
        phx_block_release(hold);
    }
    return status;
}

phx_status phx_block_new(uint64_t bytes, bool zeroed, phx_hold *hold) {
    phx_status status = new_committed(bytes, hold);
    if (status == PHX_NO_MEMORY && (phx_arena_sweep() > 0) + cool_all() > 0) {
        status = new_committed(bytes, hold);
    }
    if (status != PHX_OK) {
        return status;
    }
    block_row *row = row_of(hold->block);
    if (zeroed) {
        zero(row, hold->address);
    }
    row->is_dirty = true;
    return PHX_OK;
}

phx_status phx_child_new(const phx_hold *owner, uint64_t bytes, phx_child *child) {
    phx_arena_enter();
    uint32_t block;
    phx_status status = bytes > RUN_BYTES ? PHX_NO_MEMORY : phx_block_take(bytes, &block);
    if (status == PHX_OK) {
        block_row *row = row_of(block);
        row->is_dirty = true;
        row->owner = owner->block;  // from here on it goes with its owner
        phx_block_add_child(owner->block, block);
        *child = (phx_child){row->offset, block, row->serial};
    }
    phx_kill_point("arena.child_taken");
    phx_arena_leave();
    return status;
}

void phx_child_free(const phx_hold *owner, phx_child child) {
    phx_arena_enter();
    block_row *row = row_of(child.block);
    if (row->serial == child.serial && row->owner == owner->block) {
        free_child(child.block);
    }
    phx_arena_leave();
}
