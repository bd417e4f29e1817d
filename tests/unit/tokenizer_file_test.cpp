#include "tokenizer/file.hpp"

#include "tokenizer_test_directory.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace deltavino::tokenizer {
namespace {

using test::TokenizerDirectory;
using test::TokenizerParts;
using ::testing::HasSubstr;

struct Reading {
    TokenizerFile file;
    Problems input;
    Problems unsupported;
};

Reading read_text(const std::string& text) {
    const TokenizerDirectory directory(std::map<std::string, std::string>{{"tokenizer.json", text}});
    Reading reading;
    reading.file = read_tokenizer_file(directory.path() / "tokenizer.json", reading.input, reading.unsupported);
    return reading;
}

std::string thrown(const std::string& text) {
    try {
        read_text(text);
    } catch (const Error& error) {
        return error.kind() == ErrorKind::Input ? error.what() : "another kind";
    }
    return "nothing";
}

TEST(TokenizerFile, ReadsEveryPart) {
    const Reading reading = read_text(TokenizerParts().json());
    EXPECT_TRUE(reading.input.empty()) << test::text_of(reading.input);
    EXPECT_TRUE(reading.unsupported.empty()) << test::text_of(reading.unsupported);
    const TokenizerFile& file = reading.file;
    ASSERT_EQ(file.vocab.size(), 7u);
    EXPECT_EQ(file.vocab[5], (std::pair<std::string, std::int64_t>("Ġab", 5)));
    ASSERT_EQ(file.merges.size(), 3u);
    EXPECT_EQ(file.merges[2], (std::pair<std::string, std::string>("Ġ", "ab")));
    ASSERT_EQ(file.added_tokens.size(), 2u);
    EXPECT_EQ(file.added_tokens[0], (AddedToken{"<end>", 7, true, false, false, false, false}));
    EXPECT_EQ(file.added_tokens[1], (AddedToken{"<t>", 8, false, false, false, false, false}));
    EXPECT_EQ(file.normalization_form, "nfc");
    EXPECT_FALSE(file.add_prefix_space);
    ASSERT_EQ(file.splits.size(), 1u);
    EXPECT_EQ(file.splits[0].pattern, "\\s*a+");
    EXPECT_EQ(file.splits[0].behaviour, "isolate");
    ASSERT_EQ(file.post_processor.size(), 1u);
    EXPECT_FALSE(file.post_processor[0].id);
    EXPECT_EQ(file.post_processor_json,
              R"({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false})");
    EXPECT_EQ(file.post_processor_ids_json,
              R"({"single": {"ids": [-1], "type_ids": [0]}, "pair": {"ids": [-1, -2], "type_ids": [0, 0]}})");
}

// Takes minutes where each key is looked for among those before it.
TEST(TokenizerFile, ManyKeysTakeTimeInProportion) {
    TokenizerParts parts;
    parts.decoder = R"({"type":"ByteLevel")";
    for (std::size_t i = 0; i < 200'000; ++i) {
        parts.decoder += ",\"" + std::to_string(i) + "\":0";
    }
    parts.decoder += '}';
    EXPECT_TRUE(read_text(parts.json()).input.empty());
}

TEST(TokenizerFile, TemplatesDoNotMultiply) {
    std::string ids = "0";
    std::string single = R"({"Sequence":{"id":"A","type_id":0}})";
    for (std::size_t i = 0; i < 4000; ++i) {
        ids += ",0";
        single += R"(,{"SpecialToken":{"id":"x","type_id":0}})";
    }
    TokenizerParts parts;
    parts.post_processor = R"({"type":"TemplateProcessing","single":[)" + single +
                           R"(],"pair":[],"special_tokens":{"x":{"id":"x","ids":[)" + ids + R"(],"tokens":[]}}})";
    EXPECT_THAT(test::text_of(read_text(parts.json()).input), HasSubstr("more than 4096 elements"));
}

TEST(TokenizerFile, ReadsMergesAsTexts) {
    TokenizerParts parts;
    parts.merges = R"(["#version: 0.2","a b","Ġ a"])";
    const Reading reading = read_text(parts.json());
    EXPECT_TRUE(reading.input.empty());
    ASSERT_EQ(reading.file.merges.size(), 2u);
    EXPECT_EQ(reading.file.merges[1], (std::pair<std::string, std::string>("Ġ", "a")));
}

TEST(TokenizerFile, NamesEveryBadEntryOfTheModel) {
    TokenizerParts parts;
    parts.vocab = R"({"a":0,"b":"1","c":-2,"d":1.5,"e":{"f":[1]},"g":1})";
    parts.merges = R"([["a"],"ab",["a","b"],["a",1],3,"a b c",{"a":"b"},[["a"],"b"]])";
    const Reading reading = read_text(parts.json());
    EXPECT_EQ(reading.file.vocab.size(), 2u);
    EXPECT_EQ(reading.file.merges.size(), 1u);
    const std::string text = test::text_of(reading.input);
    EXPECT_THAT(text, HasSubstr("/model/vocab: token 'b' has no whole number as its id"));
    EXPECT_THAT(text, HasSubstr("/model/vocab: token 'e' has no whole number as its id"));
    EXPECT_THAT(text, HasSubstr("/model/merges/0: it does not have two parts"));
    EXPECT_THAT(text, HasSubstr("/model/merges/0: 'ab' does not have two parts"));
    EXPECT_THAT(text, HasSubstr("/model/merges/1: it is neither 'a b' nor ['a', 'b']"));
}

TEST(TokenizerFile, RefusesWhatIsNotJson) {
    EXPECT_THAT(thrown(""), HasSubstr("cannot read"));
    EXPECT_THAT(thrown("{\"model\": {\"vocab\": {\"a\": "), HasSubstr("cannot read"));
    EXPECT_THAT(thrown("{\"model\": {\"vocab\": {\"\xFF\": 1}}}"), HasSubstr("UTF-8"));
    EXPECT_THAT(thrown("[]"), HasSubstr("expected a JSON object"));
    EXPECT_THAT(thrown(R"({"a":1,"a":2})"), HasSubstr("'a' stands twice"));
    EXPECT_THAT(thrown("{\"a\":" + std::string(100, '[') + std::string(100, ']') + "}"), HasSubstr("nested deeper"));
}

TEST(TokenizerFile, WantsAModelWithVocabAndMerges) {
    EXPECT_THAT(test::text_of(read_text("{}").input), HasSubstr("/model is missing"));
    EXPECT_THAT(test::text_of(read_text(R"({"model":{"type":"BPE","vocab":{"a":0}}})").input),
                HasSubstr("/model/merges is missing"));
    EXPECT_THAT(test::text_of(read_text(R"({"model":{"type":"Unigram","vocab":[["a",0]]}})").unsupported),
                HasSubstr("model 'Unigram', expected 'BPE'"));
}

TEST(TokenizerFile, ReadsNormalizers) {
    TokenizerParts parts;
    parts.normalizer = "null";
    EXPECT_FALSE(read_text(parts.json()).file.normalization_form);
    parts.normalizer = R"({"type":"Sequence","normalizers":[]})";
    EXPECT_FALSE(read_text(parts.json()).file.normalization_form);
    parts.normalizer = R"({"type":"Sequence","normalizers":[{"type":"NFKC"},{"type":"NFKC"}]})";
    EXPECT_EQ(read_text(parts.json()).file.normalization_form, "nfkc");
    parts.normalizer = R"({"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Lowercase"},{"type":"NFD"}]})";
    const std::string text = test::text_of(read_text(parts.json()).unsupported);
    EXPECT_THAT(text, HasSubstr("/normalizer/normalizers/1: normalizer 'Lowercase'"));
    EXPECT_THAT(text, HasSubstr("/normalizer/normalizers/2: normalizer 'NFD' after another form"));
}

TEST(TokenizerFile, ReadsByteLevelAlone) {
    TokenizerParts parts;
    parts.pre_tokenizer = R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false})";
    EXPECT_TRUE(read_text(parts.json()).file.splits.empty());
    parts.pre_tokenizer = R"({"type":"ByteLevel","add_prefix_space":true})";
    const TokenizerFile file = read_text(parts.json()).file;
    EXPECT_TRUE(file.add_prefix_space);
    ASSERT_EQ(file.splits.size(), 1u);
    EXPECT_THAT(file.splits[0].pattern, HasSubstr("\\s+(?!\\S)"));
}

