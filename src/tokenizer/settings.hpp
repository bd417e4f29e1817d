// What a checkpoint says about its tokenizer outside tokenizer.json: tokenizer_config.json, the chat
// template, and token ids in generation_config.json and config.json.
//
// Ground truth: PreTrainedTokenizerBase.from_pretrained of transformers 5.2, including the files that
// older versions wrote (special_tokens_map.json, added_tokens.json).
#pragma once

#include "base/error.hpp"
#include "tokenizer/file.hpp"

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace deltavino::tokenizer {

// A token with a role, for example eos_token.
struct NamedToken {
    std::string role;
    AddedToken token;
};

struct TokenizerSettings {
    // Tokens that a file lists by id. When tokenizer_config.json has no list, those of tokenizer.json
    // belong here as well (`added_is_complete` is false).
    std::map<std::int64_t, AddedToken> added;
    bool added_is_complete = false;
    std::vector<NamedToken> named;  // bos, eos, unk, sep, pad, cls, mask, then the model's own
    std::vector<AddedToken> extra;  // more special tokens without a role

    std::optional<std::int64_t> model_max_length;  // none: unlimited
    bool clean_up_tokenization_spaces = false;
    std::string tokenizer_class;

    // For a tokenizer that names no such token, with the file that says so.
    struct FallbackId {
        std::int64_t id = 0;
        std::string where;
    };
    std::optional<FallbackId> eos;
    std::optional<FallbackId> pad;

    std::string chat_template;  // empty: none
};

TokenizerSettings read_tokenizer_settings(const std::filesystem::path& directory, Problems& input,
                                          Problems& unsupported);

}  // namespace deltavino::tokenizer
