// A single file, such as a report, that appears under its name whole or not at all.
#pragma once

#include "base/file_lock.hpp"
#include "base/staged_directory.hpp"

#include <filesystem>

namespace deltavino {

class StagedFile {
public:
    // A file that will lie in the target of `directory` is made with it and becomes visible with it; links are
    // followed; a device or a pipe is written to directly. An empty name makes nothing. Throws
    // ErrorKind::Output, before anything is changed, when the file could not be written.
    StagedFile(const std::filesystem::path& file, const StagedDirectory& directory);
    ~StagedFile();
    StagedFile(const StagedFile&) = delete;
    StagedFile& operator=(const StagedFile&) = delete;

    // Throws ErrorKind::Output when the directory has a file of its own under this name.
    void require_unused() const;
    // Where to write. The file must not be opened before, so that nothing is left when nothing is written.
    const std::filesystem::path& path();
    // To be called before the directory's commit.
    void commit(bool sync = true);

private:
    std::filesystem::path given_;
    std::filesystem::path file_;   // links followed
    std::filesystem::path place_;  // where it is written
    bool in_directory_ = false;
    bool staged_ = false;  // `place_` is to be renamed to `file_`
    bool made_ = false;    // `place_` is there and is ours to remove
    FileLock lock_;
};

}  // namespace deltavino
