#include "pipe.h"

#include "../atomic.h"
#include "../kill_point.h"
#include "../sync/section.h"

#define CACHE_LINE 64

// The messages to one end. On a line of its own.
typedef struct {
    uint32_t bell;  // even: a token is in the socket; odd: none, the next sender puts one
    uint32_t watched;
    uint32_t has_foreign;  // something foreign has been, or is about to be, in the socket
    phx_section receivers;
    uint8_t padding[CACHE_LINE - 16];
} direction;

typedef struct {
    direction to[2];
    uint32_t closings;
    uint8_t padding[CACHE_LINE - 4];
} pipe_state;
_Static_assert(sizeof(pipe_state) == 3 * CACHE_LINE, "a line for each direction");

typedef enum { HAS_ITEMS, ARMED, ARMED_BEFORE_FOREIGN } arming;

static pipe_state *shared(const phx_pipe_end *end) { return end->state.address; }
static direction *incoming(const phx_pipe_end *end) { return &shared(end)->to[end->side]; }
static direction *outgoing(const phx_pipe_end *end) { return &shared(end)->to[1 - end->side]; }

// -- making and ending -----------------------------------------------------------------------------------------------

static phx_status make_direction(phx_pipe_end *sender, phx_pipe_end *receiver) {
    incoming(receiver)->bell = 1;
    phx_status status = phx_channel_new(0, PHX_PIPE_BYTES, &receiver->in);
    return status == PHX_OK ? phx_block_hold_again(&receiver->in, &sender->out) : status;
}

static phx_status make_shared(phx_pipe_end *first, phx_pipe_end *second, bool duplex) {
    phx_status status = phx_block_new(sizeof(pipe_state), true, &first->state);
    if (status == PHX_OK) {
        status = phx_block_hold_again(&first->state, &second->state);
    }
    if (status == PHX_OK) {
        status = make_direction(second, first);
    }
    if (status == PHX_OK && duplex) {
        status = make_direction(first, second);
    }
    return status;
}

phx_status phx_pipe_new(phx_pipe_end *first, phx_pipe_end *second, bool duplex) {
    first->side = 0;
    second->side = 1;
    phx_status status = make_shared(first, second, duplex);
    if (status != PHX_OK) {
        phx_pipe_release(first);
        phx_pipe_release(second);
    }
    return status;
}

void phx_pipe_close(phx_pipe_end *end) {
    if (end->fd >= 0) {
        phx_bell_close(end->fd);
        end->fd = -1;
        if (end->state.address != NULL) {
            phx_add32(&shared(end)->closings, 1);  // after the close, so that who sees it finds the peer gone
        }
    }
}

static void release(phx_hold *hold) {
    if (hold->address != NULL) {
        phx_block_release(hold);
        *hold = (phx_hold){0};
    }
}

void phx_pipe_release(phx_pipe_end *end) {
    release(&end->in);
    release(&end->out);
    release(&end->state);
}

// -- sending ---------------------------------------------------------------------------------------------------------

static bool peer_is_there(phx_pipe_end *end) {
    uint32_t closings = phx_load_relaxed32(&shared(end)->closings);
    int64_t now_ns = phx_now_ns();
    if (closings == end->closings_seen && now_ns - end->asked_ns < PHX_PEER_CHECK_NS) {
        return true;
    }
    if (phx_bell_is_gone(end->fd)) {
        return false;
    }
    end->closings_seen = closings;
    end->asked_ns = now_ns;
    return true;
}

static phx_status ring(const phx_pipe_end *end, uint32_t *bell, uint32_t seen) {
    if (!phx_bell_ring(end->fd)) {
        return PHX_BROKEN;
    }
    phx_kill_point("pipe.rung");
    phx_swap_if32(bell, &seen, seen + 1);
    return PHX_OK;
}

phx_status phx_pipe_put(phx_pipe_end *end, const phx_message *message) {
    uint32_t *bell = &outgoing(end)->bell;
    if ((phx_load32(bell) & 1) == 0 && !peer_is_there(end)) {  // ringing will tell as well
        return PHX_BROKEN;
    }
    uint32_t done;
    phx_status status = phx_channel_put(&end->out, message, 1, &done);
    if (status != PHX_OK) {
        return status == PHX_TIMED_OUT && phx_bell_is_gone(end->fd) ? PHX_BROKEN : status;
    }
    phx_kill_point("pipe.published");
    // The channel's unlock was a full barrier: who armed before the message was there has changed this word.
    uint32_t seen = phx_load32(bell);
    return (seen & 1) == 0 ? PHX_OK : ring(end, bell, seen);
}

