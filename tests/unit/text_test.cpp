#include "base/text.hpp"

#include <gtest/gtest.h>

namespace deltavino {
namespace {

TEST(Text, XmlIsEscaped) {
    EXPECT_EQ(xml_escaped("a < b & \"c\" > d"), "a &lt; b &amp; &quot;c&quot; &gt; d");
    EXPECT_EQ(xml_escaped("1\n2\t3\r"), "1&#10;2&#9;3&#13;");
    EXPECT_EQ(xml_escaped("\xc3\xa4 'x'"), "\xc3\xa4 'x'");
}

TEST(HumanBytes, UsesDecimalUnits) {
    EXPECT_EQ(human_bytes(0), "0 bytes");
    EXPECT_EQ(human_bytes(999), "999 bytes");
    EXPECT_EQ(human_bytes(1000), "1.0 kB");
    EXPECT_EQ(human_bytes(1'746'942'000), "1.7 GB");
    EXPECT_EQ(human_bytes(999'960'000), "1.0 GB");
}

TEST(EditDistance, CountsSingleEdits) {
    EXPECT_EQ(edit_distance("", "abc"), 3u);
    EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
    EXPECT_EQ(edit_distance("same", "same"), 0u);
}

TEST(Closest, SuggestsOnlyLikelyTypos) {
    EXPECT_EQ(closest("qwen3_6", {"qwen3_5", "qwen3_next"}), "qwen3_5");
    EXPECT_EQ(closest("llama", {"qwen3_5", "qwen3_next"}), "");
}

TEST(GlobMatches, StarAndQuestionMark) {
    EXPECT_TRUE(glob_matches("*", ""));
    EXPECT_TRUE(glob_matches("model.layers.*.mlp.*", "model.layers.3.mlp.up_proj.weight"));
    EXPECT_TRUE(glob_matches("a?c", "abc"));
    EXPECT_TRUE(glob_matches("*b*b", "abbb"));
    EXPECT_FALSE(glob_matches("a?c", "ac"));
    EXPECT_FALSE(glob_matches("*.weight", "weight.x"));
    EXPECT_FALSE(glob_matches("", "x"));
}

TEST(FormatTable, AlignsNumbersRight) {
    EXPECT_EQ(format_table({{"name", "n"}, {"a", "12"}, {"bcdef", "3"}}), "name   n\na      12\nbcdef   3\n");
}

}  // namespace
}  // namespace deltavino
