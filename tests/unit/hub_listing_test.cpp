#include "hub/listing.hpp"

#include <deltavino/error.hpp>

#include <gtest/gtest.h>

#include <algorithm>

namespace deltavino::hub {
namespace {

const std::string kSha1(40, 'a');
const std::string kSha256(64, 'b');

Listing listing_of(const std::vector<std::string>& names) {
    Listing listing;
    for (const std::string& name : names) {
        listing.push_back({name, 1, kSha1, DigestKind::GitBlob});
    }
    return listing;
}

std::vector<std::string> names_of(const Listing& listing) {
    std::vector<std::string> names;
    for (const RemoteFile& file : listing) {
        names.push_back(file.name);
    }
    std::sort(names.begin(), names.end());
    return names;
}

using Names = std::vector<std::string>;

// Takes minutes where each name is looked for in a list.
TEST(HubListing, ManyShardsTakeTimeInProportion) {
    constexpr std::size_t kCount = 200'000;
    std::vector<std::string> names;
    std::string index = R"({"weight_map": {)";
    for (std::size_t i = 0; i < kCount; ++i) {
        names.push_back("shard-" + std::to_string(i) + ".safetensors");
        index += (i == 0 ? "\"t" : ",\"t") + std::to_string(i) + "\":\"" + names.back() + "\"";
    }
    EXPECT_EQ(weight_files(listing_of(names), index + "}}", "a/b").size(), kCount);
    Needed needed;
    for (const std::string& name : names) {
        needed[name] = 1;
    }
    EXPECT_EQ(read_needed(write_needed(needed)), needed);
}

TEST(HubListing, PagesAddUp) {
    Listing listing;
    add_tree_page(listing,
                  R"([{"type":"directory","path":"onnx","oid":"x","size":0},
                      {"type":"file","path":"config.json","size":12,"oid":")" +
                      kSha1 + R"("}])",
                  "a/b");
    add_tree_page(listing,
                  R"([{"type":"file","path":"m.safetensors","size":134,"oid":")" + kSha1 + R"(","lfs":{"oid":")" +
                      kSha256 + R"(","size":5000000000,"pointerSize":134}}])",
                  "a/b");
    ASSERT_EQ(listing.size(), 2u);
    EXPECT_EQ(listing[0].etag, kSha1);
    EXPECT_EQ(listing[0].size, 12u);
    EXPECT_EQ(listing[0].digest, DigestKind::GitBlob);
    EXPECT_EQ(listing[1].etag, kSha256);
    EXPECT_EQ(listing[1].size, 5000000000u);
    EXPECT_EQ(listing[1].digest, DigestKind::Sha256);
}

TEST(HubListing, AllProblemsAtOnce) {
    Listing listing;
    try {
        add_tree_page(listing, R"([{"type":"file","path":"a","size":1,"oid":"../x"}, 7,
                                   {"type":"file","path":"b","size":-1,"oid":""}])",
                      "a/b");
        FAIL();
    } catch (const Error& error) {
        const std::string text = error.what();
        EXPECT_EQ(error.kind(), ErrorKind::Input);
        EXPECT_NE(text.find("hash of 'a'"), std::string::npos) << text;
        EXPECT_NE(text.find("/1 is not an object"), std::string::npos) << text;
        EXPECT_NE(text.find("/2/size"), std::string::npos) << text;
    }
}

TEST(HubListing, Commit) {
    EXPECT_EQ(commit_of_revision(R"({"id":"a/b","sha":")" + kSha1 + R"("})", "a/b"), kSha1);
    for (const char* json : {"{}", "[]", R"({"sha":"main"})", R"({"sha":"../../x"})", R"({"sha":1})", "no json"}) {
        EXPECT_THROW(commit_of_revision(json, "a/b"), Error) << json;
    }
}

