// See ir.hpp. Ground truth: what openvino_tokenizers.convert_tokenizer writes for a byte-level
// BPE tokenizer (2026.4.1), node by node, and what GenAI's make_tokenizer_stateful.cpp looks for in it:
//   - Truncate whose length is Select(ReadValue "truncation", constant, constant), right before
//     CombineSegments, whose other inputs are constants;
//   - RaggedToDense with a pad_right attribute;
//   - VocabDecoder with the skipped ids as a constant, in a node whose name holds "VocabDecoder".
// Byte-level tokens need no operator: vocabulary and merges are stored as raw bytes.
#include "tokenizer/ir.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/unicode.hpp"
#include "graph/extension_op.hpp"
#include "graph/names.hpp"
#include "graph/ops.hpp"
#include "tokenizer/chat_template.hpp"
#include "tokenizer/file.hpp"
#include "tokenizer/normalization.hpp"
#include "tokenizer/settings.hpp"
#include "tokenizer/vocabulary.hpp"

#include <openvino/core/version.hpp>
#include <openvino/op/assign.hpp>
#include <openvino/op/range.hpp>
#include <openvino/op/read_value.hpp>
#include <openvino/op/reduce_max.hpp>
#include <openvino/op/result.hpp>
#include <openvino/op/string_tensor_pack.hpp>
#include <openvino/op/string_tensor_unpack.hpp>

#include <algorithm>
#include <limits>
#include <set>

namespace deltavino::tokenizer {
namespace {

namespace fs = std::filesystem;
using graph::ExtensionAttributes;
using graph::ExtensionOutputs;
using graph::Value;
using ov::element::boolean;
using ov::element::i32;
using ov::element::i64;
using ov::element::u8;

// The operators and their forms are those of this version; GenAI only asks whether the key is there.
constexpr const char* kTokenizersVersion = "2026.4.1.0";
// The operators keep results of the BPE step: this share of the vocabulary, at least so many.
constexpr double kCacheShare = 0.2;
constexpr std::size_t kMinCache = 20000;
// "No limit" of the Truncate operator, which fails for the 64 largest values.
constexpr std::int32_t kNoTruncation = std::numeric_limits<std::int32_t>::max() - 64;

// How often marks are reordered and gathered: right for runs of four combining classes, and three compositions.
constexpr int kReorderings = 3;
constexpr int kCompositions = 3;

const ov::PartialShape kList{-1};
const ov::PartialShape kTable{-1, -1};

ov::OutputVector operator+(ov::OutputVector left, const ov::OutputVector& right) {
    left.insert(left.end(), right.begin(), right.end());
    return left;
}

std::shared_ptr<ov::Node> extension(const char* type, const ov::OutputVector& inputs, ExtensionAttributes attributes,
                                    ExtensionOutputs outputs) {
    return std::make_shared<graph::ExtensionOp>(type, inputs, std::move(attributes), std::move(outputs));
}

template <typename T>
Value list_constant(ov::element::Type type, const std::vector<T>& values) {
    return std::make_shared<ov::op::v0::Constant>(type, ov::Shape{values.size()}, values.data())->output(0);
}

Value text_constant(const std::string& text) {
    return list_constant(u8, std::vector<char>(text.begin(), text.end()));
}

// A list of byte strings as three constants: where each begins, where it ends, all bytes.
class PackedStrings {
public:
    void add(std::string_view text, std::string_view prefix = {}) {
        begins_.push_back(static_cast<std::int32_t>(bytes_.size()));
        bytes_.insert(bytes_.end(), prefix.begin(), prefix.end());
        bytes_.insert(bytes_.end(), text.begin(), text.end());
        ends_.push_back(static_cast<std::int32_t>(bytes_.size()));
    }
    ov::OutputVector constants() const {
        return {list_constant(i32, begins_), list_constant(i32, ends_), list_constant(u8, bytes_)};
    }

private:
    std::vector<std::int32_t> begins_;
    std::vector<std::int32_t> ends_;
    std::vector<char> bytes_;
};

class TokenizerBuilder {
public:
    TokenizerBuilder(const TokenizerFile& file, const TokenizerSettings& settings,
                     const TokenizerVocabulary& vocabulary, Padding padding)
        : file_(file), settings_(settings), vocabulary_(vocabulary), padding_(padding) {}

