// POSIX and Linux side of staged_directory.hpp.
#include "base/staged_directory.hpp"

#include "base/checked.hpp"
#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <iterator>
#include <string>
#include <system_error>
#include <utility>

namespace deltavino {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLock = "lock";
constexpr const char* kNew = "new";
constexpr const char* kOld = "old";
constexpr const char* kIn = "in";

fs::path beside_name(const fs::path& target) {
    return target.parent_path() / fmt::format(".{}{}", target.filename().string(), kStagedEnd);
}

bool is_model_xml(std::string_view name) {
    return name.starts_with("openvino_") && name.ends_with(".xml");
}

// Whether `inner` is `outer` or stands below it, symbolic links followed.
bool lies_in(const fs::path& inner, const fs::path& outer) {
    std::error_code error;
    const fs::path below = fs::canonical(inner, error);
    if (error) {
        return false;
    }
    const fs::path above = fs::canonical(outer, error);
    return !error && std::mismatch(above.begin(), above.end(), below.begin(), below.end()).first == above.end();
}

// The names in a folder, without what is not part of its content: the work folder, and the folder that
// file systems of the ext family have at their root. Empty when there is no such folder.
std::vector<std::string> names_in(const fs::path& folder) {
    std::vector<std::string> names;
    std::error_code error;
    fs::directory_iterator entry(folder, error);
    for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
        const std::string name = entry->path().filename().string();
        if (name != kStagedEnd && name != "lost+found") {
            names.push_back(name);
        }
    }
    if (error && error != std::errc::no_such_file_or_directory) {
        fail(ErrorKind::Output, "cannot look into '{}': {}", folder.string(), error.message());
    }
    std::sort(names.begin(), names.end());
    return names;
}

// Models last, and those of the tokenizer first among them: as long as one is missing, no reader takes the
// folder for a complete one.
std::vector<std::string> models_last(std::vector<std::string> names) {
    std::stable_sort(names.begin(), names.end(), [](const std::string& a, const std::string& b) {
        const auto rank = [](const std::string& name) {
            return !is_model_xml(name) ? 0 : name.find("tokenizer") != std::string::npos ? 1 : 2;
        };
        return rank(a) < rank(b);
    });
    return names;
}

std::string quoted(const std::vector<std::string>& names) {
    constexpr std::size_t kShown = 3;
    std::string text;
    for (std::size_t i = 0; i < names.size() && i < kShown; ++i) {
        text += fmt::format("{}'{}'", i == 0 ? "" : ", ", names[i]);
    }
    return names.size() > kShown ? text + fmt::format(" and {} more", names.size() - kShown) : text;
}

// What no export wrote: everything when no model is there, else folders.
std::vector<std::string> strangers(const fs::path& folder, const std::vector<std::string>& names) {
    const bool exported = std::any_of(names.begin(), names.end(), is_export_file);
    if (!exported) {
        return names;
    }
    std::vector<std::string> folders;
    std::error_code error;
    std::copy_if(names.begin(), names.end(), std::back_inserter(folders), [&](const std::string& name) {
        return !name.starts_with(".") && fs::is_directory(fs::symlink_status(folder / name, error));
    });
    return folders;
}

bool may_write(const fs::path& folder) {
    return ::faccessat(AT_FDCWD, folder.c_str(), W_OK | X_OK, AT_EACCESS) == 0;
}

// Whether another folder cannot, or should not, take the place of this one.
bool must_stay(const fs::path& folder) {
    const fs::path parent = folder.parent_path();
    struct stat own{};
    struct stat above{};
    if (::stat(folder.c_str(), &own) != 0 || ::stat(parent.c_str(), &above) != 0) {
        return false;
    }
    const uid_t user = ::geteuid();
    const bool sticky = (above.st_mode & S_ISVTX) != 0 && user != 0 && user != own.st_uid && user != above.st_uid;
    std::error_code error;
    return is_mount_point(folder) || !may_write(parent) || sticky || lies_in(fs::current_path(error), folder);
}

