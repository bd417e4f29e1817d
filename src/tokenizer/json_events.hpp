// JSON of tokenizer files. Included by .cpp files only, like json/document.hpp.
#pragma once

#include "base/error.hpp"
#include "json/document.hpp"
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

// Reads keys of one JSON object; a key that is null counts as missing.
class ObjectReader {
public:
    // `pointer` names the object in messages.
    ObjectReader(const Json& object, std::string pointer, Problems& problems)
        : object_(object), pointer_(std::move(pointer)), problems_(problems) {}

    const Json* find(const char* key) const;
    bool flag(const char* key, bool missing) const;
    std::string text(const char* key, const std::string& missing = {}) const;
    std::string require_text(const char* key) const;
    // The object or array under `key`; an empty one when it is missing or something else.
    const Json& object(const char* key) const;
    const Json& array(const char* key) const;

    std::string pointer(const char* key) const { return pointer_ + "/" + key; }

private:
    const Json& typed(const char* key, bool array) const;

    const Json& object_;
    std::string pointer_;
    Problems& problems_;
};

// An added token without its id; the defaults are those of tokenizers.AddedToken.
AddedToken parse_added_token(const Json& value, const std::string& pointer, Problems& problems);

// The text that Python's json.dumps gives: a blank after ',' and ':', everything but ASCII escaped.
std::string python_json(const Json& value);

}  // namespace deltavino::tokenizer
