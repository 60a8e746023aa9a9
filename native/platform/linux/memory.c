// Shared memory without a name: a memfd, or an unlinked file where memfds are forbidden.
#define _GNU_SOURCE
#include "../platform.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static int create_unlinked_file(void) {
    const char *folder = getenv("TMPDIR");
    return open(folder != NULL && *folder != 0 ? folder : "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
}

int phx_memory_create(uint64_t *bytes) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < *bytes) {
        *bytes = limit.rlim_cur & ~(uint64_t)0xffff;
    }
    int fd = memfd_create("phalanx", MFD_CLOEXEC);
    if (fd < 0) {
        fd = create_unlinked_file();
    }
    if (fd < 0) {
        return -errno;
    }
    if (ftruncate(fd, (off_t)*bytes) != 0) {  // sparse: takes no memory before it is written
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

int phx_memory_identify(int fd, phx_file_identity *identity, uint64_t *bytes) {
    struct stat status;
    if (fstat(fd, &status) != 0) {
        return -errno;
    }
    *identity = (phx_file_identity){(uint64_t)status.st_dev, (uint64_t)status.st_ino};
    *bytes = (uint64_t)status.st_size;
    return 0;
}

void *phx_memory_map(int fd, uint64_t offset, size_t bytes) {
    void *address = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);
    return address == MAP_FAILED ? NULL : address;
}

// An mremap of size 0 maps a shared mapping's pages a second time, with another length: so everything up to the wanted
// part is mapped again, and what lies before it is unmapped at once.
void *phx_memory_map_beside(void *base, uint64_t offset, size_t bytes) {
    char *whole = mremap(base, 0, offset + bytes, MREMAP_MAYMOVE);
    if (whole == MAP_FAILED) {
        return NULL;
    }
    if (offset > 0) {
        munmap(whole, offset);
    }
    return whole + offset;
}

void phx_memory_unmap(void *address, size_t bytes) { munmap(address, bytes); }

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

int phx_memory_commit(void *address, size_t bytes) {
    while (madvise(address, bytes, MADV_POPULATE_WRITE) != 0) {
        if (errno == EINVAL || errno == ENOSYS) {
            return 0;  // before Linux 5.14: the pages become real as they are written
        }
        if (errno != EINTR && errno != EAGAIN) {
            return errno;
        }
    }
    return 0;
}

void phx_memory_discard(void *address, size_t bytes) {
    // A file system that cannot punch holes keeps the pages; zeroed they must be all the same.
    if (madvise(address, bytes, MADV_REMOVE) != 0) {
        __builtin_memset(address, 0, bytes);
    }
}

uint64_t phx_random(void) {
    uint64_t number = 0;
    if (getrandom(&number, sizeof number, 0) != sizeof number) {
        number = (uint64_t)phx_now_ns() * 0x9e3779b97f4a7c15u ^ (uint64_t)getpid();
    }
    return number;
}
