// Named steps at which a test may end the process with SIGKILL: PHALANX_KILL_AT=channel.claimed[:N] (the N-th passage,
// 1 by default). Compiled in always; unset, a point costs one load and one predicted branch.
#ifndef PHX_KILL_POINT_H
#define PHX_KILL_POINT_H

#include <stdbool.h>

extern bool phx_kill_points_armed;

void phx_kill_points_read_environment(void);
void phx_kill_points_set(const char *name_and_count);  // NULL disarms
void phx_kill_point_reached(const char *name);

static inline void phx_kill_point(const char *name) {
    if (__builtin_expect(phx_kill_points_armed, false)) {
        phx_kill_point_reached(name);
    }
}

#endif
