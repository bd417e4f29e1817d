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

// An exclusive lock on a file; the system releases it when the process ends in whatever way.
class FileLock {
public:
    FileLock() = default;
    ~FileLock();
    FileLock(const FileLock&) = delete;
    FileLock& operator=(const FileLock&) = delete;

    // Makes the file when it is missing and locks it, without waiting. Throws ErrorKind::Output when it
    // cannot be opened.
    LockState take(const std::filesystem::path& path);
    void release();

private:
    int handle_ = -1;
};

}  // namespace deltavino
