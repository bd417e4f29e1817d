// Whether the process that made a file still lives, for processes that cannot see each other: in other
// containers on one volume the number of a process says nothing, a lock does.
#pragma once

#include <filesystem>

namespace deltavino {

enum class LockState {
    Taken,
    Busy,      // another process holds it
    Vanished,  // the file was removed meanwhile; try again
    None,      // the file system has no locks
};

// A lock on a file; the system releases it when the process ends in whatever way.
class FileLock {
public:
    FileLock() = default;
    ~FileLock();
    FileLock(const FileLock&) = delete;
    FileLock& operator=(const FileLock&) = delete;

    // Makes the file when it is missing and locks it, without waiting. Throws ErrorKind::Output when it
    // cannot be opened.
    LockState take(const std::filesystem::path& path);
    // The same for a file that is there: locks that are `shared` exclude only those that are not. Vanished when the
    // file is not there; never throws.
    LockState take_existing(const std::filesystem::path& path, bool shared);
    void release();

private:
    LockState lock(const std::filesystem::path& path, int operation);

    int handle_ = -1;
};

}  // namespace deltavino
