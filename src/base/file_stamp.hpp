// What tells a file from another version of itself without reading it.
#pragma once

#include <cstdint>
#include <filesystem>

namespace deltavino {

struct FileStamp {
    std::uint64_t bytes = 0;
    std::int64_t written_ns = 0;  // since 1970; programs that copy can set it
    std::int64_t changed_ns = 0;  // content, mode or number of names; no program can set it
};

// Links are followed. Throws ErrorKind::Input when nothing is there or it may not be looked at.
FileStamp file_stamp(const std::filesystem::path& path);

}  // namespace deltavino
