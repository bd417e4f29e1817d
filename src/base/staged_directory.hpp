// A directory that appears at its target whole or not at all.
//
// The work is done in a hidden folder on the target's own file system: beside the target, so that one rename
// ends it, or inside it where the target itself has to stay (a mount point, a folder whose parent may not be
// written to, the current folder). That folder holds
//
//     lock   locked while its export lives
//     new/   the files being made; after an exchange what stood at the target before
//     old/   what stood at the target, while files are moved one by one
//     in/    the finished files, once all of old/ is out of the way
//
// so that whoever finds it without an owner knows how to end or to undo what was begun.
#pragma once

#include "base/file_lock.hpp"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>
#include <vector>

namespace deltavino {

// Where a path leads when all links are followed, also one to nothing; throws ErrorKind::Output when the
// folder of what a link names is not there.
std::filesystem::path follow_links(const std::filesystem::path& path);

// Whether a file system, or a part of one, is mounted there: then nothing else can take its place.
bool is_mount_point(const std::filesystem::path& path);

// How the name of the work folder ends; ".TARGET" stands before it where it lies beside the target.
inline constexpr std::string_view kStagedEnd = ".deltavino-export";

// Whether a folder with a file of this name was written by an export, whoever made it.
bool is_export_file(std::string_view name);

class StagedDirectory {
public:
    // Links are followed: what they name is the target. Throws ErrorKind::Output, before anything is changed,
    // when
    //   - the target is a file, or its disk cannot be written to;
    //   - it holds anything, unless `replace` and an export wrote it (it has an openvino_*.xml or an
    //     openvino_config.json, and no folders that are not hidden);
    //   - `source`, from which the output is made, or the current folder lies in what would be replaced;
    //   - another export to it is running.
    // What killed exports left is ended, undone or removed.
    StagedDirectory(const std::filesystem::path& target, bool replace, const std::filesystem::path& source);
    ~StagedDirectory();
    StagedDirectory(const StagedDirectory&) = delete;
    StagedDirectory& operator=(const StagedDirectory&) = delete;

    // Where the files are to be written.
    const std::filesystem::path& path() const { return files_; }
    // Where they will be, links followed.
    const std::filesystem::path& target() const { return target_; }

    // Counts bytes that will be written; throws ErrorKind::Output when all that were counted do not fit into
    // what was free on the disk at the first call.
    void claim_space(std::uint64_t bytes);

    // Makes the files visible at the target, `sync`: after they are on the disk. When it throws, the target is
    // as it was. A process killed meanwhile leaves the old or the new directory where one rename does it, else
    // one that no reader takes for complete (the openvino_*.xml go first and come last) and the next export
    // to it mends.
    void commit(bool sync = true);

private:
    // The hidden folder, locked.
    class Work {
    public:
        ~Work();
        void take(const std::filesystem::path& folder, const std::filesystem::path& target);
        // Ends or undoes what a killed export began, and empties the folder.
        void recover(const std::filesystem::path& target);
        const std::filesystem::path& path() const { return path_; }

    private:
        std::filesystem::path path_;  // empty: nothing to remove
        FileLock lock_;
    };

    // The folders above the target that were made for it; removed again unless kept.
    class Parents {
    public:
        ~Parents();
        void make(const std::filesystem::path& folder);
        void keep() { made_.clear(); }

    private:
        std::vector<std::filesystem::path> made_;
    };

    void check_target() const;
    bool move_whole(bool sync);
    void move_files(bool sync);

    std::filesystem::path given_;  // as the user wrote it, for messages
    std::filesystem::path source_;
    std::filesystem::path target_;
    std::filesystem::path files_;
    std::optional<std::uint64_t> free_;
    std::uint64_t claimed_ = 0;
    bool replace_ = false;
    bool inside_ = false;  // the work folder is in the target
    Parents parents_;
    Work work_;
};

}  // namespace deltavino
