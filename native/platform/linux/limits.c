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

// What a line "NAME VALUE" says, as memory.stat and /proc/meminfo have them; 0 without it.
static uint64_t read_named(const char *path, const char *name) {
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return 0;
    }
    char line[128], word[64];
    unsigned long long value;
    uint64_t found = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "%63s %llu", word, &value) == 2 && strcmp(word, name) == 0) {
            found = value;
            break;
        }
    }
    fclose(file);
    return found;
}

static uint64_t memory_of_machine(void) {
    uint64_t kib = read_named("/proc/meminfo", "MemAvailable:");
    return kib == 0 ? UINT64_MAX : kib * 1024;
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

typedef struct {
    const char *root, *controller, *limit, *usage, *inactive_files, *active_files;
} memory_groups;

// Cached files do not count as used: the kernel drops them before it kills.
static uint64_t left_in_group(const memory_groups *names, const char *group) {
    char path[PATH_BYTES * 2];
    uint64_t limit, usage;
    snprintf(path, sizeof path, "%s%s/%s", names->root, group, names->limit);
    if (!read_number(path, &limit)) {
        return UINT64_MAX;
    }
    snprintf(path, sizeof path, "%s%s/%s", names->root, group, names->usage);
    if (!read_number(path, &usage)) {
        return UINT64_MAX;
    }
    snprintf(path, sizeof path, "%s%s/memory.stat", names->root, group);
    uint64_t cached = read_named(path, names->inactive_files) + read_named(path, names->active_files);
    usage = usage > cached ? usage - cached : 0;
    return limit > usage ? limit - usage : 0;
}

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

// What is left below the limit of this process's group and of each group above it.
static uint64_t memory_of_groups(const memory_groups *names) {
    char group[PATH_BYTES];
    uint64_t left = UINT64_MAX;
    if (!cgroup_path(names->controller, group, sizeof group)) {
        return left;
    }
    for (;;) {
        left = least(left, left_in_group(names, group));
        char *slash = strrchr(group, '/');
        if (slash == NULL) {
            return left;
        }
        *slash = 0;
    }
}

static uint64_t sum(uint64_t a, uint64_t b) { return a > UINT64_MAX - b ? UINT64_MAX : a + b; }

uint64_t phx_memory_available(void) {
    static const memory_groups second = {"/sys/fs/cgroup", "",           "memory.max", "memory.current",
                                         "inactive_file",  "active_file"};
    static const memory_groups first = {"/sys/fs/cgroup/memory", "memory",
                                        "memory.limit_in_bytes", "memory.usage_in_bytes",
                                        "total_inactive_file",   "total_active_file"};
    uint64_t swap = read_named("/proc/meminfo", "SwapFree:") * 1024;
    uint64_t groups = least(memory_of_groups(&second), memory_of_groups(&first));
    return sum(least(memory_of_machine(), groups), swap);
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
