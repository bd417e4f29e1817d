#include "tokenizer/ir.hpp"

#include "base/error.hpp"
#include "tokenizer_test_directory.hpp"

#include <openvino/op/constant.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

namespace deltavino::tokenizer {
namespace {

using test::TokenizerDirectory;
using test::TokenizerParts;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kConfig =
    R"({"tokenizer_class":"Qwen2Tokenizer","eos_token":"<end>","pad_token":"<end>","model_max_length":100,"chat_template":"{{ messages }}"})";

TokenizerModels build(const TokenizerParts& parts, const std::string& config = kConfig) {
    const TokenizerDirectory directory(parts);
    directory.write("tokenizer_config.json", config);
    return build_tokenizer_models(directory.path());
}

// Every operation that computes something, inputs first.
std::vector<std::string> operations(const ov::Model& model) {
    std::vector<std::string> types;
    for (const auto& node : model.get_ordered_ops()) {
        const std::string type = node->get_type_info().name;
        if (type != "Constant" && type != "Parameter" && type != "Result") {
            types.push_back(type);
        }
    }
    return types;
}

std::shared_ptr<ov::Node> find(const ov::Model& model, const std::string& type) {
    for (const auto& node : model.get_ordered_ops()) {
        if (node->get_type_info().name == type) {
            return node;
        }
    }
    throw std::runtime_error("no " + type);
}

const ov::op::v0::Constant& constant(const std::shared_ptr<ov::Node>& node, std::size_t port) {
    return dynamic_cast<const ov::op::v0::Constant&>(*node->get_input_node_ptr(port));
}
std::string text(const std::shared_ptr<ov::Node>& node, std::size_t port) {
    const auto& bytes = constant(node, port);
    return {static_cast<const char*>(bytes.get_data_ptr()), bytes.get_byte_size()};
}
std::vector<std::string> strings(const std::shared_ptr<ov::Node>& node, std::size_t port) {
    const auto begins = constant(node, port).cast_vector<std::int32_t>();
    const auto ends = constant(node, port + 1).cast_vector<std::int32_t>();
    const std::string bytes = text(node, port + 2);
    std::vector<std::string> result;
    for (std::size_t i = 0; i < begins.size(); ++i) {
        result.push_back(
            bytes.substr(static_cast<std::size_t>(begins[i]), static_cast<std::size_t>(ends[i] - begins[i])));
    }
    return result;
}

std::string info_of(const graph::RuntimeInfo& info, const std::string& key) {
    for (const auto& [name, value] : info) {
        if (name == key) {
            return value;
        }
    }
    return "missing";
}

std::string error_of(const TokenizerParts& parts, ErrorKind kind) {
    try {
        build(parts);
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), kind);
        return error.what();
    }
    return "nothing";
}

TEST(TokenizerIr, HasTheShapeThatGenAiLooksFor) {
    const TokenizerModels models = build({});
    std::vector<std::string> chain = operations(*models.tokenizer);
    for (const char* type : {"StringTensorUnpack", "SpecialTokensSplit", "RegexSplit", "BPETokenizer", "ReadValue",
                             "Select", "Truncate", "CombineSegments", "ReduceMax", "RaggedToDense", "Assign"}) {
        EXPECT_EQ(std::count(chain.begin(), chain.end(), type), 1) << type;
    }
    // Decompose, reorder marks, gather those that compose, compose.
    EXPECT_EQ(std::count(chain.begin(), chain.end(), "CharsMapNormalization"), 2);
    EXPECT_EQ(std::count(chain.begin(), chain.end(), "RegexNormalization"), 6);
    EXPECT_EQ(chain.size(), 28u);
    EXPECT_THAT(operations(*models.detokenizer),
                ElementsAre("Convert", "VocabDecoder", "FuzeRagged", "UTF8Validate", "StringTensorPack"));

    const auto truncate = find(*models.tokenizer, "Truncate");
    EXPECT_EQ(find(*models.tokenizer, "CombineSegments")->get_input_node_ptr(1), truncate.get());
    const auto select = truncate->get_input_node_shared_ptr(3);
    EXPECT_STREQ(select->get_type_info().name, "Select");
    EXPECT_STREQ(select->get_input_node_ptr(0)->get_type_info().name, "ReadValue");
    EXPECT_THAT(constant(select, 1).cast_vector<std::int32_t>(), ElementsAre(100));
    EXPECT_THAT(constant(select, 2).cast_vector<std::int32_t>(), ElementsAre(2147483583));
    EXPECT_EQ(text(truncate, 4), "left");
    EXPECT_EQ(text(truncate, 5), "longest_first");
    EXPECT_THAT(find(*models.detokenizer, "VocabDecoder")->get_friendly_name(), HasSubstr("VocabDecoder"));

    ASSERT_EQ(models.tokenizer->outputs().size(), 2u);
    EXPECT_TRUE(models.tokenizer->output(0).get_names().count("input_ids"));
    EXPECT_TRUE(models.tokenizer->output(1).get_names().count("attention_mask"));
    EXPECT_EQ(models.tokenizer->output(0).get_element_type(), ov::element::i64);
    EXPECT_TRUE(models.detokenizer->output(0).get_names().count("string_output"));
}

