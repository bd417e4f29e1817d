/* Preloaded into the program: lets one call of one kind fail, or ends or stops the process before it.
 *
 *   FAIL_IO_CALL    which call, from 1; 0 or absent: none
 *   FAIL_IO_KIND    only calls of this name are counted; absent: all of them
 *   FAIL_IO_ERROR   the errno of the failed call (5 EIO, 28 ENOSPC); kill or stop: the process gets that signal
 *   FAIL_IO_LOG     a file that gets one line per counted call: its name
 *
 * Counted are the calls that change a file system: open for writing, mkdir, write, pwrite, ftruncate, fallocate,
 * fsync, rename, renameat2; and pread, which only FAIL_IO_KIND=pread counts. Writing to standard streams is not.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_long count;

static long number(const char* name) {
    const char* text = getenv(name);
    return text == NULL ? 0 : strtol(text, NULL, 10);
}

static void log_call(const char* kind) {
    const char* path = getenv("FAIL_IO_LOG");
    if (path == NULL) {
        return;
    }
    const int saved = errno;
    const long handle = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    char line[32] = {0};
    strncpy(line, kind, sizeof line - 2);
    line[strlen(line)] = '\n';
    if (handle >= 0) {
        syscall(SYS_write, handle, line, strlen(line));
        syscall(SYS_close, handle);
    }
    errno = saved;
}

/* Whether this call is to fail; errno is set then. */
static int fails(const char* kind) {
    const char* wanted = getenv("FAIL_IO_KIND");
    if (wanted == NULL ? strcmp(kind, "pread") == 0 : strcmp(kind, wanted) != 0) {
        return 0;
    }
    log_call(kind);
    if (atomic_fetch_add(&count, 1) + 1 != number("FAIL_IO_CALL")) {
        return 0;
    }
    const char* action = getenv("FAIL_IO_ERROR");
    if (action == NULL || strcmp(action, "kill") == 0) {
        kill(getpid(), SIGKILL);
    } else if (strcmp(action, "stop") == 0) {
        kill(getpid(), SIGSTOP);
        return 0;
    }
    errno = (int)number("FAIL_IO_ERROR");
    return 1;
}

#define REAL(name, type) ((type)dlsym(RTLD_NEXT, name))

static int opens_for_writing(int flags) {
    return (flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)) != 0;
}

#define OPEN(name)                                                          \
    int name(const char* path, int flags, ...) {                            \
        mode_t mode = 0;                                                    \
        if ((flags & O_CREAT) != 0) {                                       \
            va_list arguments;                                              \
            va_start(arguments, flags);                                     \
            mode = va_arg(arguments, mode_t);                               \
            va_end(arguments);                                              \
        }                                                                   \
        if (opens_for_writing(flags) && fails("open")) {                    \
            return -1;                                                      \
        }                                                                   \
        return REAL(#name, int (*)(const char*, int, ...))(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

ssize_t write(int handle, const void* data, size_t size) {
    if (handle > 2 && fails("write")) {
        return -1;
    }
    return REAL("write", ssize_t(*)(int, const void*, size_t))(handle, data, size);
}

#define PWRITE(name)                                                                                            \
    ssize_t name(int handle, const void* data, size_t size, off_t offset) {                                     \
        return fails("pwrite") ? -1                                                                             \
                               : REAL(#name, ssize_t(*)(int, const void*, size_t, off_t))(handle, data, size, offset); \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

#define PREAD(name)                                                                                       \
    ssize_t name(int handle, void* data, size_t size, off_t offset) {                                     \
        return fails("pread") ? -1                                                                        \
                              : REAL(#name, ssize_t(*)(int, void*, size_t, off_t))(handle, data, size, offset); \
    }
PREAD(pread)
PREAD(pread64)

#define TRUNCATE(name)                                                                          \
    int name(int handle, off_t length) {                                                        \
        return fails("ftruncate") ? -1 : REAL(#name, int (*)(int, off_t))(handle, length);      \
    }
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)

#define ALLOCATE(name)                                                                                            \
    int name(int handle, int mode, off_t offset, off_t length) {                                                  \
        return fails("fallocate") ? -1                                                                            \
                                  : REAL(#name, int (*)(int, int, off_t, off_t))(handle, mode, offset, length);   \
    }
ALLOCATE(fallocate)
ALLOCATE(fallocate64)

int mkdir(const char* path, mode_t mode) {
    return fails("mkdir") ? -1 : REAL("mkdir", int (*)(const char*, mode_t))(path, mode);
}

int fsync(int handle) {
    return fails("fsync") ? -1 : REAL("fsync", int (*)(int))(handle);
}

int rename(const char* from, const char* to) {
    return fails("rename") ? -1 : REAL("rename", int (*)(const char*, const char*))(from, to);
}

int renameat2(int from_folder, const char* from, int to_folder, const char* to, unsigned flags) {
    return fails("renameat2") ? -1
                              : REAL("renameat2", int (*)(int, const char*, int, const char*, unsigned))(
                                    from_folder, from, to_folder, to, flags);
}
