#include "base/unicode.hpp"

#include <gtest/gtest.h>

namespace deltavino {
namespace {

TEST(Unicode, Normalizes) {
    EXPECT_EQ(normalized("a\xCC\x82\xCC\xA3", "nfc"), "\xE1\xBA\xAD");      // a, circumflex, dot below
    EXPECT_EQ(normalized("A\xCC\xA7\xCC\x81", "nfc"), "\xC3\x81\xCC\xA7");  // past a mark
    EXPECT_EQ(normalized("\xC3\xA9", "nfd"), "e\xCC\x81");
    EXPECT_EQ(normalized("\xEF\xAC\x81", "nfkc"), "fi");
    EXPECT_EQ(normalized("\xEF\xAC\x81", "nfc"), "\xEF\xAC\x81");
    EXPECT_EQ(normalized("a\xCC\x82\xCC\xA3", ""), "a\xCC\x82\xCC\xA3");
    EXPECT_EQ(normalized(std::string("a\0b", 3), "nfc"), std::string("a\0b", 3));
    EXPECT_EQ(normalized("", "nfc"), "");
}

TEST(Unicode, KeepsTheBaseOfTrailingConsonants) {
    EXPECT_EQ(normalized("\xEA\xB0\x80\xE1\x86\xA7\xE1\x86\xA7x", "nfc"), "\xEA\xB0\x80\xE1\x86\xA7\xE1\x86\xA7x");
    EXPECT_EQ(normalized("\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8", "nfc"), "\xEA\xB0\x81");
}

TEST(Unicode, KnowsCombiningClasses) {
    EXPECT_EQ(combining_class(U'a'), 0);
    EXPECT_EQ(combining_class(0x301), 230);
    EXPECT_EQ(combining_class(0x323), 220);
    EXPECT_EQ(utf8(0x10FFFF), "\xF4\x8F\xBF\xBF");
}

}  // namespace
}  // namespace deltavino
