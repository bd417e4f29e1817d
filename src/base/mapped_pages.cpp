// Linux side of mapped_pages.hpp: /proc/self/maps tells which pages are a file's.
#include "base/mapped_pages.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

namespace deltavino {

void give_back_file_pages(std::span<const std::byte> range) {
    const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
    const auto address = reinterpret_cast<std::uintptr_t>(range.data());
    const std::uintptr_t first = (address + page - 1) / page * page;
    const std::uintptr_t last = (address + range.size()) / page * page;
    std::ifstream maps("/proc/self/maps");
    std::string line;
    while (first < last && std::getline(maps, line)) {  // "begin-end perms offset device inode path"
        char* rest = nullptr;
        const std::uintptr_t begin = std::strtoull(line.c_str(), &rest, 16);
        const std::uintptr_t end = *rest == '-' ? std::strtoull(rest + 1, &rest, 16) : begin;
        const std::uintptr_t from = std::max(first, begin);
        const std::uintptr_t to = std::min(last, end);
        if (from >= to) {
            continue;
        }
        std::istringstream words(rest);
        std::string permissions, offset, device;
        std::uint64_t inode = 0;
        words >> permissions >> offset >> device >> inode;
        if (words && inode != 0 && permissions.starts_with("r-")) {
            ::madvise(reinterpret_cast<void*>(from), to - from, MADV_DONTNEED);
        }
    }
}

}  // namespace deltavino
