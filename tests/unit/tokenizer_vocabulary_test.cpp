#include "tokenizer/vocabulary.hpp"

#include "tokenizer_test_directory.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace deltavino::tokenizer {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

TokenizerFile small_file() {
    TokenizerFile file;
    file.vocab = {{"a", 0}, {"b", 1}, {"ab", 2}, {"Ġ", 3}, {"Ġa", 4}};
    file.merges = {{"a", "b"}, {"Ġ", "a"}};
    return file;
}

AddedToken added(const std::string& content, std::int64_t id, bool special = false) {
    AddedToken token;
    token.content = content;
    token.id = id;
    token.special = special;
    return token;
}

struct Outcome {
    TokenizerVocabulary vocabulary;
    Problems input;
    Problems unsupported;

    std::string input_text() const { return test::text_of(input); }
    std::string unsupported_text() const { return test::text_of(unsupported); }
};

Outcome make(const TokenizerFile& file, const TokenizerSettings& settings = {}) {
    Outcome outcome;
    outcome.vocabulary = make_tokenizer_vocabulary(file, settings, outcome.input, outcome.unsupported);
    return outcome;
}

TEST(ByteAlphabet, GivesTheByteOfEveryCharacter) {
    EXPECT_EQ(bytes_of_token("Az~!"), "Az~!");
    EXPECT_EQ(bytes_of_token("Ġ"), " ");
    EXPECT_EQ(bytes_of_token("Ċ"), "\n");
    EXPECT_EQ(bytes_of_token("Ā"), std::string(1, '\0'));
    EXPECT_EQ(bytes_of_token("Ã©"), "\xC3\xA9");  // 'é' as the byte alphabet spells it
    EXPECT_EQ(bytes_of_token("ÿ"), "\xFF");
    EXPECT_EQ(bytes_of_token("Ń"), "\xAD");
    EXPECT_EQ(bytes_of_token("ł"), "\xA0");
    EXPECT_EQ(bytes_of_token("ġ"), "\x7F");
    EXPECT_EQ(bytes_of_token(""), "");
}

TEST(ByteAlphabet, HasNoOtherCharacters) {
    EXPECT_FALSE(bytes_of_token("a b"));
    EXPECT_FALSE(bytes_of_token("\n"));
    EXPECT_FALSE(bytes_of_token("\xC2\xAD"));  // U+00AD
    EXPECT_FALSE(bytes_of_token("\xC5\x84"));  // U+0144, the first after the alphabet
    EXPECT_FALSE(bytes_of_token("中"));
    EXPECT_FALSE(bytes_of_token("😀"));
    EXPECT_FALSE(bytes_of_token("\xC3"));  // cut off
}

TEST(TokenizerVocabulary, TurnsTokensIntoBytes) {
    TokenizerFile file = small_file();
    file.added_tokens = {added("<end>", 5, true), added("x y", 6), added("é", 7)};
    const Outcome outcome = make(file);
    EXPECT_TRUE(outcome.input.empty()) << outcome.input_text();
    // 'x y' has a blank, which the alphabet lacks, so it is text; 'é' is the byte 0xE9, as in tokenizers.
    EXPECT_THAT(outcome.vocabulary.bytes, ElementsAre("a", "b", "ab", " ", " a", "<end>", "x y", "\xE9"));
    EXPECT_THAT(outcome.vocabulary.merges, ElementsAre(std::pair(0, 1), std::pair(3, 0)));
    EXPECT_THAT(outcome.vocabulary.unreachable, ::testing::Each(false));
}

TEST(TokenizerVocabulary, HidesTokensThatNoMergeGives) {
    TokenizerFile file = small_file();
    file.vocab.insert(file.vocab.end(), {{"bb", 5}, {"bba", 6}, {"Ġab", 7}});
    file.merges.insert(file.merges.end(), {{"bb", "a"}, {"Ġa", "b"}});
    const Outcome outcome = make(file);
    EXPECT_THAT(outcome.vocabulary.unreachable, ElementsAre(false, false, false, false, false, true, true, false));
    EXPECT_THAT(outcome.vocabulary.merges, ElementsAre(std::pair(0, 1), std::pair(3, 0), std::pair(4, 1)));
}

TEST(TokenizerVocabulary, KeepsAnAddedTokenThatNoMergeGives) {
    TokenizerFile file = small_file();
    file.vocab.emplace_back("bb", 5);
    file.added_tokens = {added("bb", 5)};
    EXPECT_FALSE(make(file).vocabulary.unreachable[5]);
}

TEST(TokenizerVocabulary, RefusesBadIds) {
    TokenizerFile file = small_file();
    file.vocab = {{"a", 0}, {"b", 0}, {"c", 9}, {"d", -1}, {"a", 1}};
    const std::string text = make(file).input_text();
    EXPECT_THAT(text, HasSubstr("id 0 is given to both 'a' and 'b'"));
    EXPECT_THAT(text, HasSubstr("token 'c' has id 9, expected 0 to 4 for 5 tokens"));
    EXPECT_THAT(text, HasSubstr("token 'd' has id -1"));
    EXPECT_THAT(text, HasSubstr("token 'a' stands twice"));
    EXPECT_THAT(text, HasSubstr("no token has id 1, 2, 3, 4"));
    EXPECT_THAT(make({}).input_text(), HasSubstr("/model/vocab has no tokens"));
}

