#include "kill_point.h"

#include "atomic.h"
#include "platform/platform.h"

#include <stdlib.h>
#include <string.h>

#define NAME_BYTES 64

bool phx_kill_points_armed;
static char wanted[NAME_BYTES];
static uint32_t passages_left;

void phx_kill_points_set(const char *name_and_count) {
    phx_kill_points_armed = false;
    if (name_and_count == NULL || *name_and_count == 0) {
        return;
    }
    const char *colon = strchr(name_and_count, ':');
    size_t length = colon == NULL ? strlen(name_and_count) : (size_t)(colon - name_and_count);
    if (length >= NAME_BYTES) {
        return;
    }
    memcpy(wanted, name_and_count, length);
    wanted[length] = 0;
    passages_left = colon == NULL ? 1 : (uint32_t)strtoul(colon + 1, NULL, 10);
    phx_kill_points_armed = passages_left > 0;
}

void phx_kill_points_read_environment(void) { phx_kill_points_set(getenv("PHALANX_KILL_AT")); }

void phx_kill_point_reached(const char *name) {
    if (strcmp(name, wanted) == 0 && phx_add32(&passages_left, UINT32_MAX) == 1) {
        phx_kill_self();
    }
}
