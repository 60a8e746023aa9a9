// The lease table: who holds which block, and what is on its way. README.md has the states.
#include "layout.h"

#include "../kill_point.h"

#include <stdlib.h>
#include <string.h>

// This process's leases by ticket (phx_hold.lease), because a forked child holds the same blocks by other leases.
static uint32_t *lease_of;
static uint32_t ticket_count, ticket_capacity, free_ticket;
static uint32_t *childs_copy;       // what the child of the fork under way will use
#define TICKET_IS_FREE 0x80000000u  // then the rest is the next free ticket

static lease_row *row_of(uint32_t lease) { return &phx_control->leases[lease]; }
static block_row *block_of(uint32_t block) { return &phx_control->blocks[block]; }

// -- rows ------------------------------------------------------------------------------------------------------------

phx_status phx_lease_begin(uint32_t block, enum lease_state state, phx_slot_word holder, uint32_t *lease) {
    arena_header *header = &phx_control->header;
    *lease = header->free_lease;
    if (*lease != NONE) {
        header->free_lease = row_of(*lease)->next;
    } else if (header->leases_carved < LEASE_COUNT) {
        *lease = header->leases_carved++;
    } else {
        return PHX_NO_MEMORY;
    }
    lease_row *row = row_of(*lease);
    *row = (lease_row){.block = block, .serial = block_of(block)->serial, .holder = holder};
    phx_store32(&row->state, state);
    block_of(block)->references++;
    header->live_leases++;
    return PHX_OK;
}

// The row is the truth and the count its cache: what the row becomes is stored first, in a single store.
static void leave_channel(lease_row *row, enum lease_state becomes) {
    bool was_sent = row->state == LEASE_SENT;
    phx_store32(&row->state, becomes);
    phx_kill_point("arena.moving");
    if (was_sent) {
        block_of(row->channel)->sent_count--;
    }
    row->channel = NONE;
}

void phx_lease_end(uint32_t lease) {
    arena_header *header = &phx_control->header;
    lease_row *row = row_of(lease);
    uint32_t block = row->block;
    leave_channel(row, LEASE_FREE);
    phx_kill_point("arena.releasing");
    row->next = header->free_lease;
    header->free_lease = lease;
    header->live_leases--;
    if (--block_of(block)->references == 0) {
        phx_block_destroy(block);
    }
}

static void mark_sent(lease_row *row) {
    if (row->state == LEASE_PENDING && row->channel != NONE) {
        phx_store32(&row->state, LEASE_SENT);
        phx_kill_point("arena.moving");
        row->holder = NONE;
        block_of(row->channel)->sent_count++;
    }
}

// Of a dead sender: had the record that carries this lease been published? A channel begins with that count.
static bool was_published(const lease_row *row) {
    if (row->channel == NONE || block_of(row->channel)->references == 0) {
        return false;
    }
    uint64_t *published = phx_address(block_of(row->channel)->offset);
    return published != NULL && (int32_t)((uint32_t)phx_load64(published) - row->sequence) > 0;
}

void phx_leases_end_of_slot(phx_slot_word slot) {
    uint32_t carved = phx_control->header.leases_carved;
    // Those on their way first, while the sender's own leases keep the channels alive.
    for (uint32_t lease = 1; lease < carved; lease++) {
        lease_row *row = row_of(lease);
        if (row->state == LEASE_PENDING && row->holder == slot) {
            if (was_published(row)) {
                mark_sent(row);
            } else {
                phx_lease_end(lease);
            }
        }
    }
    for (uint32_t lease = 1; lease < carved; lease++) {
        if (row_of(lease)->state == LEASE_HELD && row_of(lease)->holder == slot) {
            phx_lease_end(lease);
        }
    }
}

void phx_leases_end_of_channel(uint32_t channel) {
    uint32_t carved = phx_control->header.leases_carved;
    for (uint32_t lease = 1; lease < carved && block_of(channel)->sent_count > 0; lease++) {
        if (row_of(lease)->state == LEASE_SENT && row_of(lease)->channel == channel) {
            phx_lease_end(lease);
        }
    }
}

void phx_leases_move(phx_slot_word from, phx_slot_word to) {
    for (uint32_t lease = 1; lease < phx_control->header.leases_carved; lease++) {
        lease_row *row = row_of(lease);
        if (row->state != LEASE_FREE && row->holder == from) {
            row->holder = to;
        }
    }
}

// -- tickets ---------------------------------------------------------------------------------------------------------

