// Which units of the file this process has mapped. A two-level table, read without a lock, written inside the mutex.
#include "layout.h"

#include <errno.h>
#include <stdlib.h>

#define LEAF_BITS 10
#define LEAF_COUNT (1u << LEAF_BITS)
#define ROOT_COUNT ((uint32_t)(FILE_BYTES >> (UNIT_SHIFT + LEAF_BITS)))

// How much of large blocks stays mapped although nobody here holds them: page tables that are warm spare page faults.
#define MAPPED_LIMIT_BYTES ((uint64_t)1 << 30)

typedef struct {
    char *address;          // NULL: not mapped
    uint64_t extent_bytes;  // mapped from here on: one unit, or a large block's
    uint32_t pins;
} unit_row;

static unit_row *root[ROOT_COUNT];
static uint64_t mapped_bytes;

static unit_row *find(uint64_t offset) {
    uint64_t unit = offset >> UNIT_SHIFT;
    unit_row *leaf = __atomic_load_n(&root[unit >> LEAF_BITS], __ATOMIC_ACQUIRE);
    return leaf == NULL ? NULL : &leaf[unit & (LEAF_COUNT - 1)];
}

static unit_row *find_or_make(uint64_t offset) {
    unit_row *row = find(offset);
    if (row == NULL) {
        unit_row *leaf = calloc(LEAF_COUNT, sizeof *leaf);
        if (leaf == NULL) {
            return NULL;
        }
        __atomic_store_n(&root[offset >> (UNIT_SHIFT + LEAF_BITS)], leaf, __ATOMIC_RELEASE);
        row = find(offset);
    }
    return row;
}

static char *map(uint64_t offset, uint64_t bytes) {
    int fd = phx_arena_fd();
    void *address = fd >= 0 ? phx_memory_map(fd, offset, bytes) : phx_memory_map_beside(phx_control, offset, bytes);
    if (address != NULL) {
        mapped_bytes += bytes;
    }
    return address;
}

static uint64_t extent_of(uint64_t bytes) { return bytes > UNIT_BYTES ? bytes : UNIT_BYTES; }

static char *ensure(uint64_t offset, uint64_t bytes) {
    uint64_t start = offset & ~(UNIT_BYTES - 1);
    unit_row *row = find_or_make(start);
    if (row == NULL) {
        return NULL;
    }
    if (row->address == NULL) {
        char *address = map(start, extent_of(bytes));
        if (address == NULL) {
            return NULL;
        }
        row->extent_bytes = extent_of(bytes);
        __atomic_store_n(&row->address, address, __ATOMIC_RELEASE);
    }
    return row->address + (offset - start);
}

void *phx_unit_pin(uint64_t offset, uint64_t extent_bytes) {
    char *address = ensure(offset, extent_bytes);
    if (address != NULL) {
        find(offset)->pins++;
    }
    return address;
}

void phx_unit_unpin(uint64_t offset, uint64_t extent_bytes) {
    unit_row *row = find(offset);
    row->pins--;
    // Small units stay: their blocks are found by phx_address, which counts nothing.
    if (row->pins == 0 && extent_bytes > RUN_BYTES && mapped_bytes > MAPPED_LIMIT_BYTES) {
        phx_memory_unmap(row->address, row->extent_bytes);
        mapped_bytes -= row->extent_bytes;
        row->address = NULL;
    }
}

uint64_t phx_units_mapped_bytes(void) { return mapped_bytes; }

static void *address_slow(uint64_t offset);

void *phx_address(uint64_t offset) {
    unit_row *row = find(offset);
    char *address = row == NULL ? NULL : __atomic_load_n(&row->address, __ATOMIC_ACQUIRE);
    return address != NULL ? address + (offset & (UNIT_BYTES - 1)) : address_slow(offset);
}

static void *address_slow(uint64_t offset) {
    phx_private_lock();
    void *address = ensure(offset, RUN_BYTES);
    phx_private_unlock();
    return address;
}
