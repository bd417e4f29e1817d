// Whatever decides the bytes of an export decides the name of its entry in the cache.
#include "cache/identity.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <map>

namespace deltavino::cache {
namespace {

namespace fs = std::filesystem;

class CacheIdentity : public testing::Test {
protected:
    CacheIdentity() : folder_(fs::path(testing::TempDir()) / ("cache-identity-" + std::to_string(getpid()))) {
        fs::create_directory(folder_);
        write("config.json", "{}");
        write("text.txt", "In the beginning");
        write("other.txt", "In the beginning");
    }
    ~CacheIdentity() override { fs::remove_all(folder_); }
    CacheIdentity(const CacheIdentity&) = delete;
    CacheIdentity& operator=(const CacheIdentity&) = delete;

    void write(const std::string& name, const std::string& text) const { std::ofstream(folder_ / name) << text; }

    std::string key(const std::function<void(CachedExport&)>& change) const {
        CachedExport wanted;
        wanted.model = folder_.string();
        wanted.compression.weight_format = "int4";
        change(wanted);
        return key_of(export_identity({{"folder", folder_.string()}, {"files", Json::array()}}, wanted));
    }

    fs::path folder_;
};

TEST_F(CacheIdentity, EveryChoiceIsAnotherEntry) {
    using Options = CompressionOptions;
    const std::vector<std::function<void(Options&)>> changes{
        [](Options&) {},
        [](Options& o) { o.recipe = "best"; },
        [](Options& o) { o.recipe = "smallest"; },
        [](Options& o) { o.recipe = "fastest"; },
        [](Options& o) { o.recipe = "npu"; },
        [](Options& o) { o.target_size = "14.5GB"; },
        [](Options& o) { o.target_size = "14.6GB"; },
        [](Options& o) { o.target_bits = 4.3; },
        [](Options& o) { o.target_bits = 4.5; },
        [](Options& o) { o.keep = {"*.out_proj.*=int8_sym"}; },
        [](Options& o) { o.keep = {"*.out_proj.*=int4_asym_g32"}; },
        [](Options& o) { o.keep = {"*.out_proj.*=int4_asym_g32", "*.in_proj_z.*=int8_sym"}; },
        [](Options& o) { o.keep = {"*.in_proj_z.*=int8_sym", "*.out_proj.*=int4_asym_g32"}; },
        [](Options& o) { o.calibrate = "self"; },
        [this](Options& o) { o.calibrate = folder_ / "text.txt"; },
        [this](Options& o) { o.calibrate = folder_ / "other.txt"; },
        [](Options& o) {
            o.calibrate = "self";
            o.calibration_tokens = 4096;
        },
        [](Options& o) { o.sym = true; },
        [](Options& o) { o.group_size = 64; },
        [](Options& o) { o.group_size = -1; },
        [](Options& o) { o.group_size_fallback = "error"; },
        [](Options& o) { o.ratio = 0.8; },
        [](Options& o) { o.backup_precision = "none"; },
        [](Options& o) { o.all_layers = true; },
        [](Options& o) { o.scale_search = "nncf"; },
        [](Options& o) { o.dynamic_quantization = 128; },
        [](Options& o) { o.dynamic_quantization = 0; },
        [](Options& o) { o.weight_format = "nf4"; },
    };
    std::map<std::string, std::size_t> seen;
    for (std::size_t i = 0; i < changes.size(); ++i) {
        const auto change = [&](CachedExport& wanted) {
            changes[i](wanted.compression);
        };
        const auto [place, is_new] = seen.emplace(key(change), i);
        EXPECT_TRUE(is_new) << "choices " << place->second << " and " << i;
        EXPECT_EQ(key(change), place->first) << i;
    }
}

TEST_F(CacheIdentity, AChangedTextOfACalibrationIsAnotherEntry) {
    const auto change = [this](CachedExport& wanted) {
        wanted.compression.calibrate = folder_ / "text.txt";
    };
    const std::string before = key(change);
    write("text.txt", "And the earth was without form");
    EXPECT_NE(key(change), before);
}

TEST_F(CacheIdentity, ThreadsAreNot) {
    EXPECT_EQ(key([](CachedExport& wanted) { wanted.threads = 1; }), key([](CachedExport&) {}));
}

}  // namespace
}  // namespace deltavino::cache
