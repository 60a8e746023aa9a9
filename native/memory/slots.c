// The slot table: which processes the tree has, and which of its rows is this process.
#define _GNU_SOURCE
#include "layout.h"

#include "../kill_point.h"

#include <pthread.h>
#include <stddef.h>

#define PAGE_BYTES 4096u

typedef struct {
    phx_slot_word word;
} identity;

static identity *self_page;          // the kernel wipes it in a forked child
static phx_slot_word word_before;    // the same in ordinary memory: what a child that no handler saw was copied from
static phx_slot_word word_of_child;  // reserved by the fork under way
static _Thread_local phx_slot_word last_fork;

static slot_row *row_of(phx_slot_word slot) { return &phx_control->slots[SLOT_INDEX(slot)]; }

// Pairs: slot-pid. Who sees a row's pid sees its start time.
static void set_process(slot_row *row, int32_t pid, uint64_t start_time) {
    phx_store_relaxed64(&row->start_time, start_time);
    phx_store32((uint32_t *)&row->pid, (uint32_t)pid);
}

static int32_t pid_of(const slot_row *row) { return (int32_t)phx_load32((const uint32_t *)&row->pid); }

// -- this process ----------------------------------------------------------------------------------------------------

static void remember(phx_slot_word word) {
    self_page->word = word;
    word_before = word;
}

// A fork that bypassed the handlers. The mutex may be locked for ever by a thread that was not copied.
static phx_slot_word self_after_unseen_fork(void) {
    phx_slot_word word;
    phx_private_reset();
    if (phx_slot_reserve(&word) != PHX_OK) {
        return word_before;
    }
    phx_slot_word before = word_before;
    phx_slot_become(word);
    phx_arena_enter();
    phx_leases_renew(before);
    phx_arena_leave();
    return word;
}

phx_slot_word phx_self(void) {
    if (__builtin_expect(self_page == NULL, false)) {
        return 0;
    }
    phx_slot_word word = self_page->word;
    return __builtin_expect(word != 0, true) ? word : self_after_unseen_fork();
}

static bool claim(phx_slot_word word) {
    slot_row *row = row_of(word);
    uint32_t expected = SLOT_RESERVED;
    if (phx_load32(&row->word) != word) {
        return false;
    }
    set_process(row, phx_pid(), phx_process_start_time(phx_pid()));
    return phx_swap_if32(&row->state, &expected, SLOT_LIVE);
}

phx_status phx_slot_become(phx_slot_word word) {
    identity *page = self_page != NULL ? self_page : phx_wiped_on_fork(PAGE_BYTES);
    if (page == NULL) {
        return PHX_NO_MEMORY;
    }
    if (!claim(word)) {
        if (page != self_page) {
            phx_memory_unmap(page, PAGE_BYTES);
        }
        return PHX_STALE;
    }
    self_page = page;
    remember(word);
    static bool has_handlers;
    if (!has_handlers) {
        has_handlers = true;
        pthread_atfork(phx_fork_prepare, phx_fork_parent, phx_fork_child);
    }
    return PHX_OK;
}

// -- the table -------------------------------------------------------------------------------------------------------

static bool try_reserve(phx_slot_word *slot) {
    uint32_t hint = phx_load_relaxed32(&phx_control->header.slot_hint);
    for (uint32_t step = 0; step < SLOT_COUNT - 1; step++) {
        uint32_t index = 1 + (hint + step) % (SLOT_COUNT - 1);
        slot_row *row = &phx_control->slots[index];
        uint32_t expected = SLOT_FREE;
        if (phx_load_relaxed32(&row->state) == SLOT_FREE && phx_swap_if32(&row->state, &expected, SLOT_RESERVED)) {
            // An unseen fork's child has no word yet, but its parent's.
            phx_store32(&row->parent, self_page == NULL || self_page->word == 0 ? word_before : self_page->word);
            *slot = row->word;
            phx_store_relaxed32(&phx_control->header.slot_hint, index);
            return true;
        }
    }
    return false;
}

// No lock: a process that has no slot yet reserves one, and the lock wants to know its owner.
phx_status phx_slot_reserve(phx_slot_word *slot) {
    if (try_reserve(slot)) {
        return PHX_OK;
    }
    bool found = self_page != NULL && self_page->word != 0 && phx_arena_sweep() > 0;
    return found && try_reserve(slot) ? PHX_OK : PHX_NO_MEMORY;
}

