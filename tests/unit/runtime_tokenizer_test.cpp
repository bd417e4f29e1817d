// The parts of the tokenizer that need no model.
#include "runtime/chat/tokenizer.hpp"

#include <gtest/gtest.h>

namespace deltavino::runtime {
namespace {

using Paths = std::vector<std::filesystem::path>;

TEST(TokenizerLibrary, TheVariableDecidesAlone) {
    EXPECT_EQ(tokenizer_library_candidates("/x/lib.so", "/site/openvino/libs/libopenvino.so"), (Paths{"/x/lib.so"}));
}

TEST(TokenizerLibrary, IsLookedForBesideOpenVino) {
    const Paths expected{"/site/openvino_tokenizers/lib/libopenvino_tokenizers.so",
                         "/site/openvino/libs/libopenvino_tokenizers.so"};
    EXPECT_EQ(tokenizer_library_candidates(nullptr, "/site/openvino/libs/libopenvino.so.2641"), expected);
    EXPECT_EQ(tokenizer_library_candidates("", "/site/openvino/libs/libopenvino.so.2641"), expected);
    EXPECT_TRUE(tokenizer_library_candidates(nullptr, "").empty());
}

TEST(IsUtf8, KnowsWhatIsAllowed) {
    for (const char* good :
         {"", "plain", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf", "\xed\x9f\xbf"}) {
        EXPECT_TRUE(is_utf8(good)) << good;
    }
    for (const char* bad : {"\x80", "\xc0\xaf", "\xc3", "\xe2\x82", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                            "\xf8\x88\x80\x80\x80", "\xe0\x80\x80", "a\xff"}) {
        EXPECT_FALSE(is_utf8(bad)) << bad;
    }
    EXPECT_TRUE(is_utf8(std::string("a\0b", 3)));
}

// Tokens are bytes here; what is not UTF-8 becomes U+FFFD, one for each byte.
std::string bytes_as_text(std::span<const std::int64_t> ids) {
    std::string raw;
    for (const std::int64_t id : ids) {
        raw += static_cast<char>(id);
    }
    std::string text;
    for (std::size_t i = 0; i < raw.size();) {
        std::size_t size = std::min<std::size_t>(4, raw.size() - i);
        while (size > 0 && !(is_utf8(std::string_view(raw).substr(i, size)))) {
            size -= 1;
        }
        text += size == 0 ? "\xef\xbf\xbd" : raw.substr(i, size);
        i += std::max<std::size_t>(size, 1);
    }
    return text;
}

// What a stream gives for each byte, with "|" between them; the rest after "$".
std::string stream(const std::string& bytes) {
    TextStream text(bytes_as_text);
    std::string out;
    for (const char c : bytes) {
        out += text.push(static_cast<unsigned char>(c)) + "|";
    }
    return out + "$" + text.finish();
}

TEST(TextStream, GivesCharactersWhenTheyAreWhole) {
    EXPECT_EQ(stream("ab"), "a|b|$");
    EXPECT_EQ(stream("\xc3\xa9!"), "|\xc3\xa9|!|$");
    EXPECT_EQ(stream("\xf0\x9f\x98\x80\xf0\x9f\x98\x81"), "|||\xf0\x9f\x98\x80||||\xf0\x9f\x98\x81|$");
}

TEST(TextStream, GivesBrokenBytesAsReplacements) {
    EXPECT_EQ(stream("\xf0\x9f"), "||$\xef\xbf\xbd\xef\xbf\xbd");
    EXPECT_EQ(stream("\xff"
                     "a"),
              "|\xef\xbf\xbd"
              "a|$");
    // No character has more than three unfinished bytes: the fourth broken one releases the first.
    EXPECT_EQ(stream("\xff\xff\xff\xff"), "|||\xef\xbf\xbd|$\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
}

TEST(TextStream, AllPiecesMakeTheWholeText) {
    std::string all;
    for (int i = 0; i < 600; ++i) {
        all += static_cast<char>((i * 37 + i / 7 * 91) & 0xff);
    }
    TextStream text(bytes_as_text);
    std::string pieces;
    std::vector<std::int64_t> ids;
    for (const char c : all) {
        ids.push_back(static_cast<unsigned char>(c));
        pieces += text.push(ids.back());
    }
    EXPECT_EQ(pieces + text.finish(), bytes_as_text(ids));
}

}  // namespace
}  // namespace deltavino::runtime
