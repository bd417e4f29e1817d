#include "hub/repository.hpp"

#include <deltavino/error.hpp>

#include <gtest/gtest.h>

namespace deltavino::hub {
namespace {

using namespace std::string_literals;

ErrorKind kind_of(const std::string& model, const std::string& revision = "") {
    try {
        parse_repository(model, revision);
    } catch (const Error& error) {
        return error.kind();
    }
    ADD_FAILURE() << model << " was accepted";
    return ErrorKind::Internal;
}

TEST(HubRepository, IdAndRevision) {
    EXPECT_EQ(parse_repository("Qwen/Qwen3.5-0.8B", "").id, "Qwen/Qwen3.5-0.8B");
    EXPECT_EQ(parse_repository("Qwen/Qwen3.5-0.8B", "").revision, "main");
    EXPECT_EQ(parse_repository("a/b", "v1").revision, "v1");
    EXPECT_EQ(parse_repository("a/b@refs/pr/7", "").revision, "refs/pr/7");
    EXPECT_EQ(parse_repository("a/b@v1", "v1").id, "a/b");
    EXPECT_EQ(parse_repository("a/b@v1@x", "").revision, "v1@x");
}

TEST(HubRepository, RefusesOtherForms) {
    for (const std::string& model :
         {"a"s, "a/b/c"s, "/a"s, "a/"s, "-a/b"s, "a/b-"s, "a/.b"s, "a/b."s, "a/b--c"s, "a/b..c"s, "a/b.git"s, "a/b c"s,
          "a/b\0c"s, "../b"s, "a/b\n"s, "a/" + std::string(95, 'b')}) {
        EXPECT_EQ(kind_of(model), ErrorKind::Input) << model;
    }
    for (const std::string& revision : {""s, "../x"s, "/x"s, "x/"s, "a//b"s, "a\\b"s, "a\0b"s, "."s}) {
        EXPECT_EQ(kind_of("a/b@" + revision), ErrorKind::Input) << revision;
    }
    EXPECT_EQ(kind_of("a/b@v1", "v2"), ErrorKind::Usage);
}

TEST(HubRepository, Commits) {
    EXPECT_TRUE(is_commit("0123456789abcdef0123456789abcdef01234567"));
    EXPECT_FALSE(is_commit("0123456789ABCDEF0123456789abcdef01234567"));
    EXPECT_FALSE(is_commit("0123456789abcdef0123456789abcdef0123456"));
    EXPECT_FALSE(is_commit("main"));
}

TEST(HubRepository, FileNames) {
    for (const std::string& name : {"config.json"s, "a/b/c.jinja"s, "..a"s, "a b"s, "é.json"s}) {
        EXPECT_NO_THROW(require_safe_file_name(name, "a/b")) << name;
    }
    for (const std::string& name : {""s, "."s, ".."s, "a/../b"s, "/a"s, "a/"s, "a//b"s, "a\\b"s, "a\0"s, "a\x7f"s,
                                    std::string(256, 'a'), std::string(2000, '/')}) {
        EXPECT_THROW(require_safe_file_name(name, "a/b"), Error) << name;
    }
}

TEST(HubRepository, Quoting) {
    EXPECT_EQ(url_quote("refs/pr/1"), "refs%2Fpr%2F1");
    EXPECT_EQ(url_quote("a b/ü?#%.json", "/"), "a%20b/%C3%BC%3F%23%25.json");
}

}  // namespace
}  // namespace deltavino::hub