    std::shared_ptr<ov::Model> tokenizer() const {
        const auto input = graph::parameter(ov::element::string, kList, "string_input");
        const auto unpacked = std::make_shared<ov::op::v15::StringTensorUnpack>(input);
        Pieces pieces{rows(unpacked->output(0)), unpacked->outputs()};
        split_added_tokens(pieces);
        normalize(pieces);
        for (const SplitStep& step : file_.splits) {
            split(pieces, step);
        }
        const ov::OutputVector tokens = encode(pieces);

        const auto variable = std::make_shared<ov::op::util::Variable>(
            ov::op::util::VariableInfo{ov::PartialShape::dynamic(), ov::element::dynamic, "truncation"});
        const auto enabled = std::make_shared<ov::op::v6::ReadValue>(
            std::make_shared<ov::op::v0::Constant>(boolean, ov::Shape{}, false), variable);
        const auto keep = std::make_shared<ov::op::v6::Assign>(enabled, variable);

        const ov::OutputVector combined = combine(truncate(tokens, enabled));
        const auto dense = pad(combined);
        const Value mask = graph::convert(graph::convert(dense->output(1), i32), i64);
        const Value ids = graph::convert(dense->output(0), i64);
        ids.get_tensor().set_names({graph::names::kInputIds});
        mask.get_tensor().set_names({graph::names::kAttentionMask});
        const ov::ResultVector results{std::make_shared<ov::op::v0::Result>(ids),
                                       std::make_shared<ov::op::v0::Result>(mask)};
        return std::make_shared<ov::Model>(results, ov::SinkVector{keep}, ov::ParameterVector{input},
                                           ov::op::util::VariableVector{variable}, "tokenizer");
    }

    std::shared_ptr<ov::Model> detokenizer() const {
        const auto input = graph::parameter(i64, kTable, "token_ids");
        PackedStrings words;
        for (const std::string& bytes : vocabulary_.bytes) {
            words.add(bytes);
        }
        std::vector<std::int32_t> skipped;
        for (const AddedToken& token : vocabulary_.added) {
            if (token.special) {
                skipped.push_back(static_cast<std::int32_t>(token.id));
            }
        }
        const auto decoder =
            extension("VocabDecoder",
                      ov::OutputVector{graph::convert(input, i32)} + words.constants() +
                          ov::OutputVector{list_constant(i32, skipped)},
                      {{"skip_tokens", ""}}, {{i32, kList}, {i32, kList}, {i32, kList}, {i32, kList}, {u8, kList}});
        decoder->set_friendly_name("VocabDecoder");
        const auto fused =
            extension("FuzeRagged", {decoder->output(0), decoder->output(1), decoder->output(2), decoder->output(3)},
                      {}, {{i32, kList}, {i32, kList}});
        auto text = extension("UTF8Validate", {fused->output(0), fused->output(1), decoder->output(4)},
                              {{"replace_mode", "true"}}, {{i32, kList}, {i32, kList}, {u8, kList}});
        if (settings_.clean_up_tokenization_spaces) {
            // As transformers' clean_up_tokenization: no blank before these.
            const Value blank_before = text_constant(R"((?| ([.?!,]|n't|'(?:m|s|ve|re))| (') ))");
            text =
                extension("RegexNormalization", text->outputs() + ov::OutputVector{blank_before, text_constant("$1")},
                          {{"global_replace", "true"}}, {{i32, kList}, {i32, kList}, {u8, kList}});
        }
        const auto packed =
            std::make_shared<ov::op::v15::StringTensorPack>(text->output(0), text->output(1), text->output(2));
        packed->output(0).get_tensor().set_names({"string_output"});
        return std::make_shared<ov::Model>(ov::ResultVector{std::make_shared<ov::op::v0::Result>(packed)},
                                           ov::ParameterVector{input}, "detokenizer");
    }

