// The vocabulary as the tokenizer operators want it: a byte string for every id.
//
// Ground truth: tokenizers' AddedVocabulary (how added tokens get their ids) and its ByteLevel alphabet
// (one printable character for every byte).
#pragma once

#include "tokenizer/file.hpp"
#include "tokenizer/settings.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace deltavino::tokenizer {

struct TokenizerVocabulary {
    std::vector<std::string> bytes;  // by id, added tokens included
    // Tokens that no chain of merges gives. `tokenizers` never produces them from text, but the
    // BPETokenizer operator would take them wherever their bytes stand.
    std::vector<bool> unreachable;
    std::vector<std::pair<std::int32_t, std::int32_t>> merges;  // ids, strongest first
    std::vector<AddedToken> added;                              // by id

    std::optional<std::int64_t> bos_id;
    std::optional<std::int64_t> eos_id;
    std::optional<std::int64_t> pad_id;
};

// The bytes behind a token spelled in the byte alphabet; empty when a character is not in it.
std::optional<std::string> bytes_of_token(std::string_view token);

// Adds the tokens that only tokenizer_config.json names, as transformers does when it loads a
// directory, and checks all ids. The result is only complete when no problem was added.
TokenizerVocabulary make_tokenizer_vocabulary(const TokenizerFile& file, const TokenizerSettings& settings,
                                              Problems& input, Problems& unsupported);

// Compares the ids with an embedding of `rows` rows. An id beyond it that the model's own vocabulary has, or
// that prompts are made of (a role, the chat template, the post-processor), is a problem; of the others the
// returned notes say how many there are.
std::vector<std::string> check_embedding(const TokenizerFile& file, const TokenizerSettings& settings,
                                         const TokenizerVocabulary& vocabulary, std::uint64_t rows, Problems& input);

}  // namespace deltavino::tokenizer