void phx_slot_set_pid(phx_slot_word slot, int32_t pid) {
    if (phx_control == NULL || slot == 0) {
        return;
    }
    slot_row *row = row_of(slot);
    uint64_t start_time = phx_process_start_time(pid);
    phx_arena_enter();  // so that it cannot end, and begin anew as another's, in between
    // The child may be writing the same at this moment: the same values.
    if (phx_load32(&row->word) == slot && phx_load32(&row->state) == SLOT_RESERVED) {
        set_process(row, pid, start_time);
    }
    phx_arena_leave();
}

static void end_slot(phx_slot_word slot) {
    slot_row *row = row_of(slot);
    if (row->word != slot || row->state == SLOT_FREE) {
        return;
    }
    phx_leases_end_of_slot(slot);
    // While it is free: who reserves it must not be taken for the process that is gone.
    set_process(row, 0, 0);
    phx_store32(&row->parent, 0);
    uint32_t generation = (slot >> SLOT_BITS) + 1;
    phx_store32(&row->word, ((generation == GENERATION_LIMIT ? 1 : generation) << SLOT_BITS) | SLOT_INDEX(slot));
    phx_store32(&row->state, SLOT_FREE);
}

void phx_slot_end(phx_slot_word slot) {
    if (phx_control == NULL || slot == 0) {
        return;
    }
    phx_arena_enter_after(slot);
    end_slot(slot);
    phx_arena_leave();
}

bool phx_slot_has_ended(phx_slot_word slot) { return phx_load32(&row_of(slot)->word) != slot; }

uint32_t *phx_slot_bell(phx_slot_word slot) {
    slot_row *row = row_of(slot);
    return phx_load32(&row->word) == slot ? &row->bell : NULL;
}

bool phx_slot_is_alive(phx_slot_word slot) {
    const slot_row *row = row_of(slot);
    if (phx_load32(&row->word) != slot || phx_load32(&row->state) == SLOT_FREE) {
        return false;
    }
    int32_t pid = pid_of(row);
    if (pid == 0) {  // a fork under way, whose child nobody has seen yet: it is there while its parent is
        phx_slot_word parent = phx_load32(&row->parent);
        return parent == 0 || parent == slot || phx_slot_is_alive(parent);
    }
    bool alive = phx_process_is_alive(pid, phx_load_relaxed64(&row->start_time));
    return alive && phx_load32(&row->word) == slot;
}

uint32_t phx_arena_sweep(void) {
    uint32_t found = 0;
    for (uint32_t index = 1; index < SLOT_COUNT; index++) {
        slot_row *row = &phx_control->slots[index];
        phx_slot_word word = phx_load32(&row->word);
        if (phx_load32(&row->state) != SLOT_FREE && word != phx_self() && !phx_slot_is_alive(word)) {
            phx_slot_end(word);
            found++;
        }
    }
    return found;
}

uint32_t phx_slots_count(void) {
    uint32_t count = 0;
    for (uint32_t index = 1; index < SLOT_COUNT; index++) {
        count += phx_control->slots[index].state != SLOT_FREE;
    }
    return count;
}

// -- forks -----------------------------------------------------------------------------------------------------------

// The private mutex is held across the fork, so that no other thread changes the leases between copy and fork.
void phx_fork_prepare(void) {
    if (phx_control == NULL) {
        return;
    }
    phx_slot_word self = phx_self();  // first: after an unseen fork it renews the mutex
    phx_private_lock();
    word_of_child = 0;  // inside: another thread may be forking
    if (self == 0 || phx_slot_reserve(&word_of_child) != PHX_OK) {
        word_of_child = 0;
        return;
    }
    phx_arena_enter();
    phx_leases_copy_for(word_of_child);
    phx_arena_leave();
    phx_kill_point("fork.reserved");
}

void phx_fork_parent(void) {
    last_fork = word_of_child;
    if (phx_control != NULL) {
        phx_private_unlock();
    }
}

void phx_fork_child(void) {
    if (phx_control == NULL) {
        return;
    }
    phx_private_reset();
    last_fork = 0;
    if (word_of_child == 0) {
        phx_self();  // no slot was to be had before the fork: try again as any unseen child does
        return;
    }
    phx_leases_adopt_copy();
    phx_slot_become(word_of_child);
    phx_kill_point("fork.adopted");
}

phx_slot_word phx_slot_of_last_fork(void) { return last_fork; }

phx_status phx_slot_adopt(phx_slot_word slot) {
    phx_slot_word before = phx_self();
    phx_arena_enter();
    bool claimed = claim(slot);
    if (claimed) {
        phx_leases_move(before, slot);
        // The lock's word names its owner: from here on that is the new word.
        remember(slot);
        phx_store32(&phx_control->header.lock.word, slot << 1 | 1);
        end_slot(before);
    }
    phx_arena_leave();
    return claimed ? PHX_OK : PHX_STALE;
}