phx_status phx_pipe_wait_space(const phx_pipe_end *end, int64_t deadline_ns) {
    return phx_channel_wait_space(&end->out, deadline_ns);
}

void phx_pipe_expect_foreign(phx_pipe_end *end) { phx_exchange32(&outgoing(end)->has_foreign, 1); }

void phx_pipe_ring_again(phx_pipe_end *end) {
    if ((phx_load32(&outgoing(end)->bell) & 1) == 0) {
        phx_bell_ring(end->fd);
    }
}

// -- receiving -------------------------------------------------------------------------------------------------------

bool phx_pipe_has_items(const phx_pipe_end *end) { return phx_channel_size(&end->in) != 0; }

// Moves the bell to a fresh odd value, and returns that; what it was in *before.
static uint32_t disturb(uint32_t *bell, uint32_t *before) {
    uint32_t fresh;
    *before = phx_load32(bell);
    do {
        fresh = *before + 2 - (~*before & 1);
    } while (!phx_swap_if32(bell, before, fresh));
    return fresh;
}

// Tokens that were there before the bell was moved. An even bell says that there is one, and in front if nothing foreign is.
static uint32_t count_old_tokens(const phx_pipe_end *end, bool *is_foreign) {
    const direction *from = incoming(end);
    *is_foreign = false;
    if ((phx_load32(&from->bell) & 1) == 0 && phx_load32(&from->has_foreign) == 0 && phx_load32(&from->watched) == 0) {
        return 1;
    }
    return phx_bell_count(end->fd, is_foreign);
}

static arming arm_locked(phx_pipe_end *end) {
    uint32_t *bell = &incoming(end)->bell, before;
    bool is_foreign;
    uint32_t old_tokens = count_old_tokens(end, &is_foreign);
    uint32_t fresh = disturb(bell, &before);
    phx_kill_point("pipe.armed");
    if (phx_pipe_has_items(end)) {
        if ((before & 1) == 0) {
            phx_swap_if32(bell, &fresh, fresh + 1);  // the token is still there
        }
        return HAS_ITEMS;
    }
    phx_bell_consume(end->fd, old_tokens);
    phx_kill_point("pipe.drained");
    return is_foreign ? ARMED_BEFORE_FOREIGN : ARMED;
}

static arming arm(phx_pipe_end *end) {
    phx_section *receivers = &incoming(end)->receivers;
    phx_section_lock(receivers, phx_self());  // a dead owner leaves nothing to repair
    arming result = arm_locked(end);
    phx_section_unlock(receivers);
    return result;
}

bool phx_pipe_arm(phx_pipe_end *end) { return arm(end) != HAS_ITEMS; }

void phx_pipe_watch(phx_pipe_end *end) {
    phx_exchange32(&incoming(end)->watched, 1);
    arm(end);
}

phx_status phx_pipe_take(phx_pipe_end *end, phx_batch *batch) {
    phx_status status = phx_channel_take(&end->in, 1, batch);
    if (status == PHX_OK && __builtin_expect(phx_load_relaxed32(&incoming(end)->watched) != 0, false)) {
        arm(end);
    }
    return status;
}

static phx_status sleep_beside_foreign(phx_pipe_end *end, int64_t deadline_ns) {
    phx_status status = phx_channel_wait_items(&end->in, deadline_ns);
    return phx_bell_is_gone(end->fd) ? PHX_BROKEN : status;
}

phx_status phx_pipe_wait_items(phx_pipe_end *end, int64_t deadline_ns) {
    switch (arm(end)) {
    case HAS_ITEMS: return PHX_OK;
    case ARMED_BEFORE_FOREIGN: return sleep_beside_foreign(end, deadline_ns);
    case ARMED: break;
    }
    switch (phx_bell_wait(end->fd, deadline_ns)) {
    case PHX_BELL_TIMED_OUT: return PHX_TIMED_OUT;
    case PHX_BELL_INTERRUPTED: return PHX_INTERRUPTED;
    case PHX_BELL_GONE: return PHX_BROKEN;
    case PHX_BELL_RUNG: break;
    }
    return PHX_OK;
}