    graph::RuntimeInfo info() const {
        graph::RuntimeInfo info{
            {"add_attention_mask", "True"},
            {"add_special_tokens", "True"},
            {"clean_up_tokenization_spaces", settings_.clean_up_tokenization_spaces ? "True" : "False"},
            {"detokenizer_input_type", "i64"},
            {"number_of_inputs", "1"},
            {"openvino_tokenizers_version", kTokenizersVersion},
            {"openvino_version", ov::get_openvino_version().buildNumber},
            {"processed_post_processor_template", file_.post_processor_ids_json},
            {"skip_special_tokens", "True"},
            {"streaming_detokenizer", "False"},
            {"tokenizer_output_type", "i64"},
            {"truncation", "False"},
            {"use_max_padding", "False"},
            {"use_sentencepiece_backend", "False"},
            {"utf8_replace_mode", "replace"},
            {"with_detokenizer", "True"},
        };
        const auto add_id = [&](const char* key, const std::optional<std::int64_t>& id) {
            if (id) {
                info.emplace_back(key, std::to_string(*id));
            }
        };
        const auto add_text = [&](const char* key, const std::string& text) {
            if (!text.empty()) {
                info.emplace_back(key, text);
            }
        };
        add_id("bos_token_id", vocabulary_.bos_id);
        add_id("eos_token_id", vocabulary_.eos_id);
        add_id("pad_token_id", vocabulary_.pad_id);
        add_text("chat_template", portable_chat_template(settings_.chat_template).text);
        add_text("original_post_processor_template", file_.post_processor_json);
        add_text("original_tokenizer_class", settings_.tokenizer_class);
        std::sort(info.begin(), info.end());
        return info;
    }

private:
    // Texts cut into pieces. rows: first and last + 1 piece of every text; strings: begins, ends and
    // bytes of the pieces, then, once added tokens are cut out, which pieces are such tokens.
    struct Pieces {
        ov::OutputVector rows;
        ov::OutputVector strings;
    };

    // One piece for every text: [0, 1, ... B-1] and [1, 2, ... B].
    static ov::OutputVector rows(const Value& begins) {
        const Value count = graph::gather(graph::shape_of(begins), graph::integer(0), graph::integer(0));
        const auto range = [](std::int64_t start, const Value& stop) {
            return std::make_shared<ov::op::v4::Range>(graph::integer(start), stop, graph::integer(1), i32)->output(0);
        };
        return {range(0, count), range(1, graph::add(count, graph::integer(1)))};
    }

    void split_added_tokens(Pieces& pieces) const {
        if (vocabulary_.added.empty()) {
            return;
        }
        const auto node =
            extension("SpecialTokensSplit",
                      pieces.rows + pieces.strings + ov::OutputVector{text_constant(added_tokens_pattern())}, {},
                      {{i32, kList}, {i32, kList}, {i32, kList}, {i32, kList}, {u8, kList}, {boolean, kList}});
        take(pieces, node);
    }

    // `tokenizers` looks for some added tokens in the normalized text, but the split comes first: it gets them as
    // composed and as decomposed text.
    std::vector<AddedToken> spellings() const {
        std::vector<AddedToken> tokens;
        for (const AddedToken& token : vocabulary_.added) {
            std::set<std::string> texts{token.content};
            if (file_.normalization_form && token.normalized) {
                const std::string& form = *file_.normalization_form;
                texts.insert(normalized(token.content, form));
                texts.insert(normalized(token.content, form == "nfc" ? "nfd" : "nfc"));
            }
            tokens.push_back(token);
            texts.erase(token.content);
            for (const std::string& text : texts) {
                tokens.push_back(token);
                tokens.back().content = text;
            }
        }
        return tokens;
    }

    // The alternatives in falling order, so that of two tokens the longer is tried first. Tokens that
    // take the white space beside them stand in groups of their own.
    std::string added_tokens_pattern() const {
        const std::vector<AddedToken> spelled = spellings();
        std::vector<const AddedToken*> tokens;
        for (const AddedToken& token : spelled) {
            tokens.push_back(&token);
        }
        std::sort(tokens.begin(), tokens.end(),
                  [](const AddedToken* a, const AddedToken* b) { return a->content > b->content; });
        constexpr const char* kSpaces = R"((?:\s*))";
        std::string pattern;
        const AddedToken* previous = nullptr;
        const auto close = [&] {
            pattern += previous == nullptr ? "" : std::string(")") + (previous->rstrip ? kSpaces : "");
        };
        for (const AddedToken* token : tokens) {
            if (previous != nullptr && previous->lstrip == token->lstrip && previous->rstrip == token->rstrip) {
                pattern += '|';
            } else {
                close();
                pattern += std::string(previous == nullptr ? "" : "|") + (token->lstrip ? kSpaces : "") + "(";
            }
            pattern += quoted_pattern(token->content);
            previous = token;
        }
        close();
        return pattern;
    }