TEST(HubListing, SideFiles) {
    const Listing listing =
        listing_of({"config.json", "tokenizer.json", "chat_template.jinja", "merges.txt", "vocab.txt",
                    "tokenizer.model", "x.tiktoken", "README.md", "LICENSE", "pytorch_model.bin.index.json",
                    "model.safetensors.index.json", "model.safetensors", "onnx/config.json", "original/params.json",
                    "additional_chat_templates/rag.jinja", "notes.txt", "model.gguf"});
    EXPECT_EQ(names_of(side_files(listing)),
              (Names{"additional_chat_templates/rag.jinja", "chat_template.jinja", "config.json", "merges.txt",
                     "model.safetensors.index.json", "tokenizer.json", "tokenizer.model", "vocab.txt", "x.tiktoken"}));
}

TEST(HubListing, Weights) {
    const std::string index = R"({"weight_map":{"a":"l-0.safetensors","b":"l-1.safetensors","c":"l-0.safetensors"}})";
    const Listing sharded = listing_of({"l-0.safetensors", "l-1.safetensors", "model.safetensors", "x.bin"});
    EXPECT_EQ(names_of(weight_files(sharded, index, "a/b")), (Names{"l-0.safetensors", "l-1.safetensors"}));
    EXPECT_EQ(names_of(weight_files(sharded, std::nullopt, "a/b")), Names{"model.safetensors"});
    const Listing others =
        listing_of({"x.safetensors", "y.safetensors", "adapter_model.safetensors", "onnx/z.safetensors"});
    EXPECT_EQ(names_of(weight_files(others, std::nullopt, "a/b")), (Names{"x.safetensors", "y.safetensors"}));
    EXPECT_THROW(weight_files(others, index, "a/b"), Error);
    for (const char* bad : {"{}", "[]", R"({"weight_map":[]})", R"({"weight_map":{"a":1}})",
                            R"({"weight_map":{"a":"../l-0.safetensors"}})"}) {
        EXPECT_THROW(weight_files(sharded, std::string(bad), "a/b"), Error) << bad;
    }
}

TEST(HubListing, UnusableRepositories) {
    const auto kind = [](const std::vector<std::string>& names) {
        try {
            require_checkpoint(listing_of(names), "a/b");
            return ErrorKind::Internal;
        } catch (const Error& error) {
            return error.kind();
        }
    };
    EXPECT_EQ(kind({"config.json", "model.safetensors"}), ErrorKind::Internal);  // nothing thrown
    EXPECT_EQ(kind({"config.json", "model.safetensors", "adapter_config.json"}), ErrorKind::Unsupported);
    EXPECT_EQ(kind({"config.json", "pytorch_model.bin"}), ErrorKind::Unsupported);
    EXPECT_EQ(kind({"model.safetensors"}), ErrorKind::Input);
    EXPECT_EQ(kind({}), ErrorKind::Unsupported);
}

TEST(HubListing, TreeFileOfHuggingfaceHub) {
    const auto listing = read_tree_file(R"({"format_version":1,"files":{
        "config.json":{"size":3,"blob_id":")" +
                                            kSha1 + R"("},
        "m.safetensors":{"size":9,"blob_id":")" +
                                            kSha1 + R"(","lfs_sha256":")" + kSha256 + R"(","lfs_size":9}}})",
                                        "a/b");
    ASSERT_TRUE(listing.has_value());
    EXPECT_EQ(find_file(*listing, "m.safetensors")->etag, kSha256);
    EXPECT_EQ(find_file(*listing, "config.json")->size, 3u);
    for (const char* bad : {"", "[]", "{}", R"({"format_version":2,"files":{}})", R"({"format_version":1,"files":[]})",
                            R"({"format_version":1,"files":{"../x":{"size":1,"blob_id":"a"}}})",
                            R"({"format_version":1,"files":{"x":7}})"}) {
        EXPECT_FALSE(read_tree_file(bad, "a/b").has_value()) << bad;
    }
}

TEST(HubListing, NeededComesBack) {
    const Needed needed{{"config.json", 3}, {"a/b.jinja", 0}};
    EXPECT_EQ(read_needed(write_needed(needed)), needed);
    for (const char* bad : {"", "[]", "{}", R"({"format_version":1,"files":{}})",
                            R"({"format_version":1,"files":{"../x":1}})", R"({"format_version":1,"files":{"x":-1}})"}) {
        EXPECT_FALSE(read_needed(bad).has_value()) << bad;
    }
}

}  // namespace
}  // namespace deltavino::hub