TEST(TokenizerFile, ReadsSplits) {
    TokenizerParts parts;
    parts.pre_tokenizer = R"({"type":"Sequence","pretokenizers":[
        {"type":"Split","pattern":{"String":"a.é"},"behavior":"Removed","invert":true},
        {"type":"ByteLevel","add_prefix_space":false,"use_regex":true}]})";
    const TokenizerFile file = read_text(parts.json()).file;
    ASSERT_EQ(file.splits.size(), 2u);
    EXPECT_EQ(file.splits[0].pattern, "a\\.é");
    EXPECT_EQ(file.splits[0].behaviour, "remove");
    EXPECT_TRUE(file.splits[0].invert);
    EXPECT_EQ(file.splits[1].behaviour, "isolate");
}

TEST(TokenizerFile, NamesUnsupportedPreTokenizers) {
    TokenizerParts parts;
    parts.pre_tokenizer = R"({"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},
        {"type":"Split","pattern":{"Regex":"a"},"behavior":"MergedWithNext","invert":false},
        {"type":"ByteLevel","add_prefix_space":true,"use_regex":false},{"type":"Metaspace"}]})";
    const std::string text = test::text_of(read_text(parts.json()).unsupported);
    EXPECT_THAT(text, HasSubstr("/pre_tokenizer/pretokenizers/0: pre-tokenizer 'Digits'"));
    EXPECT_THAT(text, HasSubstr("/pre_tokenizer/pretokenizers/1/behavior: 'MergedWithNext'"));
    EXPECT_THAT(text, HasSubstr("/pre_tokenizer/pretokenizers/2/add_prefix_space: a blank before every piece"));
    EXPECT_THAT(text, HasSubstr("/pre_tokenizer/pretokenizers/3: pre-tokenizer 'Metaspace' after ByteLevel"));
    parts.pre_tokenizer = "null";
    EXPECT_THAT(test::text_of(read_text(parts.json()).unsupported), HasSubstr("/pre_tokenizer: no ByteLevel"));
}

