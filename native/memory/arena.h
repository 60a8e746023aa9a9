// The arena: one memory for a process tree. README.md beside this file has the protocol.
#ifndef PHX_ARENA_H
#define PHX_ARENA_H

#include "../status.h"
#include "../platform/platform.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// -- this process's place in the tree (slots.c) ----------------------------------------------------------------------

// A slot word names one process of the tree for ever: slot index and generation, never 0, below 2^31.
typedef uint32_t phx_slot_word;

// This process's own word; 0 in a process without an arena. After a fork that no hook has seen the child gets its own.
phx_slot_word phx_self(void);
bool phx_slot_is_alive(phx_slot_word slot);
bool phx_slot_has_ended(phx_slot_word slot);  // its end was noticed: without a system call
uint32_t *phx_slot_bell(phx_slot_word slot);  // a word to ring for that process; NULL once it has ended

// -- the arena as a whole --------------------------------------------------------------------------------------------

phx_status phx_arena_open(void);  // make one, unless this process has one
bool phx_arena_is_open(void);
int phx_arena_fd(void);  // or -1: somebody has closed it
uint64_t phx_arena_id(void);
phx_status phx_arena_attach(int fd, phx_slot_word slot);  // as a child that was not forked

typedef struct {
    uint64_t blocks, leases, slots, committed_bytes, limit_bytes, mapped_bytes;
} phx_arena_figures;
void phx_arena_stats(phx_arena_figures *figures);
uint32_t phx_arena_sweep(void);  // reap processes that died unnoticed; how many

// Called around every fork, in this order, by the thread that forks.
void phx_fork_prepare(void);
void phx_fork_parent(void);
void phx_fork_child(void);

phx_status phx_slot_reserve(phx_slot_word *slot);
phx_slot_word phx_slot_of_last_fork(void);
void phx_slot_set_pid(phx_slot_word slot, int32_t pid);
void phx_slot_end(phx_slot_word slot);
phx_status phx_slot_adopt(phx_slot_word slot);  // a fork server's child becomes that process

// -- blocks and leases (blocks.c, leases.c) --------------------------------------------------------------------------

// A block that this process holds by a lease. `address` stays valid until phx_block_release.
typedef struct {
    void *address;
    uint64_t bytes;   // what was asked for
    uint32_t block;   // index into the block table
    uint32_t serial;  // tells this use of the block from the next
    uint32_t lease;   // index into the lease table
} phx_hold;

// What travels to another process; all zero is no handle.
typedef struct {
    uint32_t block, serial, lease;
} phx_handle;

// Allocates `bytes` (> 0), zeroed when `zeroed`, and holds it. Small blocks are aligned to 64, blocks of a page to a page.
phx_status phx_block_new(uint64_t bytes, bool zeroed, phx_hold *hold);
// A further hold of the same block in this process.
phx_status phx_block_hold_again(const phx_hold *from, phx_hold *hold);
void phx_block_release(phx_hold *hold);

// This process's hold becomes a pending handle: the hold is over.
phx_status phx_lease_give(phx_hold *hold, phx_handle *handle);
// A lease for another process: in flight, pending in this process's hands until it is granted (leases.c has the states).
phx_status phx_lease_lend(const phx_hold *from, phx_handle *handle);
// The pending lease becomes that of the process `slot`: it returns with that process's death.
phx_status phx_lease_grant(phx_handle handle, phx_slot_word slot);
// Takes over what a handle stands for. PHX_STALE when the object is gone.
phx_status phx_lease_take(phx_handle handle, phx_hold *hold);
void phx_lease_drop(phx_handle handle);

// -- handles on their way through a channel --------------------------------------------------------------------------

// A channel is a block whose first 8 bytes count the records published. Before a record with handles is published
// the sender addresses them; afterwards it says that they were sent. A consumer claims them before it takes the record
// out, so that they return if it dies. Between the two, the channel owns them: they go when it goes.
void phx_leases_address(const phx_handle *handles, uint32_t count, uint32_t channel, uint64_t sequence);
void phx_leases_sent(const phx_handle *handles, uint32_t count);
uint32_t phx_leases_claim(const phx_handle *handles, uint32_t count);  // how many were there

// -- child blocks ----------------------------------------------------------------------------------------------------

// A block of at most 64 KiB that belongs to the block `owner` and is freed with it, at the latest. Not zeroed.
typedef struct {
    uint64_t offset;  // in the arena, the same in every process
    uint32_t block, serial;
} phx_child;

phx_status phx_child_new(const phx_hold *owner, uint64_t bytes, phx_child *child);
// Frees it if it is still that use of the block and belongs to that owner; otherwise nothing happens.
void phx_child_free(const phx_hold *owner, phx_child child);
// Where a child block's byte is mapped in this process; NULL when the process may map no more.
void *phx_address(uint64_t offset);

#endif
