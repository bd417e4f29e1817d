// POSIX side of file.hpp.
#include "base/file.hpp"

#include "base/error.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>
#include <vector>

namespace deltavino {
namespace {

namespace fs = std::filesystem;

std::string reason() {
    return std::strerror(errno);
}

// Removes the staging directories that a killed run left beside `target`.
void remove_abandoned(const fs::path& parent, const std::string& prefix) {
    std::error_code ignored;
    std::vector<fs::path> abandoned;
    for (const fs::directory_entry& entry : fs::directory_iterator(parent, ignored)) {
        const std::string name = entry.path().filename().string();
        if (!name.starts_with(prefix)) {
            continue;
        }
        const std::string pid_text = name.substr(prefix.size());
        const bool digits =
            !pid_text.empty() && pid_text.size() < 10 && pid_text.find_first_not_of("0123456789") == std::string::npos;
        if (digits && ::kill(std::stoi(pid_text), 0) != 0 && errno == ESRCH) {
            abandoned.push_back(entry.path());
        }
    }
    for (const fs::path& path : abandoned) {
        fs::remove_all(path, ignored);
    }
}

// Whether `inner` is `outer` or stands below it, symbolic links followed.
bool lies_in(const fs::path& inner, const fs::path& outer) {
    std::error_code error;
    const fs::path below = fs::canonical(inner, error);
    const fs::path above = fs::canonical(outer, error);
    return !error && std::mismatch(above.begin(), above.end(), below.begin(), below.end()).first == above.end();
}

}  // namespace

InputFile::InputFile(const fs::path& path) : path_(path) {
    handle_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (handle_ < 0) {
        fail(ErrorKind::Input, "cannot open '{}': {}", path.string(), reason());
    }
    struct stat info{};
    if (::fstat(handle_, &info) != 0 || !S_ISREG(info.st_mode)) {
        ::close(handle_);
        fail(ErrorKind::Input, "cannot read '{}': not a regular file", path.string());
    }
    size_ = static_cast<std::uint64_t>(info.st_size);
}

InputFile::~InputFile() {
    if (handle_ >= 0) {
        ::close(handle_);
    }
}

InputFile::InputFile(InputFile&& other) noexcept
    : path_(std::move(other.path_)), size_(other.size_), handle_(std::exchange(other.handle_, -1)) {}

void InputFile::read(std::uint64_t offset, std::span<std::byte> out) const {
    std::size_t done = 0;
    while (done < out.size()) {
        const ssize_t got = ::pread(handle_, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            fail(ErrorKind::Input, "cannot read '{}' at byte {}: {}", path_.string(), offset + done, reason());
        }
        if (got == 0) {
            fail(ErrorKind::Input,
                 "cannot read '{}': it ends at byte {}, expected {} more bytes (an incomplete download?)",
                 path_.string(), offset + done, out.size() - done);
        }
        done += static_cast<std::size_t>(got);
    }
}

OutputFile::OutputFile(const fs::path& path) : path_(path) {
    handle_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (handle_ < 0) {
        fail(ErrorKind::Output, "cannot create '{}': {}", path.string(), reason());
    }
}

OutputFile::~OutputFile() {
    if (handle_ >= 0) {
        ::close(handle_);
    }
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)), handle_(std::exchange(other.handle_, -1)) {}

void OutputFile::reserve(std::uint64_t bytes) {
    if (bytes == 0) {
        return;
    }
    const int status = ::posix_fallocate(handle_, 0, static_cast<off_t>(bytes));
    if (status == 0 || status == EOPNOTSUPP || status == EINVAL) {
        return;  // file systems without reservation find out while writing
    }
    fail(ErrorKind::Output, "cannot write '{}': {} bytes are needed: {}", path_.string(), bytes, std::strerror(status));
}

void OutputFile::write(std::uint64_t offset, std::span<const std::byte> data) {
    std::size_t done = 0;
    while (done < data.size()) {
        const ssize_t put =
            ::pwrite(handle_, data.data() + done, data.size() - done, static_cast<off_t>(offset + done));
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put <= 0) {
            fail(ErrorKind::Output, "cannot write '{}' at byte {}: {}", path_.string(), offset + done, reason());
        }
        done += static_cast<std::size_t>(put);
    }
}

void OutputFile::close() {
    const int handle = std::exchange(handle_, -1);
    if (handle >= 0 && ::close(handle) != 0) {
        fail(ErrorKind::Output, "cannot finish '{}': {}", path_.string(), reason());
    }
}

