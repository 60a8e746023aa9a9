#include "bell.h"

#include "../kill_point.h"
#include "../sync/wait.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define PHX_WATCH_ENTRIES 7u

// In shared memory, a cache line: a child block of the channel.
typedef struct {
    uint64_t next;  // offset of the next table, or 0
    uint64_t entries[PHX_WATCH_ENTRIES];
} watch_table;
_Static_assert(sizeof(watch_table) == 64, "a table is a cache line");

// What an entry wants to hear of next: above the slot word, of 31 bits, that is in its lower half.
#define HEAR_NOTHING ((uint64_t)0)
#define HEAR_ITEM ((uint64_t)1 << 32)
#define HEAR_EMPTY ((uint64_t)2 << 32)

static phx_slot_word slot_of(uint64_t entry) { return (phx_slot_word)entry; }
static uint64_t wish_for(bool has_items) { return has_items ? HEAR_EMPTY : HEAR_ITEM; }

// Of this process; all under the mutex.
typedef struct {
    pthread_t thread;
    uint32_t *bell;
    bool is_stopped;
} helper;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static phx_watch *watches;
static phx_slot_word owner;  // of all this; after a fork it is the parent's
static helper *present;

// -- bells -----------------------------------------------------------------------------------------------------------

static void ring(uint32_t *bell) {
    uint32_t seen = phx_load32(bell);
    while (seen & 1) {
        if (phx_swap_if32(bell, &seen, (seen + 2) & ~1u)) {
            phx_unpark(bell, INT32_MAX);  // one that was told to stop may still sleep beside the next
            return;
        }
    }
}

// -- refreshing ------------------------------------------------------------------------------------------------------

static bool has_items(const phx_watch *watch) { return phx_channel_size(watch->channel) != 0; }

static void set_level(phx_watch *watch, bool is_readable) {
    if (watch->is_readable != is_readable) {
        watch->is_readable = is_readable;
        phx_level_set(watch->fd, is_readable);
    }
}

static bool refresh(phx_watch *watch) {
    bool has;
    do {
        has = has_items(watch);
        uint64_t wish = wish_for(has) | watch->owner;
        if (phx_load64(watch->entry) != wish) {
            phx_exchange64(watch->entry, wish);  // pairs: watch-armed
        }
    } while (has_items(watch) != has);
    set_level(watch, has);
    return has;
}

static void refresh_own(const uint64_t *entry) {
    pthread_mutex_lock(&mutex);
    for (phx_watch *watch = watches; watch != NULL; watch = watch->next) {
        if (watch->entry == entry) {
            refresh(watch);
        }
    }
    pthread_mutex_unlock(&mutex);
}

// -- telling ---------------------------------------------------------------------------------------------------------

static void tell(uint64_t *entry, uint64_t wish) {
    uint64_t seen = phx_load64(entry);  // pairs: watch-armed
    phx_slot_word slot = slot_of(seen);
    if (seen != (wish | slot) || !phx_swap_if64(entry, &seen, HEAR_NOTHING | slot)) {
        return;
    }
    phx_kill_point("watch.disarmed");
    if (slot == phx_self()) {
        refresh_own(entry);
        return;
    }
    uint32_t *bell = phx_slot_bell(slot);
    if (bell != NULL) {
        ring(bell);
    } else {  // it has ended
        uint64_t stale = HEAR_NOTHING | slot;
        phx_swap_if64(entry, &stale, 0);
    }
}

void phx_watchers_tell(uint64_t first, bool has_items_now) {
    uint64_t wish = has_items_now ? HEAR_ITEM : HEAR_EMPTY;
    for (uint64_t offset = first; offset != 0;) {
        watch_table *table = phx_address(offset);
        if (table == NULL) {
            return;  // this process may map no more; the helper's next slice
        }
        for (uint32_t i = 0; i < PHX_WATCH_ENTRIES; i++) {
            tell(&table->entries[i], wish);
        }
        offset = phx_load64(&table->next);
    }
}

// -- the helper ------------------------------------------------------------------------------------------------------

// After a slice in vain: a producer may have died before it told, or before it counted.
static void refresh_all(bool look_after_dead) {
    for (phx_watch *watch = watches; watch != NULL; watch = watch->next) {
        if (look_after_dead) {
            phx_channel_exact_size(watch->channel);
        }
        refresh(watch);
    }
}

static void *help(void *argument) {
    helper *self = argument;
    bool was_in_vain = false;
    for (;;) {
        uint32_t heard = phx_or32(self->bell, 1) | 1;
        pthread_mutex_lock(&mutex);
        bool is_stopped = self->is_stopped;
        if (!is_stopped) {
            refresh_all(was_in_vain);
        }
        pthread_mutex_unlock(&mutex);
        if (is_stopped) {
            return NULL;
        }
        was_in_vain = phx_park(self->bell, heard, phx_now_ns() + PHX_OWNER_CHECK_NS) == PHX_PARK_TIMED_OUT;
    }
}

static phx_status start_helper(void) {
    if (present != NULL) {
        return PHX_OK;
    }
    helper *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return PHX_NO_MEMORY;
    }
    made->bell = phx_slot_bell(owner);
    int error = made->bell == NULL ? ESRCH : phx_thread_start(&made->thread, help, made);
    if (error != 0) {
        free(made);
        errno = error;
        return PHX_SYSTEM;
    }
    present = made;
    return PHX_OK;
}

