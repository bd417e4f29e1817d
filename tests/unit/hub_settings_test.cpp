#include "hub/settings.hpp"

#include <deltavino/error.hpp>

#include <gtest/gtest.h>

#include <map>

namespace deltavino::hub {
namespace {

using Variables = std::map<std::string, std::string>;

Settings read(const Variables& variables, const HubOptions& options = {}) {
    return read_settings(
        [&](const char* name) {
            const auto found = variables.find(name);
            return found == variables.end() ? std::nullopt : std::optional<std::string>(found->second);
        },
        options);
}

TEST(HubSettings, Defaults) {
    const Settings settings = read({{"HOME", "/nobody"}});
    EXPECT_EQ(settings.endpoint, "https://huggingface.co");
    EXPECT_EQ(settings.cache, "/nobody/.cache/huggingface/hub");
    EXPECT_EQ(settings.token, "");
    EXPECT_FALSE(settings.offline);
    EXPECT_TRUE(settings.symlinks);
    EXPECT_EQ(settings.stall_seconds, 10);
}

TEST(HubSettings, WhereTheCacheIs) {
    const std::vector<std::pair<Variables, std::string>> cases{
        {{{"HOME", "/h"}, {"XDG_CACHE_HOME", "/x"}}, "/x/huggingface/hub"},
        {{{"HOME", "/h"}, {"HF_HOME", "~/y"}}, "/h/y/hub"},
        {{{"HOME", "/h"}, {"HF_HOME", "~"}}, "/h/hub"},
        {{{"HF_HOME", "/y"}, {"HUGGINGFACE_HUB_CACHE", "/old"}}, "/old"},
        {{{"HF_HUB_CACHE", "/new"}, {"HUGGINGFACE_HUB_CACHE", "/old"}}, "/new"},
        {{{"HF_HUB_CACHE", "$A/${B}/$"}, {"A", "/a"}, {"B", "b"}}, "/a/b/$"},
        {{{"HF_HUB_CACHE", "/$NOT/${SET}/${open"}}, "/$NOT/${SET}/${open"},
    };
    for (const auto& [variables, cache] : cases) {
        EXPECT_EQ(read(variables).cache, cache);
    }
    EXPECT_EQ(read({{"HF_HUB_CACHE", "/new"}}, {.revision = "", .cache_dir = "given"}).cache, "given");
}

TEST(HubSettings, Flags) {
    for (const char* value : {"1", "on", "Yes", "TRUE"}) {
        EXPECT_TRUE(read({{"HF_HUB_OFFLINE", value}}).offline) << value;
        EXPECT_TRUE(read({{"TRANSFORMERS_OFFLINE", value}}).offline) << value;
    }
    for (const char* value : {"0", "", "no", "2"}) {
        EXPECT_FALSE(read({{"HF_HUB_OFFLINE", value}}).offline) << value;
    }
}

TEST(HubSettings, Token) {
    EXPECT_EQ(read({{"HF_TOKEN", " hf_a\n"}}).token, "hf_a");
    EXPECT_EQ(read({{"HUGGING_FACE_HUB_TOKEN", "hf_b"}}).token, "hf_b");
    EXPECT_EQ(read({{"HF_TOKEN", "hf_a"}, {"HF_HUB_DISABLE_IMPLICIT_TOKEN", "1"}}).token, "");
    EXPECT_EQ(read({{"HF_TOKEN", "hf_a"}, {"HF_HUB_OFFLINE", "1"}}).token, "");
    EXPECT_THROW(read({{"HF_TOKEN", "a\nAuthorization: b"}}), Error);
    EXPECT_THROW(read({{"HF_TOKEN", "a\x01"}}), Error);
}

TEST(HubSettings, Endpoint) {
    EXPECT_EQ(read({{"HF_ENDPOINT", "http://localhost:1//"}}).endpoint, "http://localhost:1");
    EXPECT_EQ(read({{"HF_ENDPOINT", ""}}).endpoint, "https://huggingface.co");
    EXPECT_THROW(read({{"HF_ENDPOINT", "hub.example"}}), Error);
    EXPECT_THROW(read({{"HF_ENDPOINT", "file:///etc"}}), Error);
}

TEST(HubSettings, Seconds) {
    EXPECT_EQ(read({{"HF_HUB_DOWNLOAD_TIMEOUT", "60"}}).stall_seconds, 60);
    for (const char* value : {"0", "-1", "x", "1x", "99999999999999999999"}) {
        EXPECT_THROW(read({{"HF_HUB_DOWNLOAD_TIMEOUT", value}}), Error) << value;
    }
}

}  // namespace
}  // namespace deltavino::hub
