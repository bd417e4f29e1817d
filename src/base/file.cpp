// POSIX side of file.hpp.
#include "base/file.hpp"

#include "base/error.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
#include <new>
#include <system_error>
#include <utility>

namespace deltavino {
namespace {

namespace fs = std::filesystem;

std::string reason() {
    return system_reason(errno);
}

// A write that failed with errno, with what helps against it.
std::string write_reason() {
    const int code = errno;
    return system_reason(code) + (code == EFBIG ? " (over a file-size limit: see `ulimit -f`)" : "");
}

const char* kind_of(mode_t mode) {
    return S_ISDIR(mode)                    ? "a folder"
           : S_ISFIFO(mode)                 ? "a named pipe"
           : S_ISSOCK(mode)                 ? "a socket"
           : S_ISCHR(mode) || S_ISBLK(mode) ? "a device"
                                            : "something else";
}

[[noreturn]] void fail_open(const fs::path& path, int code) {
    std::error_code error;
    if (code == ENOENT && fs::is_symlink(fs::symlink_status(path, error))) {
        fail(ErrorKind::Input, "cannot open '{}': it is a link to '{}', where nothing is (an incomplete download?)",
             path.string(), fs::read_symlink(path, error).string());
    }
    fail(ErrorKind::Input, "cannot open '{}': {}", path.string(), system_reason(code));
}

void require_regular(const fs::path& path, const struct stat& info) {
    if (!S_ISREG(info.st_mode)) {
        fail(ErrorKind::Input, "cannot read '{}': it is {}, not a regular file", path.string(), kind_of(info.st_mode));
    }
}

}  // namespace

std::string system_reason(int code) {
    return std::generic_category().message(code);
}

InputFile::InputFile(const fs::path& path) : path_(path) {
    struct stat info{};
    if (::stat(path.c_str(), &info) != 0) {
        fail_open(path, errno);
    }
    require_regular(path, info);  // before opening, which can wait or do something on a device
    handle_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (handle_ < 0) {
        fail_open(path, errno);
    }
    try {
        if (::fstat(handle_, &info) != 0) {
            fail_open(path, errno);
        }
        require_regular(path, info);
    } catch (...) {
        ::close(handle_);
        throw;
    }
    size_ = static_cast<std::uint64_t>(info.st_size);
    changed_ = info.st_mtim;
}

InputFile::~InputFile() {
    if (handle_ >= 0) {
        ::close(handle_);
    }
}

InputFile::InputFile(InputFile&& other) noexcept
    : path_(std::move(other.path_)),
      size_(other.size_),
      changed_(other.changed_),
      handle_(std::exchange(other.handle_, -1)) {}

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

void InputFile::require_unchanged() const {
    struct stat info{};
    if (::fstat(handle_, &info) != 0) {
        fail(ErrorKind::Input, "cannot read '{}': {}", path_.string(), reason());
    }
    if (static_cast<std::uint64_t>(info.st_size) != size_ || info.st_mtim.tv_sec != changed_.tv_sec ||
        info.st_mtim.tv_nsec != changed_.tv_nsec) {
        fail(ErrorKind::Input, "cannot use '{}': it was written to while it was read (a download that still runs?)",
             path_.string());
    }
}

OutputFile::OutputFile(const fs::path& path) : path_(path) {
    // A named pipe that nobody reads is an error, not something to wait for.
    handle_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0666);
    if (handle_ < 0) {
        fail(ErrorKind::Output, "cannot create '{}': {}", path.string(), reason());
    }
    ::fcntl(handle_, F_SETFL, ::fcntl(handle_, F_GETFL) & ~O_NONBLOCK);
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
    // Not posix_fallocate: where the file system cannot reserve, it writes zeros over the whole length.
    int status = 0;
    do {
        status = ::fallocate(handle_, 0, 0, static_cast<off_t>(bytes));
    } while (status != 0 && errno == EINTR);
    if (status == 0 || errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL) {
        return;  // file systems without reservation find out while writing
    }
    fail(ErrorKind::Output, "cannot write '{}': {} bytes are needed: {}", path_.string(), bytes, write_reason());
}

void OutputFile::write(std::uint64_t offset, std::span<const std::byte> data) {
    std::size_t done = 0;
    while (done < data.size()) {
        ssize_t put = ::pwrite(handle_, data.data() + done, data.size() - done, static_cast<off_t>(offset + done));
        if (put < 0 && errno == ESPIPE) {
            put = ::write(handle_, data.data() + done, data.size() - done);  // a pipe has no positions
        }
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put <= 0) {
            fail(ErrorKind::Output, "cannot write '{}' at byte {}: {}", path_.string(), offset + done, write_reason());
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
    file.require_unchanged();
    return text;
}

void write_text_file(const fs::path& path, std::string_view text) {
    OutputFile file(path);
    file.write(0, std::as_bytes(std::span(text)));
    file.close();
}

void make_folder(const fs::path& folder) {
    std::error_code error;
    fs::create_directories(folder, error);
    std::error_code ignored;
    if (error || !fs::is_directory(folder, ignored)) {
        fail(ErrorKind::Output, "cannot create '{}': {}", folder.string(), error ? error.message() : "it is no folder");
    }
}

bool is_there(const fs::path& path) {
    struct stat info{};
    return ::lstat(path.c_str(), &info) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

void require_readable_model(const fs::path& xml) {
    const InputFile graph(xml);
    fs::path bin = xml;
    bin.replace_extension(".bin");
    if (is_there(bin)) {
        const InputFile weights(bin);
    }
}

void sync_to_disk(const fs::path& path) {
    const int handle = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int status = handle < 0 ? -1 : 0;
    int code = errno;
    while (handle >= 0) {
        status = ::fsync(handle);
        code = errno;
        if (status == 0 || code != EINTR) {
            break;
        }
    }
    if (handle >= 0) {
        ::close(handle);
    }
    // Some file systems have nothing to wait for, or not for folders.
    if (status != 0 && code != EINVAL && code != ENOSYS && code != EOPNOTSUPP) {
        fail(ErrorKind::Output, "cannot bring '{}' to the disk: {}", path.string(), system_reason(code));
    }
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

std::shared_ptr<std::byte[]> zeroed_memory(std::uint64_t bytes) {
    const std::size_t size = bytes == 0 ? 1 : static_cast<std::size_t>(bytes);
    void* range = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (range == MAP_FAILED) {
        throw std::bad_alloc();
    }
    return {static_cast<std::byte*>(range), [size](std::byte* p) { ::munmap(p, size); }};
}

std::shared_ptr<std::byte[]> large_memory(std::uint64_t bytes) {
    std::shared_ptr<std::byte[]> memory = zeroed_memory(bytes);
    ::madvise(memory.get(), static_cast<std::size_t>(bytes), MADV_HUGEPAGE);  // a wish: it may be refused
    return memory;
}

}  // namespace deltavino