// Where everybody may make folders, one of the right name can be a trap.
bool is_trusted(const fs::path& folder) {
    struct stat own{};
    struct stat above{};
    if (::lstat(folder.c_str(), &own) != 0) {
        return true;  // just removed by its owner
    }
    const bool shared = ::stat(folder.parent_path().c_str(), &above) != 0 || (above.st_mode & S_IWOTH) != 0;
    return S_ISDIR(own.st_mode) && (!shared || own.st_uid == ::geteuid());
}

// Renames without replacing anything; false when something stands at `to`.
bool move_if_free(const fs::path& from, const fs::path& to) {
    if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) {
        return true;
    }
    if (errno == EINVAL || errno == ENOSYS) {
        if (is_there(to)) {
            return false;
        }
        if (::rename(from.c_str(), to.c_str()) == 0) {
            return true;
        }
    }
    if (errno == EEXIST) {
        return false;
    }
    fail(ErrorKind::Output, "cannot move '{}' to '{}': {}", from.string(), to.string(), system_reason(errno));
}

// Renames that can be taken back.
class Moves {
public:
    void move(const fs::path& from, const fs::path& to) {
        if (!move_if_free(from, to)) {
            fail(ErrorKind::Output, "cannot write '{}': something was put there meanwhile", to.string());
        }
        done_.emplace_back(from, to);
    }
    void undo() noexcept {
        for (; !done_.empty(); done_.pop_back()) {
            ::rename(done_.back().second.c_str(), done_.back().first.c_str());
        }
    }

private:
    std::vector<std::pair<fs::path, fs::path>> done_;
};

}  // namespace

bool is_export_file(std::string_view name) {
    return is_model_xml(name) || name == "openvino_config.json";
}

bool is_mount_point(const fs::path& path) {
#ifdef STATX_ATTR_MOUNT_ROOT
    struct statx info{};
    if (::statx(AT_FDCWD, path.c_str(), 0, STATX_BASIC_STATS, &info) == 0 &&
        (info.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) != 0) {
        return (info.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
    }
#endif
    struct stat own{};
    struct stat above{};
    return ::stat(path.c_str(), &own) == 0 && ::stat(path.parent_path().c_str(), &above) == 0 &&
           own.st_dev != above.st_dev;
}

fs::path follow_links(const fs::path& given) {
    std::error_code error;
    fs::path path = fs::absolute(given, error);
    const auto without_slash = [](const fs::path& p) {
        return p.has_filename() ? p : p.parent_path();
    };
    path = without_slash(path);
    constexpr int kLinks = 40;  // as the kernel
    for (int links = 0; fs::is_symlink(fs::symlink_status(path, error)); ++links) {
        const fs::path next = fs::read_symlink(path, error);
        if (error || links == kLinks) {
            fail(ErrorKind::Output, "cannot write to '{}': {}", given.string(),
                 error ? error.message() : "its links lead in a circle");
        }
        path = without_slash(path.parent_path() / next);
        if (!fs::is_directory(path.parent_path(), error)) {
            fail(ErrorKind::Output, "cannot write to '{}': it is a link to '{}', whose folder is not there",
                 given.string(), next.string());
        }
    }
    path = without_slash(fs::weakly_canonical(path, error));
    if (error || path.empty()) {
        fail(ErrorKind::Output, "cannot write to '{}': {}", given.string(), error ? error.message() : "no such path");
    }
    return path;
}

void StagedDirectory::Work::take(const fs::path& folder, const fs::path& target) {
    constexpr int kAttempts = 100;
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
        const bool made = ::mkdir(folder.c_str(), 0777) == 0;
        if (!made && errno != EEXIST) {
            fail(ErrorKind::Output, "cannot write to '{}': cannot create a folder in '{}': {}", target.string(),
                 folder.parent_path().string(), system_reason(errno));
        }
        if (!made && !is_trusted(folder)) {
            fail(ErrorKind::Output, "cannot write to '{}': '{}' is in the way, and this user did not make it",
                 target.string(), folder.string());
        }
        LockState state = LockState::None;
        try {
            state = lock_.take(folder / kLock);
        } catch (...) {
            if (made) {
                ::rmdir(folder.c_str());
            }
            throw;
        }
        if (state == LockState::Busy) {
            fail(ErrorKind::Output, "cannot write to '{}': another export to it is running", target.string());
        }
        if (state == LockState::None && !made) {
            fail(ErrorKind::Output,
                 "cannot write to '{}': an export left '{}', and its disk has no locks that tell whether it still "
                 "runs; remove the folder if it does not",
                 target.string(), folder.string());
        }
        if (state != LockState::Vanished) {
            path_ = folder;
            return;
        }
    }
    fail(ErrorKind::Output, "cannot write to '{}': other exports to it come and go", target.string());
}

