// The arena as a whole: making it, joining it, its lock, the repair after a death inside the lock, forks.
#define _GNU_SOURCE
#include "layout.h"

#include "../kill_point.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

control_part *phx_control;

static int arena_fd = -1;
static bool is_member;  // mapped, and with a slot: what other threads may rely on
static phx_file_identity arena_file;
static pthread_mutex_t private_mutex = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

// -- the lock --------------------------------------------------------------------------------------------------------

void phx_private_lock(void) { pthread_mutex_lock(&private_mutex); }
void phx_private_unlock(void) { pthread_mutex_unlock(&private_mutex); }

void phx_private_reset(void) { private_mutex = (pthread_mutex_t)PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP; }

void phx_arena_enter_after(phx_slot_word dead) {
    phx_slot_word self = phx_self();  // first: after an unseen fork it renews the mutex
    phx_section *lock = &phx_control->header.lock;
    phx_private_lock();
    if ((dead != 0 && phx_section_inherit(lock, dead, self)) || phx_section_lock(lock, self) == PHX_OWNER_DIED) {
        phx_arena_repair();
    }
}

void phx_arena_enter(void) { phx_arena_enter_after(0); }

void phx_arena_leave(void) {
    phx_section_unlock(&phx_control->header.lock);
    phx_private_unlock();
}

// -- repair: the caches from the truth -------------------------------------------------------------------------------

static void forget_caches(arena_header *header) {
    header->free_lease = NONE;
    memset(header->free_block, 0, sizeof header->free_block);
    header->live_blocks = header->live_leases = 0;
    header->committed_bytes = header->warm_bytes = 0;
    for (uint32_t block = 1; block < header->blocks_carved; block++) {
        block_row *row = &phx_control->blocks[block];
        row->references = row->first_child = row->sent_count = row->next = row->previous = NONE;
        row->is_free = false;
    }
}

static bool lease_stands(const lease_row *row) {
    const arena_header *header = &phx_control->header;
    return row->state != LEASE_FREE && row->block < header->blocks_carved &&
           phx_control->blocks[row->block].serial == row->serial &&
           (row->state == LEASE_SENT || !phx_slot_has_ended(row->holder));
}

static void recount_leases(arena_header *header) {
    for (uint32_t lease = 1; lease < header->leases_carved; lease++) {
        lease_row *row = &phx_control->leases[lease];
        if (!lease_stands(row)) {
            row->state = LEASE_FREE;
            row->next = header->free_lease;
            header->free_lease = lease;
            continue;
        }
        header->live_leases++;
        phx_control->blocks[row->block].references++;
        if (row->state == LEASE_SENT) {
            phx_control->blocks[row->channel].sent_count++;
        }
    }
}

static bool block_lives(const block_row *row) {
    return row->references > 0 || (row->owner != NONE && phx_control->blocks[row->owner].references > 0);
}

// Every block that lives is linked to its owner; every other goes on a free list, what was sent to it ended.
static void relink_blocks(arena_header *header) {
    for (uint32_t block = 1; block < header->blocks_carved; block++) {
        block_row *row = &phx_control->blocks[block];
        header->committed_bytes += row->committed_bytes;
        if (block_lives(row)) {
            header->live_blocks++;
            if (row->references == 0) {
                phx_block_add_child(row->owner, block);
            }
        }
    }
    header->approved_bytes = 0;
    for (uint32_t block = 1; block < header->blocks_carved; block++) {
        block_row *row = &phx_control->blocks[block];
        if (!row->is_free && !block_lives(row)) {
            row->owner = NONE;
            header->live_blocks++;  // destroy counts it off again
            phx_block_destroy(block);
        }
    }
}

static uint64_t bytes_of_runs(const arena_header *header) {
    uint64_t bytes = 0;
    for (uint32_t block = 1; block < header->blocks_carved; block++) {
        const block_row *row = &phx_control->blocks[block];
        bytes += row->size_class <= SMALL_CLASS ? class_bytes(row->size_class) : 0;
    }
    return bytes;
}

void phx_arena_repair(void) {
    arena_header *header = &phx_control->header;
    forget_caches(header);
    header->committed_bytes = bytes_of_runs(header);
    recount_leases(header);
    relink_blocks(header);
}

// -- making and joining ----------------------------------------------------------------------------------------------