    // A step that keeps the number of pieces.
    void normalize(Pieces& pieces) const {
        ExtensionOutputs outputs{{i32, kList}, {i32, kList}, {u8, kList}};
        if (pieces.strings.size() == 4) {
            outputs.emplace_back(boolean, kList);
        }
        const auto replace = [&](const ov::OutputVector& rewriting) {
            pieces.strings =
                extension("RegexNormalization", pieces.strings + rewriting, {{"global_replace", "true"}}, outputs)
                    ->outputs();
        };
        const auto map = [&](const char* form) {
            pieces.strings = extension("CharsMapNormalization", pieces.strings,
                                       {{"add_dummy_prefix", "false"},
                                        {"remove_extra_whitespaces", "false"},
                                        {"escape_whitespaces", "false"},
                                        {"normalization_form", form},
                                        {"case_fold", "false"},
                                        {"nmt", "false"}},
                                       outputs)
                                 ->outputs();
        };
        if (file_.normalization_form) {
            const std::string& form = *file_.normalization_form;
            const bool compatible = form == "nfkc" || form == "nfkd";
            map(compatible ? "nfkd" : "nfd");
            repeat(reorder_marks(), kReorderings, replace);
            if (form == "nfc" || form == "nfkc") {
                repeat(gather_composing_marks(), kCompositions, replace);
                map("nfc");
            }
        }
        if (file_.add_prefix_space) {
            replace({text_constant("^([^ ])"), text_constant(" $1")});
        }
    }

    template <typename Replace>
    static void repeat(const Rewriting& rewriting, int times, Replace&& replace) {
        const ov::OutputVector constants{text_constant(rewriting.pattern), text_constant(rewriting.replacement)};
        for (int i = 0; i < times; ++i) {
            replace(constants);
        }
    }

    void split(Pieces& pieces, const SplitStep& step) const {
        ExtensionOutputs outputs{{i32, kList}, {i32, kList}, {i32, kList}, {i32, kList}, {u8, kList}};
        if (pieces.strings.size() == 4) {
            outputs.emplace_back(boolean, kList);
        }
        take(
            pieces,
            extension("RegexSplit", pieces.rows + pieces.strings + ov::OutputVector{text_constant(step.pattern)},
                      {{"behaviour", step.behaviour}, {"invert", step.invert ? "true" : "false"}, {"max_splits", "-1"}},
                      outputs));
    }

    static void take(Pieces& pieces, const std::shared_ptr<ov::Node>& node) {
        const ov::OutputVector outputs = node->outputs();
        pieces.rows.assign(outputs.begin(), outputs.begin() + 2);
        pieces.strings.assign(outputs.begin() + 2, outputs.end());
    }

    // -> first and last + 1 token of every text, tokens.
    ov::OutputVector encode(const Pieces& pieces) const {
        PackedStrings words;
        for (std::size_t id = 0; id < vocabulary_.bytes.size(); ++id) {
            // 0xFF is in no text, so the operator never finds such a token, and ids stay positions.
            words.add(vocabulary_.bytes[id], vocabulary_.unreachable[id] ? "\xFF" : "");
        }
        PackedStrings left;
        PackedStrings right;
        for (const auto& [first, second] : vocabulary_.merges) {
            left.add(vocabulary_.bytes[static_cast<std::size_t>(first)]);
            right.add(vocabulary_.bytes[static_cast<std::size_t>(second)]);
        }
        ov::OutputVector inputs = pieces.rows + ov::OutputVector(pieces.strings.begin(), pieces.strings.begin() + 3) +
                                  words.constants() + left.constants() + right.constants();
        if (!vocabulary_.added.empty()) {
            PackedStrings added;
            std::vector<std::int32_t> ids;
            for (const AddedToken& token : spellings()) {
                added.add(token.content);
                ids.push_back(static_cast<std::int32_t>(token.id));
            }
            inputs = inputs + added.constants() + ov::OutputVector{list_constant(i32, ids)};
        }
        const auto cache =
            std::max(static_cast<std::size_t>(static_cast<double>(file_.vocab.size()) * kCacheShare), kMinCache);
        return extension("BPETokenizer", inputs,
                         {{"unk_token", file_.unk_token},
                          {"fuse_unk", file_.fuse_unk ? "true" : "false"},
                          {"suffix_indicator", ""},
                          {"end_suffix", ""},
                          {"byte_fallback", file_.byte_fallback ? "true" : "false"},
                          {"cache_capacity", std::to_string(cache)}},
                         {{i32, kList}, {i32, kList}, {i32, kList}})
            ->outputs();
    }

