// JSON of tokenizer files. Included by .cpp files only, like json/document.hpp.
#pragma once

#include "base/error.hpp"
#include "json/document.hpp"
#include "json/reader.hpp"
#include "tokenizer/file.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace deltavino::tokenizer {

// tokenizer.json with the two large parts, model/vocab and model/merges, taken out of the tree: a
// quarter of a million keys in one JSON object would take minutes there.
struct TokenizerDocument {
    Json rest;
    std::vector<std::pair<std::string, std::int64_t>> vocab;
    std::vector<std::pair<std::string, std::string>> merges;
    bool has_vocab = false;
    bool has_merges = false;
};

// Throws ErrorKind::Input for text that is not JSON; entries of the two parts that have a wrong form
// are added to `problems`.
TokenizerDocument parse_tokenizer_document(std::string_view text, const std::string& where, Problems& problems);

// An added token without its id; the defaults are those of tokenizers.AddedToken.
AddedToken parse_added_token(const Json& value, const std::string& pointer, Problems& problems);

// The text that Python's json.dumps gives: a blank after ',' and ':', everything but ASCII escaped.
std::string python_json(const Json& value);

}  // namespace deltavino::tokenizer