// Lets the helper go if there is nothing left to do: it is the caller's to join then, without the mutex.
static helper *dismiss_helper(void) {
    helper *idle = watches == NULL ? present : NULL;
    if (idle != NULL) {
        idle->is_stopped = true;
        present = NULL;
    }
    return idle;
}

static void join_helper(helper *idle) {
    if (idle != NULL) {
        phx_or32(idle->bell, 1);  // it may be about to sleep: then the word has changed
        ring(idle->bell);
        pthread_join(idle->thread, NULL);
        free(idle);
    }
}

// -- forks -----------------------------------------------------------------------------------------------------------

// The watches are the parent's: close the eventfds, which are the parent's too. No helper has come along.
static void forget_parents(void) {
    for (phx_watch *watch = watches; watch != NULL; watch = watch->next) {
        phx_level_close(watch->fd);
        watch->owner = 0;
    }
    watches = NULL;
    present = NULL;
    owner = 0;
}

static void before_fork(void) { pthread_mutex_lock(&mutex); }
static void after_fork_in_parent(void) { pthread_mutex_unlock(&mutex); }
static void after_fork_in_child(void) {
    mutex = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    forget_parents();
}

// The mutex, in this process's own name. A fork that bypassed the handlers is noticed here, as long as no other thread of
// the parent was inside.
static void enter(void) {
    static bool has_handlers;
    phx_slot_word self = phx_self();
    pthread_mutex_lock(&mutex);
    if (!has_handlers) {
        has_handlers = true;
        pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
    }
    if (owner != self) {
        forget_parents();
        owner = self;
    }
}

static void leave(void) { pthread_mutex_unlock(&mutex); }

// -- entries ---------------------------------------------------------------------------------------------------------

static bool claim(uint64_t *entry, phx_slot_word self) {
    uint64_t seen = phx_load64(entry);
    bool is_free = seen == 0 || phx_slot_has_ended(slot_of(seen));
    return is_free && phx_swap_if64(entry, &seen, HEAR_NOTHING | self);
}

static uint64_t *claim_in(watch_table *table, phx_slot_word self) {
    for (uint32_t i = 0; i < PHX_WATCH_ENTRIES; i++) {
        if (claim(&table->entries[i], self)) {
            return &table->entries[i];
        }
    }
    return NULL;
}

// Links a new table where `link` is still 0. Who was slower gives its own back.
static phx_status add_table(const phx_hold *channel, uint64_t *link) {
    phx_child child;
    phx_status status = phx_child_new(channel, sizeof(watch_table), &child);
    if (status != PHX_OK) {
        return status;
    }
    watch_table *table = phx_address(child.offset);
    uint64_t none = 0;
    if (table != NULL) {
        *table = (watch_table){0};
    }
    if (table == NULL || !phx_swap_if64(link, &none, child.offset)) {
        phx_child_free(channel, child);
    }
    return table == NULL ? PHX_NO_MEMORY : PHX_OK;
}

static phx_status register_in(const phx_hold *channel, phx_slot_word self, uint64_t **entry) {
    uint64_t *link = phx_channel_watchers(channel);
    for (;;) {
        uint64_t offset = phx_load64(link);
        if (offset == 0) {
            phx_status status = add_table(channel, link);
            if (status != PHX_OK) {
                return status;
            }
            continue;
        }
        watch_table *table = phx_address(offset);
        if (table == NULL) {
            return PHX_NO_MEMORY;
        }
        *entry = claim_in(table, self);
        if (*entry != NULL) {
            phx_kill_point("watch.registered");
            return PHX_OK;
        }
        link = &table->next;
    }
}

// -- watches ---------------------------------------------------------------------------------------------------------

static bool is_own(const phx_watch *watch) { return watch->owner != 0 && watch->owner == owner; }

static phx_status begin(phx_watch *watch) {
    phx_status status = start_helper();
    if (status != PHX_OK) {
        return status;
    }
    *watch = (phx_watch){.channel = watch->channel, .fd = phx_level_open()};
    if (watch->fd < 0) {
        return PHX_SYSTEM;
    }
    status = register_in(watch->channel, owner, &watch->entry);
    if (status != PHX_OK) {
        phx_level_close(watch->fd);
        return status;
    }
    watch->owner = owner;
    watch->next = watches;
    watches = watch;
    refresh(watch);
    return PHX_OK;
}

phx_status phx_watch_begin(phx_watch *watch) {
    enter();
    phx_status status = is_own(watch) ? PHX_OK : begin(watch);
    int error = errno;
    helper *idle = dismiss_helper();  // it was started, and then something else failed
    leave();
    join_helper(idle);
    errno = error;
    return status;
}

bool phx_watch_refresh(phx_watch *watch) {
    enter();
    bool has = is_own(watch) ? refresh(watch) : has_items(watch);
    leave();
    return has;
}

static void unlink_watch(phx_watch *watch) {
    phx_watch **link = &watches;
    while (*link != watch) {
        link = &(*link)->next;
    }
    *link = watch->next;
}

void phx_watch_end(phx_watch *watch) {
    if (watch->owner == 0) {
        return;
    }
    enter();
    helper *idle = NULL;
    if (is_own(watch)) {
        unlink_watch(watch);
        phx_store64(watch->entry, 0);
        phx_level_close(watch->fd);
        watch->owner = 0;
        idle = dismiss_helper();
    }
    leave();
    join_helper(idle);
}
