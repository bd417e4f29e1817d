// tokenizer.json as plain data: what the file says, checked for form but not yet for sense.
//
// Ground truth: the `tokenizers` library (its serialization of AddedVocabulary, BPE, pre-tokenizers and
// post-processors). Parts that the tokenizer operators cannot do are reported, never ignored.
#pragma once

#include "base/error.hpp"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace deltavino::tokenizer {

// A token that is cut out of the text before anything else happens to it.
struct AddedToken {
    std::string content;
    std::int64_t id = -1;
    bool special = false;      // left out of decoded text unless asked for
    bool lstrip = false;       // takes the white space before it
    bool rstrip = false;       // takes the white space after it
    bool single_word = false;  // only where no letter or digit touches it
    bool normalized = true;    // searched in the normalized text

    bool operator==(const AddedToken&) const = default;
};

// One cut of the text into pieces; a piece is never joined again.
struct SplitStep {
    std::string pattern;    // PCRE2
    std::string behaviour;  // of the RegexSplit operator: "isolate" keeps the matches, "remove" drops them
    bool invert = false;
};

// What surrounds the tokens of a text: every element is a fixed token or, without an id, the text.
struct TemplateElement {
    std::optional<std::int32_t> id;
    std::int32_t type_id = 0;
};

struct TokenizerFile {
    // The model: byte-pair encoding over the byte alphabet.
    std::vector<std::pair<std::string, std::int64_t>> vocab;
    std::vector<std::pair<std::string, std::string>> merges;
    std::string unk_token;
    bool fuse_unk = false;
    bool byte_fallback = false;
    std::vector<AddedToken> added_tokens;

    std::optional<std::string> normalization_form;  // "nfc", "nfd", "nfkc" or "nfkd"
    bool add_prefix_space = false;
    std::vector<SplitStep> splits;

    std::vector<TemplateElement> post_processor;  // around one text; holds the text exactly once
    std::string post_processor_json;              // as in the file; empty when there is none
    std::string post_processor_ids_json;          // the same with ids for tokens, -1 and -2 for the texts

    std::string padding_token;  // empty: the file does not pad
};

// Throws ErrorKind::Input when the file cannot be read at all. Everything else goes to `input` (wrong) or
// `unsupported` (right, but beyond the tokenizer operators or this version).
TokenizerFile read_tokenizer_file(const std::filesystem::path& path, Problems& input, Problems& unsupported);

// The PCRE2 pattern that matches `text` and nothing else.
std::string quoted_pattern(std::string_view text);

}  // namespace deltavino::tokenizer
