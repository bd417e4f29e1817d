#include "base/partial_file.hpp"

#include "base/file.hpp"
#include "support/golden.hpp"

#include <deltavino/error.hpp>

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

namespace deltavino {
namespace {

namespace fs = std::filesystem;

class PartialFileTest : public ::testing::Test {
protected:
    static void append(PartialFile& file, const std::string& text) { file.append(std::as_bytes(std::span(text))); }

    test::TemporaryDirectory directory_;
    fs::path folder_ = directory_.path();
};

TEST_F(PartialFileTest, GoesOnWhereItEnded) {
    {
        PartialFile file(folder_ / "x");
        append(file, "abc");
    }
    PartialFile file(folder_ / "x");
    ASSERT_EQ(file.size(), 3u);
    append(file, "de");
    std::string text(4, ' ');
    file.read(1, std::as_writable_bytes(std::span(text)));
    EXPECT_EQ(text, "bcde");
    EXPECT_THROW(file.read(2, std::as_writable_bytes(std::span(text))), Error);
    write_text_file(folder_ / "y", "old");
    file.publish(folder_ / "y");
    EXPECT_EQ(read_text_file(folder_ / "y"), "abcde");
    EXPECT_FALSE(fs::exists(folder_ / "x"));
}

TEST_F(PartialFileTest, StartsAgain) {
    PartialFile file(folder_ / "x");
    append(file, "abc");
    file.clear();
    EXPECT_EQ(file.size(), 0u);
    append(file, "z");
    EXPECT_EQ(read_text_file(folder_ / "x"), "z");
    file.discard();
    EXPECT_FALSE(fs::exists(folder_ / "x"));
}

TEST_F(PartialFileTest, NoLinksAndNoFolders) {
    write_text_file(folder_ / "target", "kept");
    fs::create_symlink("target", folder_ / "link");
    EXPECT_THROW(PartialFile(folder_ / "link"), Error);
    EXPECT_THROW(PartialFile{folder_}, Error);
    EXPECT_EQ(read_text_file(folder_ / "target"), "kept");
}

}  // namespace
}  // namespace deltavino