static bool make_room_for_a_ticket(void) {
    if (free_ticket != NONE) {
        return true;
    }
    if (ticket_count + 1 >= ticket_capacity) {
        uint32_t capacity = ticket_capacity == 0 ? 256 : ticket_capacity * 2;
        uint32_t *larger = realloc(lease_of, capacity * sizeof *larger);
        if (larger == NULL) {
            return false;
        }
        lease_of = larger;
        ticket_capacity = capacity;
    }
    return true;
}

static uint32_t new_ticket(uint32_t lease) {
    uint32_t ticket = free_ticket;
    if (ticket != NONE) {
        free_ticket = lease_of[ticket] & ~TICKET_IS_FREE;
    } else {
        ticket = ++ticket_count;
    }
    lease_of[ticket] = lease;
    return ticket;
}

static uint32_t end_ticket(uint32_t ticket) {
    uint32_t lease = lease_of[ticket];
    lease_of[ticket] = TICKET_IS_FREE | free_ticket;
    free_ticket = ticket;
    return lease;
}

// -- holds -----------------------------------------------------------------------------------------------------------

static phx_status note_hold(uint32_t block, uint32_t lease, phx_hold *hold) {
    block_row *row = block_of(block);
    void *address = phx_unit_pin(row->offset, class_bytes(row->size_class));
    if (address == NULL) {
        return PHX_NO_MEMORY;
    }
    *hold = (phx_hold){address, row->bytes, block, row->serial, new_ticket(lease)};
    return PHX_OK;
}

phx_status phx_hold_begin(uint32_t block, phx_hold *hold) {
    uint32_t lease;
    if (!make_room_for_a_ticket() || phx_lease_begin(block, LEASE_HELD, phx_self(), &lease) != PHX_OK) {
        return PHX_NO_MEMORY;
    }
    if (note_hold(block, lease, hold) != PHX_OK) {
        // Not phx_lease_end: a block that never had a hold goes back by its taker's hand.
        phx_store32(&row_of(lease)->state, LEASE_FREE);
        row_of(lease)->next = phx_control->header.free_lease;
        phx_control->header.free_lease = lease;
        phx_control->header.live_leases--;
        block_of(block)->references--;
        return PHX_NO_MEMORY;
    }
    return PHX_OK;
}

phx_status phx_block_hold_again(const phx_hold *from, phx_hold *hold) {
    phx_arena_enter();
    phx_status status = phx_hold_begin(from->block, hold);
    phx_arena_leave();
    return status;
}

// The lease behind a hold, unless the hold outlived it (a fork that no handler saw, of a block that was gone by then).
static uint32_t lease_behind(const phx_hold *hold) {
    uint32_t lease = lease_of[hold->lease];
    lease_row *row = row_of(lease);
    bool good = lease != NONE && row->state == LEASE_HELD && row->block == hold->block && row->serial == hold->serial &&
                row->holder == phx_self();
    return good ? lease : NONE;
}

static void forget_hold(phx_hold *hold) {
    block_row *row = block_of(hold->block);
    phx_unit_unpin(row->offset, class_bytes(row->size_class));
    end_ticket(hold->lease);
    hold->address = NULL;
}

void phx_block_release(phx_hold *hold) {
    if (hold->address == NULL) {
        return;
    }
    phx_arena_enter();
    uint32_t lease = lease_behind(hold);
    forget_hold(hold);
    if (lease != NONE) {
        phx_lease_end(lease);
    }
    phx_arena_leave();
}

// -- handles ---------------------------------------------------------------------------------------------------------

static lease_row *row_behind(phx_handle handle) {
    if (handle.lease == NONE || handle.lease >= phx_control->header.leases_carved) {
        return NULL;
    }
    lease_row *row = row_of(handle.lease);
    bool on_its_way = row->state == LEASE_PENDING || row->state == LEASE_SENT;
    return on_its_way && row->block == handle.block && row->serial == handle.serial ? row : NULL;
}

phx_status phx_lease_lend(const phx_hold *from, phx_handle *handle) {
    uint32_t lease;
    phx_arena_enter();
    phx_status status = phx_lease_begin(from->block, LEASE_PENDING, phx_self(), &lease);
    if (status == PHX_OK) {
        *handle = (phx_handle){from->block, from->serial, lease};
    }
    phx_arena_leave();
    return status;
}

phx_status phx_lease_give(phx_hold *hold, phx_handle *handle) {
    phx_arena_enter();
    uint32_t lease = lease_behind(hold);
    if (lease != NONE) {
        *handle = (phx_handle){hold->block, hold->serial, lease};
        phx_store32(&row_of(lease)->state, LEASE_PENDING);
        forget_hold(hold);
    }
    phx_arena_leave();
    return lease == NONE ? PHX_STALE : PHX_OK;
}

