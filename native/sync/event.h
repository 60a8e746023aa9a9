// An event: a flag that many may wait for. README.md has the protocol.
#ifndef PHX_EVENT_H
#define PHX_EVENT_H

#include "../kill_point.h"
#include "wait.h"

typedef struct {
    uint32_t word;  // (how many times it was set << 2) | (whether somebody may sleep << 1) | whether it is set
} phx_event;

#define PHX_EVENT_SET 1u
#define PHX_EVENT_SLEEPERS 2u
#define PHX_EVENT_ONE_MORE 4u

static inline bool phx_event_is_set(const phx_event *event) { return (phx_load32(&event->word) & PHX_EVENT_SET) != 0; }

void phx_event_set(phx_event *event);
void phx_event_clear(phx_event *event);
// What a wait counts from: the event has happened once it was set after this.
static inline uint32_t phx_event_mark(const phx_event *event) { return phx_load32(&event->word) >> 2; }
// PHX_OK when the event is set or has been set since `mark`, PHX_TIMED_OUT, PHX_INTERRUPTED: call again with that mark.
phx_status phx_event_wait(phx_event *event, uint32_t mark, int64_t deadline_ns);
bool phx_event_spin(phx_event *event, uint32_t mark, int64_t limit_ns);

#endif
