// flock() rather than fcntl(): a lock belongs to the open file, so that two exports of one process exclude
// each other, too, and closing another handle of the file does not drop it.
#include "base/file_lock.hpp"

#include "base/error.hpp"
#include "base/file.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
#include <utility>

namespace deltavino {

FileLock::~FileLock() {
    release();
}

void FileLock::release() {
    if (handle_ >= 0) {
        ::close(std::exchange(handle_, -1));
    }
}

LockState FileLock::take(const std::filesystem::path& path) {
    release();
    handle_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
    if (handle_ < 0) {
        if (errno == ENOENT) {
            return LockState::Vanished;
        }
        fail(ErrorKind::Output, "cannot create '{}': {}", path.string(), system_reason(errno));
    }
    return lock(path, LOCK_EX);
}

LockState FileLock::take_existing(const std::filesystem::path& path, bool shared) {
    release();
    // NFS wants a handle that may write for a lock that excludes all others.
    handle_ = ::open(path.c_str(), (shared ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (handle_ < 0) {
        return errno == ENOENT ? LockState::Vanished : LockState::None;
    }
    return lock(path, shared ? LOCK_SH : LOCK_EX);
}

LockState FileLock::lock(const std::filesystem::path& path, int operation) {
    int status = 0;
    do {
        status = ::flock(handle_, operation | LOCK_NB);
    } while (status != 0 && errno == EINTR);
    if (status != 0) {
        const bool busy = errno == EWOULDBLOCK;
        release();
        return busy ? LockState::Busy : LockState::None;
    }
    // Between opening and locking, its owner may have removed the file: then this lock excludes nobody.
    struct stat held{};
    struct stat named{};
    if (::fstat(handle_, &held) != 0 || ::lstat(path.c_str(), &named) != 0 || held.st_ino != named.st_ino ||
        held.st_dev != named.st_dev) {
        release();
        return LockState::Vanished;
    }
    return LockState::Taken;
}

}  // namespace deltavino
