#include "base/file_stamp.hpp"

#include "base/error.hpp"
#include "base/file.hpp"

#include <sys/stat.h>
#include <cerrno>
#include <ctime>

namespace deltavino {

FileStamp file_stamp(const std::filesystem::path& path) {
    struct stat info{};
    if (::stat(path.c_str(), &info) != 0) {
        fail(ErrorKind::Input, "cannot look at '{}': {}", path.string(), system_reason(errno));
    }
    const auto since_1970 = [](const std::timespec& time) {
        constexpr std::int64_t kSecond = 1'000'000'000;
        return static_cast<std::int64_t>(time.tv_sec) * kSecond + static_cast<std::int64_t>(time.tv_nsec);
    };
    return {static_cast<std::uint64_t>(info.st_size), since_1970(info.st_mtim), since_1970(info.st_ctim)};
}

}  // namespace deltavino