static uint64_t limit_from_environment(void) {
    const char *text = getenv("PHALANX_ARENA_BYTES");
    char *end;
    unsigned long long bytes = text == NULL ? 0 : strtoull(text, &end, 10);
    return bytes > 0 && *end == 0 ? bytes : UINT64_MAX;
}

static void lay_out(arena_header *header, uint64_t bytes) {
    header->id = phx_random() >> 2;  // fits a signed 64-bit integer
    header->file_bytes = bytes;
    header->blocks_carved = header->leases_carved = 1;
    header->data_end = CONTROL_BYTES;
    header->limit_bytes = limit_from_environment();
    header->warm_limit_bytes = phx_memory_available() / 16;
    for (uint32_t index = 0; index < SLOT_COUNT; index++) {
        phx_control->slots[index].word = (1u << SLOT_BITS) | index;
    }
    header->layout = LAYOUT_STAMP;
    phx_store64(&header->magic, PHX_MAGIC);
}

static phx_status map_control(int fd) {
    void *address = phx_memory_map(fd, 0, CONTROL_BYTES);
    if (address == NULL) {
        return errno == ENOMEM ? PHX_NO_MEMORY : PHX_SYSTEM;
    }
    phx_control = address;
    arena_fd = fd;
    return PHX_OK;
}

static phx_status fail(int fd, phx_status status) {
    if (phx_control != NULL) {
        phx_memory_unmap(phx_control, CONTROL_BYTES);
        phx_control = NULL;
    }
    arena_fd = -1;
    close(fd);
    return status;
}

static phx_status become_member(void) {
    __atomic_store_n(&is_member, true, __ATOMIC_RELEASE);
    return PHX_OK;
}

static phx_status open_new(void) {
    uint64_t bytes = FILE_BYTES;
    int fd = phx_memory_create(&bytes);
    if (fd < 0) {
        errno = -fd;
        return PHX_SYSTEM;
    }
    if (bytes < CONTROL_BYTES + UNIT_BYTES) {
        return fail(fd, PHX_NO_MEMORY);
    }
    phx_status status = map_control(fd);
    if (status != PHX_OK) {
        return fail(fd, status);
    }
    phx_memory_identify(fd, &arena_file, &bytes);
    lay_out(&phx_control->header, bytes);
    phx_slot_word word;
    status = phx_slot_reserve(&word);
    if (status == PHX_OK) {
        status = phx_slot_become(word);
    }
    return status == PHX_OK ? become_member() : fail(fd, status);
}

phx_status phx_arena_open(void) {
    phx_private_lock();
    phx_status status = phx_control == NULL ? open_new() : PHX_OK;
    phx_private_unlock();
    return status;
}

bool phx_arena_is_open(void) { return __atomic_load_n(&is_member, __ATOMIC_ACQUIRE); }

phx_status phx_arena_attach(int fd, phx_slot_word slot) {
    uint64_t bytes;
    if (phx_memory_identify(fd, &arena_file, &bytes) != 0) {
        return PHX_SYSTEM;
    }
    if (bytes < CONTROL_BYTES) {
        return PHX_LAYOUT;
    }
    phx_status status = map_control(fd);
    if (status != PHX_OK) {
        return status;
    }
    arena_header *header = &phx_control->header;
    if (phx_load64(&header->magic) != PHX_MAGIC || header->layout != LAYOUT_STAMP) {
        return fail(fd, PHX_LAYOUT);
    }
    status = phx_slot_become(slot);
    return status == PHX_OK ? become_member() : fail(fd, status);
}

int phx_arena_fd(void) {
    phx_file_identity seen;
    uint64_t bytes;
    bool same = arena_fd >= 0 && phx_memory_identify(arena_fd, &seen, &bytes) == 0 &&
                seen.device == arena_file.device && seen.inode == arena_file.inode;
    return same ? arena_fd : -1;  // somebody may have closed it, and the number may be another file's by now
}

uint64_t phx_arena_id(void) { return phx_control->header.id; }

void phx_arena_stats(phx_arena_figures *figures) {
    phx_arena_enter();
    const arena_header *header = &phx_control->header;
    *figures = (phx_arena_figures){.blocks = header->live_blocks,
                                   .leases = header->live_leases,
                                   .slots = phx_slots_count(),
                                   .committed_bytes = header->committed_bytes,
                                   .limit_bytes = header->limit_bytes,
                                   .mapped_bytes = phx_units_mapped_bytes()};
    phx_arena_leave();
}