TEST(TokenizerIr, FindsNormalizedTokensInBothSpellings) {
    TokenizerParts parts;
    parts.added = R"([{"id":7,"content":"\u00e9!","normalized":true},{"id":8,"content":"\u00e9?","normalized":false}])";
    const TokenizerModels models = build(parts);
    const auto bpe = find(*models.tokenizer, "BPETokenizer");
    EXPECT_THAT(strings(bpe, 14), ElementsAre("\xC3\xA9!", "e\xCC\x81!", "\xC3\xA9?", "<end>"));
    EXPECT_THAT(constant(bpe, 17).cast_vector<std::int32_t>(), ElementsAre(7, 7, 8, 9));
    EXPECT_EQ(text(find(*models.tokenizer, "SpecialTokensSplit"), 5),
              "(\xC3\xA9\\?|\xC3\xA9\\!|e\xCC\x81\\!|\\<end\\>)");
}

TEST(TokenizerIr, RefusesMoreIdsThanTheEmbeddingHasRows) {
    const auto error = [](const TokenizerParts& parts, const std::string& config, std::uint64_t rows) -> std::string {
        const test::TokenizerDirectory directory(
            std::map<std::string, std::string>{{"tokenizer.json", parts.json()}, {"tokenizer_config.json", config}});
        try {
            const TokenizerModels models = build_tokenizer_models(directory.path(), rows);
            return models.notes.empty() ? "fits" : "note: " + models.notes.front();
        } catch (const Error& failure) {
            return failure.what();
        }
    };
    EXPECT_EQ(error({}, "{}", 9), "fits");
    EXPECT_THAT(error({}, "{}", 8), HasSubstr("note: the embedding has 8 rows: 1 added tokens"));
    EXPECT_THAT(error({}, R"({"eos_token":"<t>"})", 8), HasSubstr("eos_token has id 8, but the embedding has 8 rows"));
    EXPECT_THAT(error({}, R"({"chat_template":"{{ '<t>' }}"})", 8), HasSubstr("the chat template writes '<t>'"));
    EXPECT_THAT(error({}, "{}", 6), HasSubstr("/model/vocab has 7 tokens, but the embedding has 6 rows"));
}

