#include "tokenizer/settings.hpp"

#include "tokenizer_test_directory.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace deltavino::tokenizer {
namespace {

using test::TokenizerDirectory;
using ::testing::HasSubstr;

using Files = std::map<std::string, std::string>;

struct Reading {
    TokenizerSettings settings;
    Problems input;
    Problems unsupported;

    const AddedToken* named(const std::string& role) const {
        for (const NamedToken& token : settings.named) {
            if (token.role == role) {
                return &token.token;
            }
        }
        return nullptr;
    }
};

Reading read(const Files& files) {
    const TokenizerDirectory directory(files);
    Reading reading;
    reading.settings = read_tokenizer_settings(directory.path(), reading.input, reading.unsupported);
    return reading;
}

TEST(TokenizerSettings, NeedsNoFile) {
    const Reading reading = read(Files{});
    EXPECT_TRUE(reading.input.empty());
    EXPECT_TRUE(reading.settings.named.empty());
    EXPECT_FALSE(reading.settings.model_max_length);
    EXPECT_FALSE(reading.settings.eos);
    EXPECT_EQ(reading.settings.chat_template, "");
}

TEST(TokenizerSettings, ReadsTokens) {
    const Reading reading =
        read({{"tokenizer_config.json", R"({"tokenizer_class":"Qwen2Tokenizer","bos_token":null,"eos_token":"<end>",
        "pad_token":{"content":"<pad>","lstrip":true,"normalized":false,"__type":"AddedToken"},"image_token":"<image>",
        "additional_special_tokens":["<x>"],"extra_special_tokens":{"audio_token":"<audio>"},
        "added_tokens_decoder":{"9":{"content":"<end>","special":true},"10":{"content":"<t>"}}})"}});
    EXPECT_TRUE(reading.input.empty()) << test::text_of(reading.input);
    EXPECT_EQ(reading.settings.tokenizer_class, "Qwen2Tokenizer");
    EXPECT_EQ(reading.named("bos_token"), nullptr);
    ASSERT_NE(reading.named("eos_token"), nullptr);
    EXPECT_EQ(reading.named("eos_token")->content, "<end>");
    EXPECT_TRUE(reading.named("eos_token")->special);
    ASSERT_NE(reading.named("pad_token"), nullptr);
    EXPECT_TRUE(reading.named("pad_token")->lstrip);
    ASSERT_NE(reading.named("image_token"), nullptr);
    EXPECT_EQ(reading.named("audio_token")->content, "<audio>");
    ASSERT_EQ(reading.settings.extra.size(), 1u);
    EXPECT_TRUE(reading.settings.added_is_complete);
    EXPECT_EQ(reading.settings.added.at(9), (AddedToken{"<end>", 9, true, false, false, false, false}));
    EXPECT_EQ(reading.settings.added.at(10), (AddedToken{"<t>", 10, false, false, false, false, true}));
}

TEST(TokenizerSettings, ReadsFilesOfOlderVersions) {
    const Reading reading =
        read({{"tokenizer_config.json", R"({"eos_token":"<old>"})"},
              {"special_tokens_map.json", R"({"eos_token":{"content":"<end>"},"additional_special_tokens":["<x>"]})"},
              {"added_tokens.json", R"({"<t>":7})"}});
    EXPECT_FALSE(reading.settings.added_is_complete);
    EXPECT_EQ(reading.named("eos_token")->content, "<end>");
    EXPECT_EQ(reading.settings.added.at(7).content, "<t>");
    EXPECT_EQ(reading.settings.extra.size(), 1u);
}

TEST(TokenizerSettings, ReadsTheLongestInput) {
    EXPECT_EQ(read({{"tokenizer_config.json", R"({"model_max_length":262144})"}}).settings.model_max_length, 262144);
    EXPECT_FALSE(read({{"tokenizer_config.json", R"({"model_max_length":1000000000000000019884624838656})"}})
                     .settings.model_max_length);
    EXPECT_FALSE(read({{"tokenizer_config.json", R"({"model_max_length":null})"}}).settings.model_max_length);
    EXPECT_THAT(test::text_of(read({{"tokenizer_config.json", R"({"model_max_length":0})"}}).input),
                HasSubstr("model_max_length is 0"));
}

TEST(TokenizerSettings, PrefersTheFileOfTheTemplate) {
    Files files{{"tokenizer_config.json", R"({"chat_template":"config"})"}};
    EXPECT_EQ(read(files).settings.chat_template, "config");
    files["processor_config.json"] = R"({"chat_template":"processor"})";
    EXPECT_EQ(read(files).settings.chat_template, "processor");
    files["chat_template.json"] = R"({"chat_template":"json"})";
    EXPECT_EQ(read(files).settings.chat_template, "json");
    files["chat_template.jinja"] = "jinja\r\n";
    EXPECT_EQ(read(files).settings.chat_template, "jinja\n");
}

TEST(TokenizerSettings, TakesTheDefaultOfSeveralTemplates) {
    const char* text = R"({"chat_template":[{"name":"tool_use","template":"t"},{"name":"default","template":"d"}]})";
    EXPECT_EQ(read({{"tokenizer_config.json", text}}).settings.chat_template, "d");
}

TEST(TokenizerSettings, FindsIdsInOtherFiles) {
    const Reading first = read({{"generation_config.json", R"({"eos_token_id":[5,6],"pad_token_id":7})"},
                                {"config.json", R"({"eos_token_id":8})"}});
    ASSERT_TRUE(first.settings.eos && first.settings.pad);
    EXPECT_EQ(first.settings.eos->id, 5);
    EXPECT_EQ(first.settings.eos->where, "generation_config.json/eos_token_id");
    EXPECT_EQ(first.settings.pad->id, 7);
    const Reading nested = read({{"config.json", R"({"pad_token_id":null,"text_config":{"eos_token_id":9}})"}});
    EXPECT_EQ(nested.settings.eos->id, 9);
    EXPECT_FALSE(nested.settings.pad);
}

TEST(TokenizerSettings, NamesWhatIsWrong) {
    const Reading reading = read(
        {{"tokenizer_config.json", R"({"eos_token":5,"split_special_tokens":true,"clean_up_tokenization_spaces":"no",
        "added_tokens_decoder":{"x":{"content":"a"},"3":"b","4":{}}})"}});
    const std::string text = test::text_of(reading.input);
    EXPECT_THAT(text, HasSubstr("tokenizer_config.json/eos_token is neither a text nor a token"));
    EXPECT_THAT(text, HasSubstr("tokenizer_config.json/clean_up_tokenization_spaces is \"no\""));
    EXPECT_THAT(text, HasSubstr("key 'x' is not a token id"));
    EXPECT_THAT(text, HasSubstr("tokenizer_config.json/added_tokens_decoder/3 is \"b\", expected an object"));
    EXPECT_THAT(text, HasSubstr("tokenizer_config.json/added_tokens_decoder/4/content is missing"));
    EXPECT_THAT(test::text_of(reading.unsupported), HasSubstr("split_special_tokens"));
}

TEST(TokenizerSettings, RefusesIdsThatAreNone) {
    for (const char* id : {"-1", "18446744073709551615", "9223372036854775808", "2147483648", "4098.5", "1e30", "true",
                           "\"4098\"", "[4098, -2]", "{}"}) {
        const std::string ids = fmt::format(R"({{"eos_token_id":{}}})", id);
        for (const char* file : {"generation_config.json", "config.json"}) {
            const Reading reading = read({{file, ids}});
            EXPECT_THAT(test::text_of(reading.input), HasSubstr(std::string(file) + "/eos_token_id is ")) << id;
            EXPECT_FALSE(reading.settings.eos) << id;
        }
        const Reading added = read({{"added_tokens.json", fmt::format(R"({{"<t>":{}}})", id)}});
        EXPECT_THAT(test::text_of(added.input), HasSubstr("added_tokens.json: the id of '<t>' is ")) << id;
    }
    for (const char* key : {"-1", "9223372036854775808", "2147483648", "1.0", ""}) {
        const Reading reading = read(
            {{"tokenizer_config.json", fmt::format(R"({{"added_tokens_decoder":{{"{}":{{"content":"a"}}}}}})", key)}});
        EXPECT_THAT(test::text_of(reading.input), HasSubstr("is not a token id")) << key;
    }
}

}  // namespace
}  // namespace deltavino::tokenizer
