#include "base/staged_directory.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/file_lock.hpp"
#include "base/staged_file.hpp"
#include "support/golden.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <functional>

namespace deltavino {
namespace {

namespace fs = std::filesystem;

class StagedDirectoryTest : public testing::Test {
protected:
    fs::path root() const { return directory_.path(); }
    fs::path out() const { return root() / "out"; }
    fs::path work() const { return root() / ".out.deltavino-export"; }

    static void make(const fs::path& file, const std::string& text) {
        fs::create_directories(file.parent_path());
        write_text_file(file, text);
    }
    static std::string text_of(const fs::path& file) { return fs::exists(file) ? read_text_file(file) : "nothing"; }
    static std::string error_of(const std::function<void()>& call) {
        try {
            call();
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::Output);
            return error.what();
        }
        return "no error";
    }
    std::size_t entries() const {
        return static_cast<std::size_t>(std::distance(fs::directory_iterator(root()), fs::directory_iterator()));
    }

    test::TemporaryDirectory directory_;
};

bool has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

TEST_F(StagedDirectoryTest, AppearsAtCommitOnly) {
    {
        StagedDirectory staged(out(), false, root() / "source");
        write_text_file(staged.path() / "openvino_model.xml", "model");
        EXPECT_FALSE(fs::exists(out()));
        staged.commit();
    }
    EXPECT_EQ(text_of(out() / "openvino_model.xml"), "model");
    EXPECT_EQ(entries(), 1u);
}

TEST_F(StagedDirectoryTest, NothingIsLeftWithoutCommit) {
    {
        const StagedDirectory staged(root() / "a" / "b" / "out", false, root() / "source");
    }
    EXPECT_EQ(entries(), 0u);
}

TEST_F(StagedDirectoryTest, SecondOneIsRefusedWhileTheFirstLives) {
    StagedDirectory first(out(), false, root() / "source");
    write_text_file(first.path() / "config.json", "{}");
    EXPECT_TRUE(has(error_of([&] { StagedDirectory(out(), true, root() / "source"); }), "another export"));
    first.commit();
    EXPECT_EQ(text_of(out() / "config.json"), "{}");
}

TEST_F(StagedDirectoryTest, WhatComesMeanwhileIsNotReplaced) {
    for (const bool replace : {false, true}) {
        StagedDirectory staged(out(), replace, root() / "source");
        make(out() / "mine.txt", "keep");
        EXPECT_TRUE(has(error_of([&] { staged.commit(); }), "no export wrote"));
        EXPECT_EQ(text_of(out() / "mine.txt"), "keep");
        fs::remove_all(out());
    }
}

TEST_F(StagedDirectoryTest, KilledWhileOldFilesMovedOut) {
    make(work() / "lock", "");
    make(work() / "new" / "openvino_model.xml", "new");
    make(work() / "old" / "openvino_model.xml", "old");
    make(out() / "openvino_model.bin", "old");
    EXPECT_TRUE(has(error_of([&] { StagedDirectory(out(), false, root() / "source"); }), "--force"));
    EXPECT_EQ(text_of(out() / "openvino_model.xml"), "old");
    EXPECT_EQ(text_of(out() / "openvino_model.bin"), "old");
    EXPECT_EQ(entries(), 1u);
}

TEST_F(StagedDirectoryTest, KilledWhileNewFilesMovedIn) {
    make(work() / "lock", "");
    make(work() / "old" / "openvino_model.xml", "old");
    make(work() / "old" / "openvino_model.bin", "old");
    make(work() / "in" / "openvino_model.xml", "new");
    make(out() / "openvino_model.bin", "new");
    EXPECT_TRUE(has(error_of([&] { StagedDirectory(out(), false, root() / "source"); }), "--force"));
    EXPECT_EQ(text_of(out() / "openvino_model.xml"), "new");
    EXPECT_EQ(text_of(out() / "openvino_model.bin"), "new");
    EXPECT_EQ(entries(), 1u);
}

TEST_F(StagedDirectoryTest, KilledInsideATargetThatCouldBeRenamed) {
    make(out() / ".deltavino-export" / "lock", "");
    make(out() / ".deltavino-export" / "old" / "openvino_model.xml", "old");
    {
        StagedDirectory staged(out(), true, root() / "source");
        EXPECT_EQ(text_of(out() / "openvino_model.xml"), "old");
        EXPECT_FALSE(fs::exists(out() / ".deltavino-export"));
        write_text_file(staged.path() / "openvino_model.xml", "new");
        staged.commit(false);
    }
    EXPECT_EQ(text_of(out() / "openvino_model.xml"), "new");
    EXPECT_EQ(entries(), 1u);
}

TEST_F(StagedDirectoryTest, ExportInsideATargetIsNotRenamedAway) {
    fs::create_directory(out());
    StagedDirectory staged(out(), true, root() / "source");
    make(out() / ".deltavino-export" / "lock", "");  // as a container makes it that sees the target as a volume
    EXPECT_TRUE(has(error_of([&] { staged.commit(); }), "another export"));
    EXPECT_TRUE(fs::exists(out() / ".deltavino-export" / "lock"));
}

TEST_F(StagedDirectoryTest, FilesThatTheUserPutBackMeanwhileStay) {
    make(work() / "lock", "");
    make(work() / "old" / "openvino_model.xml", "old");
    make(out() / "openvino_model.xml", "mine");
    EXPECT_TRUE(has(error_of([&] { StagedDirectory(out(), false, root() / "source"); }), "--force"));
    EXPECT_EQ(text_of(out() / "openvino_model.xml"), "mine");
}

TEST_F(StagedDirectoryTest, LeftoverWithoutALockFileIsTakenOver) {
    make(work() / "new" / "openvino_model.xml", "half");
    StagedDirectory staged(out(), false, root() / "source");
    EXPECT_TRUE(fs::is_empty(staged.path()));
}

TEST_F(StagedDirectoryTest, FileInTheWayOfTheWorkFolder) {
    make(work(), "mine");
    EXPECT_TRUE(has(error_of([&] { StagedDirectory(out(), false, root() / "source"); }), "in the way"));
    EXPECT_EQ(text_of(work()), "mine");
}

TEST_F(StagedDirectoryTest, SpaceIsCounted) {
    StagedDirectory staged(out(), false, root() / "source");
    staged.claim_space(1000);
    EXPECT_TRUE(has(error_of([&] { staged.claim_space(1ull << 62); }), "4611686018427388904 bytes"));
    EXPECT_TRUE(has(error_of([&] { staged.claim_space(0); }), "are needed on its disk"));
}

TEST_F(StagedDirectoryTest, LinksAreFollowed) {
    fs::create_directories(root() / "disk");
    fs::create_symlink("disk/../disk/model", root() / "link");
    const fs::path real = fs::canonical(root());
    EXPECT_EQ(follow_links(root() / "link"), real / "disk" / "model");
    EXPECT_EQ(follow_links((root() / "link").string() + "/"), real / "disk" / "model");
    EXPECT_EQ(follow_links(root() / "disk" / ".." / "x"), real / "x");
}

TEST_F(StagedDirectoryTest, LockIsOnePerFile) {
    FileLock first;
    FileLock second;
    EXPECT_EQ(first.take(root() / "lock"), LockState::Taken);
    EXPECT_EQ(second.take(root() / "lock"), LockState::Busy);
    first.release();
    EXPECT_EQ(second.take(root() / "lock"), LockState::Taken);
    EXPECT_EQ(first.take(root() / "nowhere" / "lock"), LockState::Vanished);
}

TEST_F(StagedDirectoryTest, ReportThatIsNotWrittenLeavesNothing) {
    make(root() / "report.json", "before");
    const StagedDirectory staged(out(), false, root() / "source");
    {
        StagedFile report(root() / "report.json", staged);
        write_text_file(report.path(), "half");
    }
    EXPECT_EQ(text_of(root() / "report.json"), "before");
    EXPECT_EQ(entries(), 2u);  // and the work folder
}

TEST(InputFileTest, OnlyRegularFilesAreOpened) {
    const test::TemporaryDirectory directory;
    const fs::path pipe = directory.path() / "pipe";
    ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
    fs::create_symlink("nothing", directory.path() / "link");
    const std::pair<fs::path, const char*> cases[] = {{pipe, "it is a named pipe"},
                                                      {directory.path(), "it is a folder"},
                                                      {"/dev/null", "it is a device"},
                                                      {directory.path() / "link", "it is a link to 'nothing'"},
                                                      {directory.path() / "none", "No such file"}};
    for (const auto& [path, word] : cases) {
        EXPECT_EQ(is_there(path), path.filename() != "none");
        try {
            InputFile{path};
            ADD_FAILURE() << path << " was opened";
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::Input);
            EXPECT_TRUE(has(error.what(), word)) << error.what();
        }
    }
}

TEST(InputFileTest, ChangeIsSeen) {
    const test::TemporaryDirectory directory;
    const fs::path path = directory.path() / "file";
    write_text_file(path, "text");
    const InputFile file(path);
    EXPECT_NO_THROW(file.require_unchanged());
    fs::last_write_time(path, fs::last_write_time(path) + std::chrono::seconds(1));
    EXPECT_THROW(file.require_unchanged(), Error);
}

}  // namespace
}  // namespace deltavino
