// Expected values: `sha256sum` and `git hash-object`.
#include "hub/digest.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace deltavino::hub {
namespace {

std::string hash(DigestKind kind, const std::string& text, std::size_t step) {
    Digest digest(kind, text.size());
    for (std::size_t at = 0; at < text.size(); at += step) {
        digest.update(std::as_bytes(std::span(text).subspan(at, std::min(step, text.size() - at))));
    }
    return digest.finish();
}

TEST(HubDigest, Sha256) {
    EXPECT_EQ(hash(DigestKind::Sha256, "", 1), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    for (const std::size_t step : {1, 2, 3}) {
        EXPECT_EQ(hash(DigestKind::Sha256, "abc", step),
                  "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}

TEST(HubDigest, GitBlob) {
    EXPECT_EQ(hash(DigestKind::GitBlob, "", 1), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
    EXPECT_EQ(hash(DigestKind::GitBlob, "hello\n", 4), "ce013625030ba8dba906f756967f9e9ca394464a");
}

}  // namespace
}  // namespace deltavino::hub