void StagedDirectory::Work::recover(const fs::path& target) {
    std::error_code error;
    for (const char* part : {kIn, kOld}) {
        if (!is_there(path_ / part)) {
            continue;
        }
        try {
            for (const std::string& name : models_last(names_in(path_ / part))) {
                move_if_free(path_ / part / name, target / name);  // what stands there now is the user's
            }
        } catch (...) {
            path_.clear();  // it holds the only copy
            throw;
        }
        break;  // once files moved in, the old ones are gone
    }
    for (const char* part : {kOld, kIn, kNew}) {
        fs::remove_all(path_ / part, error);
    }
}

StagedDirectory::Work::~Work() {
    if (path_.empty()) {
        return;
    }
    std::error_code ignored;
    for (const char* part : {kOld, kIn, kNew}) {
        fs::remove_all(path_ / part, ignored);
    }
    // Whoever takes the folder over from here makes a lock of its own, and the folder stays.
    fs::remove(path_ / kLock, ignored);
    lock_.release();
    ::rmdir(path_.c_str());
}

StagedDirectory::Parents::~Parents() {
    for (; !made_.empty(); made_.pop_back()) {
        ::rmdir(made_.back().c_str());
    }
}

void StagedDirectory::Parents::make(const fs::path& folder) {
    std::error_code error;
    if (fs::is_directory(folder, error)) {
        return;
    }
    make(folder.parent_path());
    if (::mkdir(folder.c_str(), 0777) == 0) {
        made_.push_back(folder);
    } else if (errno != EEXIST || !fs::is_directory(folder, error)) {
        fail(ErrorKind::Output, "cannot create '{}': {}", folder.string(), system_reason(errno));
    }
}

void StagedDirectory::check_target() const {
    std::error_code error;
    const fs::file_status status = fs::status(target_, error);
    if (fs::exists(status) && !fs::is_directory(status)) {
        fail(ErrorKind::Output, "cannot write to '{}': it exists and is not a directory", given_.string());
    }
    const std::vector<std::string> names = names_in(target_);
    if (names.empty()) {
        return;
    }
    if (replace_) {
        for (const auto& [path, what] :
             {std::pair(source_, "the input"), std::pair(fs::current_path(error), "the current folder")}) {
            if (lies_in(path, target_)) {
                fail(ErrorKind::Output, "cannot replace '{}': {} '{}' lies in it", given_.string(), what,
                     path.string());
            }
        }
    }
    const std::vector<std::string> others = strangers(target_, names);
    if (!others.empty()) {
        fail(ErrorKind::Output,
             "cannot {} '{}': it holds what no export wrote: {}; choose another folder, or empty it first",
             replace_ ? "replace" : "write to", given_.string(), quoted(others));
    }
    if (!replace_) {
        fail(ErrorKind::Output, "cannot write to '{}': it exists and is not empty; --force replaces it",
             given_.string());
    }
}

StagedDirectory::StagedDirectory(const fs::path& target, bool replace, const fs::path& source)
    : given_(target), source_(source), target_(follow_links(target)), replace_(replace) {
    if (target_ == target_.root_path()) {
        fail(ErrorKind::Output, "cannot write to '{}': it is not a folder that can be replaced", given_.string());
    }
    std::error_code error;
    const fs::path beside = beside_name(target_);
    const fs::path inside = target_ / kStagedEnd;
    const bool leftover = is_there(beside) || is_there(inside);
    if (!leftover) {
        check_target();  // before a folder is made in one that is not ours
    }
    inside_ = must_stay(target_);
    if (fs::exists(target_, error) && !may_write(target_)) {
        fail(ErrorKind::Output, "cannot write to '{}': {}", given_.string(), system_reason(errno));
    }
    if (!inside_) {
        parents_.make(target_.parent_path());
    }
    const fs::path& other = inside_ ? beside : inside;
    if (is_there(other) && (!inside_ || may_write(target_.parent_path()))) {
        Work left;
        left.take(other, given_);
        left.recover(target_);
    }
    work_.take(inside_ ? inside : beside, given_);
    work_.recover(target_);
    check_target();
    files_ = work_.path() / kNew;
    if (::mkdir(files_.c_str(), 0777) != 0) {
        fail(ErrorKind::Output, "cannot create '{}': {}", files_.string(), system_reason(errno));
    }
}

