// What this process may still use: memory (cgroup v1 and v2, MemAvailable) and CPUs (affinity, quota).
#define _GNU_SOURCE
#include "../../atomic.h"
#include "../platform.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

#define PATH_BYTES 512

static bool read_number(const char *path, uint64_t *number) {
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    unsigned long long value;
    bool found = fscanf(file, "%llu", &value) == 1;  // "max" is no number: no limit
    fclose(file);
    *number = value;
    return found;
}

static uint64_t memory_of_machine(void) {
    FILE *file = fopen("/proc/meminfo", "re");
    if (file == NULL) {
        return UINT64_MAX;
    }
    char line[128];
    unsigned long long kib;
    uint64_t available = UINT64_MAX;
    while (fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1) {
            available = kib * 1024;
            break;
        }
    }
    fclose(file);
    return available;
}

// The part of this process's cgroup path for a controller: v2 has the line "0::/path", v1 "N:...memory...:/path".
static bool cgroup_path(const char *controller, char *path, size_t bytes) {
    FILE *file = fopen("/proc/self/cgroup", "re");
    if (file == NULL) {
        return false;
    }
    char line[PATH_BYTES];
    bool found = false;
    while (!found && fgets(line, sizeof line, file) != NULL) {
        char *controllers = strchr(line, ':');
        char *where = controllers == NULL ? NULL : strchr(controllers + 1, ':');
        if (where == NULL) {
            continue;
        }
        *where++ = 0;
        controllers++;
        bool wanted = *controller == 0 ? *controllers == 0 : strstr(controllers, controller) != NULL;
        if (wanted) {
            where[strcspn(where, "\n")] = 0;
            snprintf(path, bytes, "%s", where);
            found = true;
        }
    }
    fclose(file);
    return found;
}

// What is left below the limit of a group and of each group above it.
static uint64_t memory_of_groups(const char *root, const char *controller, const char *limit_name,
                                 const char *usage_name) {
    char group[PATH_BYTES], path[PATH_BYTES * 2];
    uint64_t left = UINT64_MAX, limit, usage;
    if (!cgroup_path(controller, group, sizeof group)) {
        return left;
    }
    for (;;) {
        snprintf(path, sizeof path, "%s%s/%s", root, group, limit_name);
        bool limited = read_number(path, &limit);
        snprintf(path, sizeof path, "%s%s/%s", root, group, usage_name);
        if (limited && read_number(path, &usage)) {
            uint64_t here = limit > usage ? limit - usage : 0;
            left = here < left ? here : left;
        }
        char *slash = strrchr(group, '/');
        if (slash == NULL) {
            return left;
        }
        *slash = 0;
    }
}

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

uint64_t phx_memory_available(void) {
    uint64_t left = memory_of_machine();
    left = least(left, memory_of_groups("/sys/fs/cgroup", "", "memory.max", "memory.current"));
    return least(left,
                 memory_of_groups("/sys/fs/cgroup/memory", "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"));
}

static bool quota_below_two(void) {
    char group[PATH_BYTES], path[PATH_BYTES * 2];
    uint64_t quota, period;
    if (cgroup_path("", group, sizeof group)) {
        snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", group);
        FILE *file = fopen(path, "re");
        unsigned long long pair[2];
        bool found = file != NULL && fscanf(file, "%llu %llu", &pair[0], &pair[1]) == 2;
        if (file != NULL) {
            fclose(file);
        }
        if (found && pair[0] < 2 * pair[1]) {
            return true;
        }
    }
    return read_number("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", &quota) && quota < UINT32_MAX &&
           read_number("/sys/fs/cgroup/cpu/cpu.cfs_period_us", &period) && quota < 2 * period;
}

static bool find_whether_to_spin(void) {
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    bool many = sched_getaffinity(0, sizeof cpus, &cpus) != 0 || CPU_COUNT(&cpus) > 1;
    return many && !quota_below_two();
}

bool phx_may_spin(void) {
    enum { UNKNOWN, NO, YES };
    static uint32_t answer = UNKNOWN;  // a race here only asks twice
    uint32_t known = phx_load_relaxed32(&answer);
    if (known == UNKNOWN) {
        known = find_whether_to_spin() ? YES : NO;
        phx_store_relaxed32(&answer, known);
    }
    return known == YES;
}