TEST(TokenizerFile, NamesUnsupportedModelOptions) {
    TokenizerParts parts;
    parts.model_options =
        R"("dropout":0.1,"continuing_subword_prefix":"##","end_of_word_suffix":"</w>","ignore_merges":true)";
    const std::string text = test::text_of(read_text(parts.json()).unsupported);
    EXPECT_THAT(text, HasSubstr("/model/dropout"));
    EXPECT_THAT(text, HasSubstr("/model/continuing_subword_prefix: '##'"));
    EXPECT_THAT(text, HasSubstr("/model/end_of_word_suffix: '</w>'"));
    EXPECT_THAT(text, HasSubstr("/model/ignore_merges"));
}

TEST(TokenizerFile, NamesUnsupportedDecoders) {
    TokenizerParts parts;
    parts.decoder = R"({"type":"Sequence","decoders":[{"type":"ByteLevel"},{"type":"Strip"}]})";
    EXPECT_THAT(test::text_of(read_text(parts.json()).unsupported), HasSubstr("/decoder/decoders/1: decoder 'Strip'"));
    parts.decoder = "null";
    EXPECT_THAT(test::text_of(read_text(parts.json()).unsupported), HasSubstr("/decoder: none"));
}

TEST(TokenizerFile, ReadsATemplate) {
    TokenizerParts parts;
    parts.post_processor = R"({"type":"Sequence","processors":[{"type":"ByteLevel"},{"type":"TemplateProcessing",
        "single":[{"SpecialToken":{"id":"<end>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],
        "pair":[{"SpecialToken":{"id":"<end>","type_id":0}},{"Sequence":{"id":"A","type_id":0}},{"Sequence":{"id":"B","type_id":1}}],
        "special_tokens":{"<end>":{"id":"<end>","ids":[7,8],"tokens":["<end>","<t>"]}}}]})";
    const Reading reading = read_text(parts.json());
    EXPECT_TRUE(reading.input.empty() && reading.unsupported.empty());
    ASSERT_EQ(reading.file.post_processor.size(), 3u);
    EXPECT_EQ(reading.file.post_processor[0].id, 7);
    EXPECT_EQ(reading.file.post_processor[1].id, 8);
    EXPECT_FALSE(reading.file.post_processor[2].id);
    EXPECT_EQ(
        reading.file.post_processor_ids_json,
        R"({"single": {"ids": [7, 8, -1], "type_ids": [0, 0, 0]}, "pair": {"ids": [7, 8, -1, -2], "type_ids": [0, 0, 0, 1]}})");
}