phx_status phx_lease_grant(phx_handle handle, phx_slot_word slot) {
    phx_arena_enter();
    lease_row *row = row_behind(handle);
    bool is_there = row != NULL && !phx_slot_has_ended(slot);  // nobody would return the lease of one that has ended
    if (is_there) {
        row->holder = slot;
    }
    phx_arena_leave();
    return is_there ? PHX_OK : PHX_STALE;
}

phx_status phx_lease_take(phx_handle handle, phx_hold *hold) {
    phx_arena_enter();
    lease_row *row = row_behind(handle);
    phx_status status = row == NULL ? PHX_STALE : PHX_OK;
    if (status == PHX_OK && !make_room_for_a_ticket()) {
        status = PHX_NO_MEMORY;
    }
    if (status == PHX_OK) {
        status = note_hold(handle.block, handle.lease, hold);
    }
    if (status == PHX_OK) {
        row->holder = phx_self();
        leave_channel(row, LEASE_HELD);
    }
    phx_arena_leave();
    return status;
}

void phx_lease_drop(phx_handle handle) {
    phx_arena_enter();
    lease_row *row = row_behind(handle);
    // A forked child has copies of what its parent was about to send or had received: those are not its own.
    if (row != NULL && row->state == LEASE_PENDING && row->holder == phx_self()) {
        phx_lease_end(handle.lease);
    }
    phx_arena_leave();
}

// -- through a channel -----------------------------------------------------------------------------------------------

void phx_leases_address(const phx_handle *handles, uint32_t count, uint32_t channel, uint64_t sequence) {
    for (uint32_t i = 0; i < count; i++) {  // no lock: until it is published, a pending row is its holder's alone
        lease_row *row = row_of(handles[i].lease);
        row->sequence = (uint32_t)sequence;
        phx_store32(&row->channel, channel);
    }
}

void phx_leases_sent(const phx_handle *handles, uint32_t count) {
    phx_arena_enter();
    for (uint32_t i = 0; i < count; i++) {
        lease_row *row = row_behind(handles[i]);
        // A quick consumer may have it already: then it is no longer this process's.
        if (row != NULL && row->holder == phx_self()) {
            mark_sent(row);
        }
    }
    phx_arena_leave();
}

uint32_t phx_leases_claim(const phx_handle *handles, uint32_t count) {
    uint32_t claimed = 0;
    phx_arena_enter();
    for (uint32_t i = 0; i < count; i++) {
        lease_row *row = row_behind(handles[i]);
        if (row != NULL) {
            row->holder = phx_self();
            leave_channel(row, LEASE_PENDING);
            claimed++;
        }
    }
    phx_arena_leave();
    return claimed;
}

// -- forks -----------------------------------------------------------------------------------------------------------

static bool is_held(uint32_t ticket) { return (lease_of[ticket] & TICKET_IS_FREE) == 0 && lease_of[ticket] != NONE; }

phx_status phx_leases_copy_for(phx_slot_word child) {
    free(childs_copy);
    childs_copy = malloc(((size_t)ticket_capacity + 1) * sizeof *childs_copy);
    if (childs_copy == NULL) {
        return PHX_NO_MEMORY;
    }
    for (uint32_t ticket = 1; ticket <= ticket_count; ticket++) {
        childs_copy[ticket] = lease_of[ticket];
        if (is_held(ticket) &&
            phx_lease_begin(row_of(lease_of[ticket])->block, LEASE_HELD, child, &childs_copy[ticket]) != PHX_OK) {
            childs_copy[ticket] = NONE;  // a fork cannot be refused from here: the child will find that object stale
        }
    }
    return PHX_OK;
}

void phx_leases_adopt_copy(void) {
    if (childs_copy != NULL) {
        free(lease_of);
        lease_of = childs_copy;
        childs_copy = NULL;
        return;
    }
    for (uint32_t ticket = 1; ticket <= ticket_count;
         ticket++) {  // no memory for the copy: the parent's are not its own
        lease_of[ticket] = is_held(ticket) ? NONE : lease_of[ticket];
    }
}

void phx_leases_renew(phx_slot_word before) {
    for (uint32_t ticket = 1; ticket <= ticket_count; ticket++) {
        if (!is_held(ticket)) {
            continue;
        }
        lease_row *row = row_of(lease_of[ticket]);
        bool there = row->state == LEASE_HELD && row->holder == before;
        uint32_t own = NONE;
        if (there && phx_lease_begin(row->block, LEASE_HELD, phx_self(), &own) != PHX_OK) {
            own = NONE;
        }
        lease_of[ticket] = own;
    }
}