TEST(TokenizerIr, StoresTokensAsBytes) {
    const TokenizerModels models = build({});
    const auto bpe = find(*models.tokenizer, "BPETokenizer");
    ASSERT_EQ(bpe->get_input_size(), 18u);
    EXPECT_THAT(strings(bpe, 5), ElementsAre("a", "b", "ab", " ", " a", " ab", "\xE9", "<end>", "<t>"));
    EXPECT_THAT(strings(bpe, 8), ElementsAre("a", " ", " "));
    EXPECT_THAT(strings(bpe, 11), ElementsAre("b", "a", "ab"));
    EXPECT_THAT(strings(bpe, 14), ElementsAre("<end>", "<t>"));
    EXPECT_THAT(constant(bpe, 17).cast_vector<std::int32_t>(), ElementsAre(7, 8));
    const auto decoder = find(*models.detokenizer, "VocabDecoder");
    EXPECT_EQ(strings(decoder, 1), strings(bpe, 5));
    EXPECT_THAT(constant(decoder, 4).cast_vector<std::int32_t>(), ElementsAre(7));  // the special one
    EXPECT_EQ(text(find(*models.tokenizer, "SpecialTokensSplit"), 5), "(\\<t\\>|\\<end\\>)");
    EXPECT_EQ(text(find(*models.tokenizer, "RegexSplit"), 6), "\\s*a+");
    EXPECT_THAT(constant(find(*models.tokenizer, "RaggedToDense"), 4).cast_vector<std::int32_t>(), ElementsAre(7));
}

TEST(TokenizerIr, HidesUnreachableTokensFromTheEncoderOnly) {
    TokenizerParts parts;
    parts.merges = R"([["a","b"],["Ġ","a"]])";
    const TokenizerModels models = build(parts);
    EXPECT_EQ(strings(find(*models.tokenizer, "BPETokenizer"), 5)[5], "\xFF ab");
    EXPECT_EQ(strings(find(*models.detokenizer, "VocabDecoder"), 1)[5], " ab");
}

TEST(TokenizerIr, GroupsAddedTokensByTheSpaceTheyTake) {
    TokenizerParts parts;
    parts.added =
        R"([{"id":7,"content":"<m>","lstrip":true},{"id":8,"content":"<n>","rstrip":true},{"id":9,"content":"<n>x"},{"id":10,"content":"<o>x","lstrip":true,"rstrip":true},{"id":11,"content":"a+","special":true}])";
    const TokenizerModels models = build(parts, "{}");
    EXPECT_EQ(text(find(*models.tokenizer, "SpecialTokensSplit"), 5),
              R"((a\+)|(?:\s*)(\<o\>x)(?:\s*)|(\<n\>x)|(\<n\>)(?:\s*)|(?:\s*)(\<m\>))");
}

TEST(TokenizerIr, WorksWithoutAddedTokensAndNormalizer) {
    TokenizerParts parts;
    parts.added = "[]";
    parts.normalizer = "null";
    const TokenizerModels models = build(parts, "{}");
    EXPECT_THAT(operations(*models.tokenizer), Not(::testing::Contains("SpecialTokensSplit")));
    EXPECT_THAT(operations(*models.tokenizer), Not(::testing::Contains("CharsMapNormalization")));
    EXPECT_EQ(find(*models.tokenizer, "BPETokenizer")->get_input_size(), 14u);
    EXPECT_EQ(find(*models.tokenizer, "RegexSplit")->get_input_size(), 6u);
    EXPECT_EQ(info_of(models.tokenizer_info, "eos_token_id"), "missing");
    EXPECT_EQ(info_of(models.tokenizer_info, "chat_template"), "missing");
}

TEST(TokenizerIr, PutsTheTokensOfATemplateAroundTheText) {
    TokenizerParts parts;
    parts.post_processor =
        R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<t>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],
        "pair":[{"SpecialToken":{"id":"<t>","type_id":0}},{"Sequence":{"id":"A","type_id":0}},{"Sequence":{"id":"B","type_id":1}}],
        "special_tokens":{"<t>":{"id":"<t>","ids":[8],"tokens":["<t>"]}}})";
    const TokenizerModels models = build(parts);
    const auto combine = find(*models.tokenizer, "CombineSegments");
    ASSERT_EQ(combine->get_input_size(), 7u);
    EXPECT_THAT(constant(combine, 1).cast_vector<std::int32_t>(), ElementsAre(1));
    EXPECT_THAT(constant(combine, 2).cast_vector<std::int32_t>(), ElementsAre(8));
    EXPECT_THAT(constant(combine, 6).cast_vector<std::int32_t>(), ElementsAre(0, 0));
    const auto select = find(*models.tokenizer, "Truncate")->get_input_node_shared_ptr(3);
    EXPECT_THAT(constant(select, 1).cast_vector<std::int32_t>(), ElementsAre(99));
}

