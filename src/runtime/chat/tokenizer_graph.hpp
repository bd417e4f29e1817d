// A tokenizer model taken apart: what cuts added tokens out of a text, and what turns the rest into ids.
//
// The models that openvino_tokenizers and this program write do both at once, for any text: a user who writes
// '<|im_end|>' ends the turn. Apart, text stays text, and normalization stands where `tokenizers` has it.
#pragma once

#include <openvino/core/model.hpp>

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace deltavino::runtime {

struct TokenizerGraph {
    // texts [n] -> SpecialTokensSplit: first and last + 1 piece of each text, begins, ends and bytes of the pieces,
    // and which of them are added tokens. Null when there are no added tokens.
    std::shared_ptr<ov::Model> splitter;
    // texts [n] -> first and last + 1 id of each text, ids; added tokens are text like any other.
    std::shared_ptr<ov::Model> plain;
    std::map<std::string, std::int64_t> added;  // text of an added token -> id
    std::vector<std::int64_t> before;           // ids that stand before every text
    std::vector<std::int64_t> after;
    std::string normalization;  // "nfc", "nfd", "nfkc", "nfkd"; empty: none
};

// Throws ErrorKind::Unsupported for a model without a BPETokenizer. `model` is used up.
TokenizerGraph take_apart(const std::shared_ptr<ov::Model>& model);

// The tokens that a detokenizer leaves out of its text; empty when it leaves out none.
std::set<std::int64_t> special_ids(const ov::Model& detokenizer);

}  // namespace deltavino::runtime