    // Cuts at the left, so that the end of a chat stays.
    ov::OutputVector truncate(const ov::OutputVector& tokens, const Value& enabled) const {
        const auto fixed = std::count_if(file_.post_processor.begin(), file_.post_processor.end(),
                                         [](const TemplateElement& element) { return element.id.has_value(); });
        const std::int64_t longest = std::numeric_limits<std::int32_t>::max();
        const std::int64_t limit = std::min(settings_.model_max_length.value_or(longest), longest) - fixed;
        const Value length =
            graph::select(enabled, graph::integer32(static_cast<std::int32_t>(limit)), graph::integer32(kNoTruncation));
        return extension("Truncate",
                         tokens + ov::OutputVector{length, text_constant("left"), text_constant("longest_first")},
                         {{"m_num_inputs", "1"}}, {{i32, kList}, {i32, kList}, {i32, kList}})
            ->outputs();
    }

    // Puts the fixed tokens of the template around every text.
    ov::OutputVector combine(const ov::OutputVector& tokens) const {
        ov::OutputVector inputs;
        std::vector<std::int32_t> type_ids;
        for (const TemplateElement& element : file_.post_processor) {
            if (element.id) {
                const std::vector<std::int32_t> token{*element.id};
                inputs = inputs + ov::OutputVector{graph::integer32(0), graph::integer32(1), list_constant(i32, token)};
            } else {
                inputs = inputs + tokens;
            }
            type_ids.push_back(element.type_id);
        }
        inputs.push_back(list_constant(i32, type_ids));
        return extension("CombineSegments", inputs, {},
                         {{i32, kList}, {i32, kList}, {i32, kList}, {i32, kList}, {i32, kList}, {i32, kList}})
            ->outputs();
    }

    // -> ids [batch, longest], mask [batch, longest].
    std::shared_ptr<ov::Node> pad(const ov::OutputVector& combined) const {
        const Value lengths = graph::subtract(combined[1], combined[0]);
        const Value longest = std::make_shared<ov::op::v1::ReduceMax>(lengths, graph::integer32(0), false)->output(0);
        const Value padding = graph::integer32(static_cast<std::int32_t>(vocabulary_.pad_id.value_or(0)));
        return extension("RaggedToDense", {combined[0], combined[1], combined[2], longest, padding},
                         {{"pad_right", padding_ == Padding::Right ? "true" : "false"}, {"m_pad_max_length", "false"}},
                         {{i32, kTable}, {boolean, kTable}});
    }

    const TokenizerFile& file_;
    const TokenizerSettings& settings_;
    const TokenizerVocabulary& vocabulary_;
    Padding padding_;
};

[[noreturn]] void fail_without_file(const fs::path& directory) {
    std::error_code error;
    const bool parts = fs::exists(directory / "vocab.json", error) && fs::exists(directory / "merges.txt", error);
    fail(ErrorKind::Input,
         "cannot convert the tokenizer: '{}' has no tokenizer.json{}; take it from the base model, or write it with "
         "transformers: "
         "AutoTokenizer.from_pretrained(directory).save_pretrained(directory)",
         directory.string(), parts ? " (vocab.json and merges.txt do not say how text is split)" : "");
}

}  // namespace

TokenizerModels build_tokenizer_models(const fs::path& checkpoint_directory,
                                       std::optional<std::uint64_t> embedding_rows, Padding padding) {
    const fs::path path = checkpoint_directory / "tokenizer.json";
    if (!is_there(path)) {
        fail_without_file(checkpoint_directory);
    }
    Problems input;
    Problems unsupported;
    const TokenizerFile file = read_tokenizer_file(path, input, unsupported);
    const TokenizerSettings settings = read_tokenizer_settings(checkpoint_directory, input, unsupported);
    const TokenizerVocabulary vocabulary = make_tokenizer_vocabulary(file, settings, input, unsupported);
    std::vector<std::string> notes;
    if (embedding_rows && input.empty()) {
        notes = check_embedding(file, settings, vocabulary, *embedding_rows, input);
    }
    const std::string what = fmt::format("cannot convert the tokenizer in '{}'", checkpoint_directory.string());
    input.throw_if_any(ErrorKind::Input, what);
    unsupported.throw_if_any(ErrorKind::Unsupported, what);

    const TokenizerBuilder builder(file, settings, vocabulary, padding);
    std::map<std::string, std::int64_t> added;
    for (const AddedToken& token : vocabulary.added) {
        added[token.content] = token.id;
    }
    return {builder.tokenizer(), builder.detokenizer(), builder.info(),
            builder.info(),      std::move(added),      std::move(notes)};
}

}  // namespace deltavino::tokenizer