StagedDirectory::~StagedDirectory() = default;

void StagedDirectory::claim_space(std::uint64_t bytes) {
    if (!free_) {
        struct statvfs info{};
        if (::statvfs(files_.c_str(), &info) != 0) {
            fail(ErrorKind::Output, "cannot ask for the free space at '{}': {}", given_.string(), system_reason(errno));
        }
        free_ = static_cast<std::uint64_t>(info.f_bavail) * info.f_frsize;
    }
    claimed_ = checked_add(claimed_, bytes);
    if (*free_ < claimed_) {
        fail(ErrorKind::Output, "cannot write '{}': {} ({} bytes) are needed on its disk, {} are free", given_.string(),
             human_bytes(claimed_), claimed_, human_bytes(*free_));
    }
}

// False when the file system or the target does not allow it.
bool StagedDirectory::move_whole(bool sync) {
    std::error_code error;
    const bool there = fs::exists(target_, error);
    const bool full = there && !fs::is_empty(target_, error);
    if (there) {
        fs::permissions(files_, fs::status(target_, error).permissions() | fs::perms::owner_all, error);
    }
    const auto exchange = [&] {
        return ::renameat2(AT_FDCWD, files_.c_str(), AT_FDCWD, target_.c_str(), RENAME_EXCHANGE);
    };
    if ((full ? exchange() : ::rename(files_.c_str(), target_.c_str())) != 0) {
        const int code = errno;
        constexpr int kNotThisWay[] = {EINVAL, ENOSYS, EOPNOTSUPP, EXDEV, EBUSY, EPERM, EACCES};
        if (there && std::find(std::begin(kNotThisWay), std::end(kNotThisWay), code) != std::end(kNotThisWay)) {
            return false;
        }
        fail(ErrorKind::Output, "cannot move the finished output to '{}': {}", given_.string(), system_reason(code));
    }
    try {
        if (sync) {
            sync_to_disk(target_.parent_path());
        }
    } catch (...) {
        if (full) {
            exchange();
        } else if (::rename(target_.c_str(), files_.c_str()) == 0 && there) {
            ::mkdir(target_.c_str(), 0777);
            fs::permissions(target_, fs::status(files_, error).permissions(), error);
        }
        throw;
    }
    return true;
}

void StagedDirectory::move_files(bool sync) {
    const fs::path old = work_.path() / kOld;
    const fs::path in = work_.path() / kIn;
    Moves moves;
    try {
        if (::mkdir(old.c_str(), 0777) != 0) {
            fail(ErrorKind::Output, "cannot create '{}': {}", old.string(), system_reason(errno));
        }
        std::vector<std::string> names = models_last(names_in(target_));
        std::reverse(names.begin(), names.end());
        for (const std::string& name : names) {
            moves.move(target_ / name, old / name);
        }
        moves.move(files_, in);
        bool model = false;
        for (const std::string& name : models_last(names_in(in))) {
            if (sync && !std::exchange(model, model || is_model_xml(name)) && is_model_xml(name)) {
                sync_to_disk(target_);  // a power cut, too, must not leave a model without its weights
            }
            moves.move(in / name, target_ / name);
        }
        if (sync) {
            sync_to_disk(target_);
        }
    } catch (...) {
        moves.undo();
        throw;
    }
}

void StagedDirectory::commit(bool sync) {
    if (sync) {
        for (const std::string& name : names_in(files_)) {
            sync_to_disk(files_ / name);
        }
        sync_to_disk(files_);
    }
    if (!inside_ && is_there(target_ / kStagedEnd)) {
        fail(ErrorKind::Output, "cannot write to '{}': another export to it is running", given_.string());
    }
    check_target();  // again: the work took its time
    if (inside_ || !move_whole(sync)) {
        move_files(sync);
    }
    parents_.keep();
}

}  // namespace deltavino
