// POSIX side of partial_file.hpp.
#include "base/partial_file.hpp"

#include "base/error.hpp"
#include "base/file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
#include <utility>

namespace deltavino {

PartialFile::PartialFile(const std::filesystem::path& path) : path_(path) {
    handle_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0666);
    if (handle_ < 0) {
        fail(ErrorKind::Output, "cannot create '{}': {}", path.string(), system_reason(errno));
    }
    struct stat info{};
    if (::fstat(handle_, &info) != 0 || !S_ISREG(info.st_mode)) {
        ::close(handle_);
        fail(ErrorKind::Output, "cannot write '{}': not a regular file", path.string());
    }
    size_ = static_cast<std::uint64_t>(info.st_size);
}

PartialFile::~PartialFile() {
    if (handle_ >= 0) {
        ::close(handle_);
    }
}

void PartialFile::read(std::uint64_t offset, std::span<std::byte> out) const {
    for (std::size_t done = 0; done < out.size();) {
        const ssize_t got = ::pread(handle_, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            fail(ErrorKind::Output, "cannot read '{}' at byte {}: {}", path_.string(), offset + done,
                 got == 0 ? "it ends there" : system_reason(errno));
        }
        done += static_cast<std::size_t>(got);
    }
}

void PartialFile::append(std::span<const std::byte> data) {
    while (!data.empty()) {
        const ssize_t put = ::pwrite(handle_, data.data(), data.size(), static_cast<off_t>(size_));
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put <= 0) {
            fail(ErrorKind::Output, "cannot write '{}' at byte {}: {}", path_.string(), size_,
                 put == 0 ? "nothing was taken" : system_reason(errno));
        }
        size_ += static_cast<std::uint64_t>(put);
        data = data.subspan(static_cast<std::size_t>(put));
    }
}

void PartialFile::clear() {
    if (::ftruncate(handle_, 0) != 0) {
        fail(ErrorKind::Output, "cannot empty '{}': {}", path_.string(), system_reason(errno));
    }
    size_ = 0;
}

void PartialFile::discard() noexcept {
    ::unlink(path_.c_str());
}

void PartialFile::close() {
    if (handle_ >= 0 && ::close(std::exchange(handle_, -1)) != 0 && errno != EINTR) {
        fail(ErrorKind::Output, "cannot write '{}': {}", path_.string(), system_reason(errno));
    }
}

void PartialFile::publish(const std::filesystem::path& target) {
    close();
    if (::rename(path_.c_str(), target.c_str()) != 0) {
        fail(ErrorKind::Output, "cannot rename '{}' to '{}': {}", path_.string(), target.string(),
             system_reason(errno));
    }
}

}  // namespace deltavino
