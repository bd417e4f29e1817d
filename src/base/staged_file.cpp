#include "base/staged_file.hpp"

#include "base/error.hpp"
#include "base/file.hpp"

#include <fcntl.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <cstdio>

namespace deltavino {
namespace {

namespace fs = std::filesystem;

bool may_write(const fs::path& path, int mode) {
    return ::faccessat(AT_FDCWD, path.c_str(), mode, AT_EACCESS) == 0;
}

}  // namespace

StagedFile::StagedFile(const fs::path& file, const StagedDirectory& directory) : given_(file) {
    if (file.empty()) {
        return;
    }
    const auto refuse = [&](const std::string& why) {
        fail(ErrorKind::Output, "cannot write the report '{}': {}", given_.string(), why);
    };
    std::error_code error;
    const fs::file_status status = fs::status(file, error);
    if (fs::is_directory(status) || !file.has_filename()) {
        refuse("it is a folder, expected the name of a file");
    }
    if (fs::exists(status) && !may_write(file, W_OK)) {
        refuse(system_reason(errno));
    }
    if (fs::exists(status) && (!fs::is_regular_file(status) || is_mount_point(file))) {
        place_ = file;  // nothing can take its place
        return;
    }
    file_ = follow_links(file);
    if (file_ == directory.target()) {
        refuse("it is the output directory");
    }
    const fs::path folder = file_.parent_path();
    in_directory_ = folder == directory.target();
    if (in_directory_) {
        place_ = directory.path() / file_.filename();
        return;
    }
    if (std::mismatch(directory.target().begin(), directory.target().end(), folder.begin(), folder.end()).first ==
        directory.target().end()) {
        refuse("an output directory has no folders in it");
    }
    if (!fs::is_directory(folder, error)) {
        refuse("its folder does not exist");
    }
    if (!may_write(folder, W_OK | X_OK)) {
        refuse(system_reason(errno));
    }
    place_ = folder / fmt::format(".{}.deltavino-report", file_.filename().string());
    staged_ = true;
}

StagedFile::~StagedFile() {
    if (made_) {
        ::unlink(place_.c_str());
    }
}

void StagedFile::require_unused() const {
    if (in_directory_ && (is_there(place_) || file_.filename().string().starts_with("openvino_"))) {
        fail(ErrorKind::Output, "cannot write the report '{}': the output has a file of that name", given_.string());
    }
}

const fs::path& StagedFile::path() {
    if (staged_ && !made_) {
        // A killed process leaves an unlocked file, which is written over.
        const LockState state = lock_.take(place_);
        if (state == LockState::Busy || state == LockState::Vanished) {
            fail(ErrorKind::Output, "cannot write the report '{}': another export writes it", given_.string());
        }
        made_ = true;
    }
    return place_;
}

void StagedFile::commit(bool sync) {
    if (!staged_) {
        return;
    }
    if (sync) {
        sync_to_disk(place_);
    }
    if (::rename(place_.c_str(), file_.c_str()) != 0) {
        fail(ErrorKind::Output, "cannot write the report '{}': {}", given_.string(), system_reason(errno));
    }
    made_ = false;
}

}  // namespace deltavino
