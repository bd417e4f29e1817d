// The layout against huggingface_hub: tests/parity/test_hub.py.
#include "hub/cache.hpp"

#include "base/file.hpp"
#include "support/golden.hpp"

#include <deltavino/error.hpp>

#include <gtest/gtest.h>

#include <filesystem>

namespace deltavino::hub {
namespace {

namespace fs = std::filesystem;

const std::string kCommit(40, 'c');

class HubCache : public ::testing::Test {
protected:
    HubCache() { settings_.cache = root_ / "hub"; }

    Cache cache() const { return {settings_, "a/b"}; }
    void put(const RemoteFile& file, const std::string& text) const {
        cache().make_folders(kCommit);
        write_text_file(cache().blob(file), text);
    }

    test::TemporaryDirectory directory_;
    fs::path root_ = directory_.path();
    Settings settings_;
    RemoteFile config_{"config.json", 2, std::string(40, '1'), DigestKind::GitBlob};
    RemoteFile weights_{"model.safetensors", 3, std::string(64, '2'), DigestKind::Sha256};
    RemoteFile deep_{"additional_chat_templates/x.jinja", 2, std::string(40, '1'), DigestKind::GitBlob};
};

TEST_F(HubCache, LinksAreRelative) {
    put(config_, "{}");
    cache().link(kCommit, config_, true);
    cache().link(kCommit, config_, false);  // again: nothing to do
    cache().link(kCommit, deep_, false);
    EXPECT_EQ(cache().folder(), root_ / "hub" / "models--a--b");
    EXPECT_EQ(fs::read_symlink(cache().snapshot(kCommit) / "config.json"), "../../blobs/" + config_.etag);
    EXPECT_EQ(fs::read_symlink(cache().snapshot(kCommit) / deep_.name), "../../../blobs/" + config_.etag);
    EXPECT_EQ(cache().text(kCommit, deep_.name), "{}");
}

TEST_F(HubCache, WithoutLinksTheFileStandsThere) {
    settings_.symlinks = false;
    put(config_, "{}");
    cache().link(kCommit, deep_, false);
    EXPECT_TRUE(fs::exists(cache().blob(config_)));
    cache().link(kCommit, config_, true);
    EXPECT_FALSE(fs::exists(cache().blob(config_)));
    for (const RemoteFile& file : {config_, deep_}) {
        EXPECT_FALSE(fs::is_symlink(cache().snapshot(kCommit) / file.name));
        EXPECT_TRUE(cache().holds(kCommit, file.name, 2));
    }
}

TEST_F(HubCache, SizesCount) {
    put(config_, "{}");
    EXPECT_FALSE(cache().holds(kCommit, "config.json", 2));
    cache().link(kCommit, config_, true);
    EXPECT_TRUE(cache().holds(kCommit, "config.json", 2));
    EXPECT_FALSE(cache().holds(kCommit, "config.json", 3));
    EXPECT_TRUE(cache().holds_blob(config_));
    EXPECT_FALSE(cache().holds_blob(weights_));
}

TEST_F(HubCache, References) {
    EXPECT_EQ(cache().commit_of("main"), std::nullopt);
    EXPECT_EQ(cache().commit_of(kCommit), kCommit);
    cache().set_ref(kCommit, kCommit);
    EXPECT_FALSE(fs::exists(cache().folder()));
    cache().set_ref("refs/pr/1", kCommit);
    EXPECT_EQ(read_text_file(cache().folder() / "refs" / "refs" / "pr" / "1"), kCommit);
    cache().set_ref("refs/pr/1", std::string(40, 'd'));
    EXPECT_EQ(cache().commit_of("refs/pr/1"), std::string(40, 'd'));
    write_text_file(cache().folder() / "refs" / "broken", "../../etc");
    EXPECT_EQ(cache().commit_of("broken"), std::nullopt);
}

TEST_F(HubCache, WhatIsMissing) {
    EXPECT_EQ(cache().missing(kCommit), std::nullopt);
    put(config_, "{}");
    cache().link(kCommit, config_, true);
    using Names = std::vector<std::string>;
    EXPECT_EQ(cache().missing_essentials(kCommit), Names{"model.safetensors"});
    EXPECT_EQ(cache().missing(kCommit, {config_, weights_}), Names{"model.safetensors"});
    cache().set_needed(kCommit, {{"config.json", 2}, {"model.safetensors", 3}});
    EXPECT_EQ(cache().missing(kCommit), Names{"model.safetensors"});
    put(weights_, "abc");
    cache().link(kCommit, weights_, true);
    EXPECT_EQ(cache().missing(kCommit), Names{});
    EXPECT_EQ(cache().missing_essentials(kCommit), Names{});
}

TEST_F(HubCache, EssentialsByTheIndex) {
    const std::string index = R"({"weight_map":{"a":"l-0.safetensors","b":"l-1.safetensors"}})";
    const RemoteFile file{kIndexFile, index.size(), std::string(40, '3'), DigestKind::GitBlob};
    put(file, index);
    cache().link(kCommit, file, true);
    EXPECT_EQ(cache().missing_essentials(kCommit),
              (std::vector<std::string>{"config.json", "l-0.safetensors", "l-1.safetensors"}));
}

}  // namespace
}  // namespace deltavino::hub
