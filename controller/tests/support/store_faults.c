/* SPDX-License-Identifier: Apache-2.0 */
/* Preloaded into a process that is to die: counts its calls that change files, and kills it (SIGKILL) at one of them,
   before the call, or for writes in the middle of it. Standard streams are not counted. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/types.h>
#include <unistd.h>

static long calls;
static long fatal = -1;
static int torn;

/* Die at the call number `at` (from 0; -1: never), tear_writes: in its middle. Starts counting anew. */
void faults_arm(long at, int tear_writes) {
    calls = 0;
    fatal = at;
    torn = tear_writes;
}

long faults_calls(void) { return calls; }

static int is_due(void) { return calls++ == fatal; }

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

static void die_if_due(void) {
    if (is_due())
        die();
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static ssize_t real_pwrite(int fd, const void *data, size_t count, off_t at) {
    return ((ssize_t(*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, "pwrite64"))(fd, data, count, at);
}

static ssize_t counted_pwrite(int fd, const void *data, size_t count, off_t at) {
    if (is_due()) {
        if (torn && count > 1)
            real_pwrite(fd, data, count / 2, at);
        die();
    }
    return real_pwrite(fd, data, count, at);
}

ssize_t pwrite(int fd, const void *data, size_t count, off_t at) { return counted_pwrite(fd, data, count, at); }
ssize_t pwrite64(int fd, const void *data, size_t count, off64_t at) { return counted_pwrite(fd, data, count, at); }

ssize_t write(int fd, const void *data, size_t count) {
    if (fd > 2 && is_due()) {
        if (torn && count > 1)
            REAL(write)(fd, data, count / 2);
        die();
    }
    return REAL(write)(fd, data, count);
}

int fsync(int fd) { die_if_due(); return REAL(fsync)(fd); }
int fdatasync(int fd) { die_if_due(); return REAL(fdatasync)(fd); }
int ftruncate(int fd, off_t size) { die_if_due(); return REAL(ftruncate)(fd, size); }
int ftruncate64(int fd, off64_t size) { die_if_due(); return REAL(ftruncate64)(fd, size); }
int rename(const char *from, const char *to) { die_if_due(); return REAL(rename)(from, to); }
int unlink(const char *path) { die_if_due(); return REAL(unlink)(path); }