TEST(TokenizerFile, RefusesIdsThatAreNone) {
    for (const char* id : {"-1", "18446744073709551615", "9223372036854775808", "2147483648", "7.5", "7.0", "1e40",
                           "null", "\"7\"", "[7]"}) {
        TokenizerParts parts;
        parts.added = fmt::format(R"([{{"id":{},"content":"<end>"}}])", id);
        const Reading added_tokens = read_text(parts.json());
        EXPECT_THAT(test::text_of(added_tokens.input), HasSubstr("/added_tokens/0/id is ")) << id;
        EXPECT_TRUE(added_tokens.file.added_tokens.empty()) << id;
        parts = {};
        parts.post_processor = fmt::format(
            R"({{"type":"TemplateProcessing","single":[{{"Sequence":{{"id":"A","type_id":0}}}},{{"SpecialToken":{{"id":"<end>","type_id":0}}}}],
            "pair":[{{"Sequence":{{"id":"A","type_id":0}}}},{{"Sequence":{{"id":"B","type_id":0}}}}],
            "special_tokens":{{"<end>":{{"ids":[{}]}}}}}})",
            id);
        EXPECT_THAT(test::text_of(read_text(parts.json()).input), HasSubstr("special_tokens/<end>/ids is ")) << id;
    }
}

TEST(TokenizerFile, NamesBadPostProcessors) {
    TokenizerParts parts;
    parts.post_processor = R"({"type":"BertProcessing","sep":["a",0],"cls":["b",1]})";
    EXPECT_THAT(test::text_of(read_text(parts.json()).unsupported),
                HasSubstr("/post_processor: post-processor 'BertProcessing'"));
    parts.post_processor =
        R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<x>","type_id":0}},{"Sequence":{"id":"B","type_id":0}}],
        "pair":[],"special_tokens":{}})";
    const Reading reading = read_text(parts.json());
    EXPECT_THAT(test::text_of(reading.input),
                HasSubstr("/post_processor/single/0: special_tokens/<x>/ids is missing, expected token ids"));
    EXPECT_THAT(test::text_of(reading.unsupported), HasSubstr("/post_processor/single: the texts 'B', expected 'A'"));
}

TEST(TokenizerFile, QuotesPatterns) {
    EXPECT_EQ(quoted_pattern("<|im_end|>"), "\\<\\|im_end\\|\\>");
    EXPECT_EQ(quoted_pattern("aZ09_é中"), "aZ09_é中");
    EXPECT_EQ(quoted_pattern("[a-z]+\\d\n"), "\\[a\\-z\\]\\+\\\\d\\\n");
}

}  // namespace
}  // namespace deltavino::tokenizer