std::string read_text_file(const fs::path& path, std::uint64_t limit) {
    const InputFile file(path);
    if (file.size() > limit) {
        fail(ErrorKind::Input, "cannot read '{}': it has {} bytes, expected at most {}", path.string(), file.size(),
             limit);
    }
    std::string text(static_cast<std::size_t>(file.size()), '\0');
    file.read(0, std::as_writable_bytes(std::span(text)));
    return text;
}

void write_text_file(const fs::path& path, std::string_view text) {
    OutputFile file(path);
    file.write(0, std::as_bytes(std::span(text)));
    file.close();
}

std::uint64_t free_disk_bytes(const fs::path& path) {
    std::error_code ignored;
    fs::path existing = fs::absolute(path, ignored);
    while (!fs::exists(existing, ignored) && existing.has_parent_path() && existing != existing.parent_path()) {
        existing = existing.parent_path();
    }
    struct statvfs info{};
    if (::statvfs(existing.c_str(), &info) != 0) {
        fail(ErrorKind::Output, "cannot ask for the free space at '{}': {}", existing.string(), reason());
    }
    return static_cast<std::uint64_t>(info.f_bavail) * info.f_frsize;
}

std::shared_ptr<void> reserve_zero_range(std::uint64_t bytes) {
    // A read-only private mapping is never charged against memory, whatever its size.
    const std::size_t size = bytes == 0 ? 1 : static_cast<std::size_t>(bytes);
    void* range = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (range == MAP_FAILED) {
        fail(ErrorKind::Internal, "cannot reserve {} bytes of address space: {}", bytes, reason());
    }
    return {range, [size](void* p) { ::munmap(p, size); }};
}

StagedDirectory::StagedDirectory(const fs::path& target, bool replace, const fs::path& source) : replace_(replace) {
    std::error_code error;
    target_ = fs::absolute(target, error).lexically_normal();
    if (!target_.has_filename()) {
        target_ = target_.parent_path();  // 'out/' and 'out' are the same
    }
    if (target_.empty() || target_ == target_.root_path()) {
        fail(ErrorKind::Output, "cannot write to '{}': it is not a folder that can be replaced", target.string());
    }
    const fs::file_status status = fs::symlink_status(target_, error);
    if (fs::exists(status) && !fs::is_directory(fs::status(target_, error))) {
        fail(ErrorKind::Output, "cannot write to '{}': it exists and is not a directory", target.string());
    }
    if (fs::exists(status) && !replace && !fs::is_empty(target_, error)) {
        fail(ErrorKind::Output, "cannot write to '{}': it exists and is not empty; --force replaces it",
             target.string());
    }
    if (fs::exists(status) && !fs::is_empty(target_, error)) {
        for (const auto& [path, what] :
             {std::pair(source, "the input"), std::pair(fs::current_path(error), "the current folder")}) {
            if (lies_in(path, target_)) {
                fail(ErrorKind::Output, "cannot replace '{}': {} '{}' lies in it", target.string(), what,
                     path.string());
            }
        }
    }
    const fs::path parent = target_.parent_path();
    fs::create_directories(parent, error);
    if (error) {
        fail(ErrorKind::Output, "cannot create '{}': {}", parent.string(), error.message());
    }
    const std::string prefix = "." + target_.filename().string() + ".deltavino-";
    remove_abandoned(parent, prefix);
    staging_ = parent / (prefix + std::to_string(::getpid()));
    fs::remove_all(staging_, error);
    if (!fs::create_directory(staging_, error) || error) {
        fail(ErrorKind::Output, "cannot create a folder in '{}': {}", parent.string(), error.message());
    }
}

StagedDirectory::~StagedDirectory() {
    if (!committed_) {
        std::error_code ignored;
        fs::remove_all(staging_, ignored);
    }
}

void StagedDirectory::commit() {
    std::error_code error;
    // rename() replaces an empty directory; a full one is moved aside first so that the target is
    // always either the old or the new output.
    fs::path old;
    if (fs::exists(target_, error) && !fs::is_empty(target_, error)) {
        if (!replace_) {
            fail(ErrorKind::Output, "cannot write to '{}': something was put there meanwhile", target_.string());
        }
        old = staging_;
        old += "-old";
        fs::remove_all(old, error);
        fs::rename(target_, old, error);
        if (error) {
            fail(ErrorKind::Output, "cannot replace '{}': {}", target_.string(), error.message());
        }
    }
    fs::rename(staging_, target_, error);
    if (error) {
        const std::string why = error.message();
        if (!old.empty()) {
            fs::rename(old, target_, error);
        }
        fail(ErrorKind::Output, "cannot move the finished output to '{}': {}", target_.string(), why);
    }
    committed_ = true;
    if (!old.empty()) {
        fs::remove_all(old, error);
    }
}

}  // namespace deltavino