TEST(TokenizerVocabulary, RefusesMergesOfUnknownTokens) {
    TokenizerFile file = small_file();
    file.merges.insert(file.merges.end(), {{"a", "q"}, {"b", "a"}});
    const std::string text = make(file).input_text();
    EXPECT_THAT(text, HasSubstr("/model/merges/2: 'q' is not in /model/vocab"));
    EXPECT_THAT(text, HasSubstr("/model/merges/3: 'ba' is not in /model/vocab"));
}

TEST(TokenizerVocabulary, RefusesAddedTokensThatContradictTheVocabulary) {
    TokenizerFile file = small_file();
    file.added_tokens = {added("ab", 5), added("<x>", 1), added("<y>", 7), added("<z>", 7), added("", 9)};
    const std::string text = make(file).input_text();
    EXPECT_THAT(text, HasSubstr("added token 'ab' has id 5, but /model/vocab says 2"));
    EXPECT_THAT(text, HasSubstr("added token '<x>' has id 1, which /model/vocab gives to 'b'"));
    EXPECT_THAT(text, HasSubstr("added token '<y>' has id 7, but the next free id is 5"));
    EXPECT_THAT(text, HasSubstr("id 7 is given to both added tokens '<y>' and '<z>'"));
    EXPECT_THAT(text, HasSubstr("added token 9 has no content"));
}

TEST(TokenizerVocabulary, AddsWhatOnlyTheConfigurationNames) {
    TokenizerFile file = small_file();
    file.added_tokens = {added("<end>", 5, true)};
    TokenizerSettings settings;
    settings.added_is_complete = true;
    settings.added = {{5, added("<end>", 5, true)}, {6, added("<more>", 6)}};
    settings.named = {{"eos_token", added("<end>", -1, true)},
                      {"pad_token", added("<pad>", -1, true)},
                      {"bos_token", added("ab", -1, true)}};
    settings.extra = {added("<extra>", -1, true)};
    const Outcome outcome = make(file, settings);
    EXPECT_TRUE(outcome.input.empty()) << outcome.input_text();
    ASSERT_EQ(outcome.vocabulary.bytes.size(), 9u);
    EXPECT_EQ(outcome.vocabulary.bytes[6], "<more>");
    EXPECT_EQ(outcome.vocabulary.bytes[7], "<pad>");
    EXPECT_EQ(outcome.vocabulary.bytes[8], "<extra>");
    EXPECT_EQ(outcome.vocabulary.eos_id, 5);
    EXPECT_EQ(outcome.vocabulary.pad_id, 7);
    EXPECT_EQ(outcome.vocabulary.bos_id, 2);
}

TEST(TokenizerVocabulary, MakesNamedTokensSpecial) {
    TokenizerFile file = small_file();
    file.added_tokens = {added("<end>", 5, false), added("<t>", 6, false)};
    TokenizerSettings settings;
    settings.named = {{"eos_token", added("<end>", -1, true)}};
    const Outcome outcome = make(file, settings);
    ASSERT_EQ(outcome.vocabulary.added.size(), 2u);
    EXPECT_TRUE(outcome.vocabulary.added[0].special);
    EXPECT_FALSE(outcome.vocabulary.added[1].special);
}

TEST(TokenizerVocabulary, RefusesAListThatContradictsTheFile) {
    TokenizerFile file = small_file();
    file.added_tokens = {added("<end>", 5, true)};
    TokenizerSettings settings;
    settings.added_is_complete = true;
    settings.added = {{6, added("<end>", 6, true)}};
    EXPECT_THAT(make(file, settings).input_text(),
                HasSubstr("gives added token '<end>' id 6, but with tokenizer.json it gets 5"));
}

TEST(TokenizerVocabulary, FallsBackForEndAndPadding) {
    TokenizerSettings settings;
    settings.eos = {3, "generation_config.json/eos_token_id"};
    EXPECT_EQ(make(small_file(), settings).vocabulary.eos_id, 3);
    EXPECT_EQ(make(small_file(), settings).vocabulary.pad_id, 3);
    settings.pad = {1, "config.json/pad_token_id"};
    EXPECT_EQ(make(small_file(), settings).vocabulary.pad_id, 1);
    TokenizerFile file = small_file();
    file.padding_token = "ab";
    EXPECT_EQ(make(file, settings).vocabulary.pad_id, 2);
    settings.eos->id = 5;
    EXPECT_THAT(make(small_file(), settings).input_text(),
                HasSubstr("generation_config.json/eos_token_id is 5, but the tokenizer has 5 tokens"));
    EXPECT_FALSE(make(small_file()).vocabulary.eos_id);
    EXPECT_FALSE(make(small_file()).vocabulary.pad_id);
}

TEST(TokenizerVocabulary, RefusesSingleWords) {
    TokenizerFile file = small_file();
    file.added_tokens = {added("<w>", 5)};
    file.added_tokens[0].single_word = true;
    EXPECT_THAT(make(file).unsupported_text(), HasSubstr("added token '<w>': single_word"));
}

}  // namespace
}  // namespace deltavino::tokenizer