TEST(TokenizerIr, StatesWhatConsumersAsk) {
    const TokenizerModels models = build({});
    EXPECT_EQ(models.tokenizer_info, models.detokenizer_info);
    const graph::RuntimeInfo& info = models.tokenizer_info;
    EXPECT_EQ(info_of(info, "eos_token_id"), "7");
    EXPECT_EQ(info_of(info, "pad_token_id"), "7");
    EXPECT_EQ(info_of(info, "bos_token_id"), "missing");
    EXPECT_EQ(info_of(info, "chat_template"), "{{ messages }}");
    EXPECT_NE(info_of(info, "openvino_tokenizers_version"), "missing");
    EXPECT_EQ(info_of(info, "original_tokenizer_class"), "Qwen2Tokenizer");
    EXPECT_EQ(info_of(info, "transformers_version"), "missing");
    EXPECT_TRUE(std::is_sorted(info.begin(), info.end()));
}

TEST(TokenizerIr, CanBeWritten) {
    const TokenizerModels models = build({});
    const graph::IrLayout layout = graph::lay_out_ir(*models.tokenizer, models.tokenizer_info, {}, {});
    EXPECT_THAT(layout.xml, HasSubstr(R"(type="BPETokenizer" version="extension")"));
    EXPECT_THAT(
        layout.xml,
        HasSubstr(
            R"(<data unk_token="" fuse_unk="false" suffix_indicator="" end_suffix="" byte_fallback="false" cache_capacity="20000" />)"));
    EXPECT_THAT(
        layout.xml,
        HasSubstr(
            R"(<data add_dummy_prefix="false" remove_extra_whitespaces="false" escape_whitespaces="false" normalization_form="nfc" case_fold="false" nmt="false" />)"));
    EXPECT_THAT(layout.xml, HasSubstr(R"(<data pad_right="false" m_pad_max_length="false" />)"));
    EXPECT_THAT(layout.xml,
                HasSubstr(R"(<data variable_id="truncation" variable_type="dynamic" variable_shape="..." />)"));
    EXPECT_THAT(layout.xml, HasSubstr(R"(type="StringTensorUnpack" version="opset15")"));
    EXPECT_EQ(layout.inline_constants.size() > 10, true);
}

TEST(TokenizerIr, ReportsEverythingAtOnce) {
    TokenizerParts parts;
    parts.vocab = R"({"a":0,"b":2})";
    parts.added = R"([{"id":"x","content":"<t>"}])";
    const std::string wrong = error_of(parts, ErrorKind::Input);
    EXPECT_THAT(wrong, HasSubstr("token 'b' has id 2"));
    EXPECT_THAT(wrong, HasSubstr("/added_tokens/0/id is \"x\", expected a token id"));
    TokenizerParts lower;
    lower.normalizer = R"({"type":"Lowercase"})";
    lower.decoder = R"({"type":"WordPiece"})";
    const std::string unsupported = error_of(lower, ErrorKind::Unsupported);
    EXPECT_THAT(unsupported, HasSubstr("'Lowercase'"));
    EXPECT_THAT(unsupported, HasSubstr("'WordPiece'"));
}

TEST(TokenizerIr, SaysWhatToDoWithoutTokenizerJson) {
    const TokenizerDirectory directory(std::map<std::string, std::string>{{"vocab.json", "{}"}, {"merges.txt", ""}});
    try {
        build_tokenizer_models(directory.path());
        FAIL();
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::Input);
        EXPECT_THAT(error.what(),
                    HasSubstr("has no tokenizer.json (vocab.json and merges.txt do not say how text is split)"));
        EXPECT_THAT(error.what(), HasSubstr("AutoTokenizer.from_pretrained(directory).save_pretrained(directory)"));
    }
}

}  // namespace
}  // namespace deltavino::tokenizer
