#include "base/mapped_pages.hpp"

#include "support/golden.hpp"

#include <gtest/gtest.h>

#include <sys/mman.h>

#include <fcntl.h>
#include <unistd.h>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

namespace deltavino {
namespace {

constexpr std::size_t kSize = 32u << 20;

std::byte* map_file(const std::filesystem::path& path, int protection) {
    const int handle = ::open(path.c_str(), O_RDONLY);
    void* range = ::mmap(nullptr, kSize, protection, MAP_PRIVATE, handle, 0);
    ::close(handle);
    return range == MAP_FAILED ? nullptr : static_cast<std::byte*>(range);
}

// Kilobytes of files that this process has in memory.
long file_kilobytes() {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
        if (line.starts_with("RssFile:")) {
            return std::strtol(line.c_str() + 8, nullptr, 10);
        }
    }
    return 0;
}

std::size_t sum(const std::byte* from) {
    std::size_t all = 0;
    for (std::size_t i = 0; i < kSize; i += 512) {
        all += std::to_integer<std::size_t>(from[i]);
    }
    return all;
}

TEST(MappedPages, OfAFileAreGivenBackAndReadAgain) {
    const test::TemporaryDirectory directory;
    std::ofstream(directory.path() / "file") << std::string(kSize, '\3');
    const std::byte* whole = map_file(directory.path() / "file", PROT_READ);
    ASSERT_NE(whole, nullptr);
    const std::size_t before = sum(whole);
    const long full = file_kilobytes();
    give_back_file_pages({whole + 100, kSize - 200});  // no page is cut
    const long empty = file_kilobytes();
    EXPECT_GT(full - empty, static_cast<long>(kSize >> 10) / 2);
    EXPECT_EQ(sum(whole), before);
    ::munmap(const_cast<std::byte*>(whole), kSize);
}

TEST(MappedPages, ThatCanBeWrittenStay) {
    const test::TemporaryDirectory directory;
    std::ofstream(directory.path() / "file") << std::string(kSize, '\3');
    std::byte* own = map_file(directory.path() / "file", PROT_READ | PROT_WRITE);
    ASSERT_NE(own, nullptr);
    std::fill(own, own + kSize, std::byte{5});
    give_back_file_pages({own, kSize});
    EXPECT_EQ(sum(own), kSize / 512 * 5);
    ::munmap(own, kSize);
    std::vector<std::byte> heap(kSize, std::byte{7});
    give_back_file_pages(heap);
    EXPECT_EQ(sum(heap.data()), kSize / 512 * 7);
    give_back_file_pages({});
}

}  // namespace
}  // namespace deltavino
