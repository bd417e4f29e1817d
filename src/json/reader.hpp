// Reads typed keys of one JSON object. What is wrong is gathered, so that a user sees all of it at once;
// a value of a wrong type is never replaced in silence. A key that is null counts as missing.
// Included by .cpp files only: the header below is expensive to compile.
#pragma once

#include "base/error.hpp"
#include "json/document.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace deltavino {

class JsonReader {
public:
    // Sizes above this are refused: products of a few of them must fit 64 bits.
    static constexpr std::uint64_t kMaxSize = 1ull << 24;
    // Numbers above this are refused: most become float32.
    static constexpr double kMaxNumber = 1e30;
    // Token ids above this are refused: OpenVINO's tokenizer operators count in 32 bits.
    static constexpr std::int64_t kMaxTokenId = (1ll << 31) - 1;

    // `pointer`: where the object stands, as a JSON pointer; "" is the whole file. `object` and
    // `problems` must outlive the reader.
    JsonReader(const Json& object, std::string pointer, Problems& problems)
        : object_(object), pointer_(std::move(pointer)), problems_(problems) {}

    const Json* find(const char* key) const;
    bool has(const char* key) const { return find(key) != nullptr; }

    // A whole number from `least` to `most`. Without `missing` the key is required.
    std::uint64_t size(const char* key, std::optional<std::uint64_t> missing = std::nullopt, std::uint64_t least = 1,
                       std::uint64_t most = kMaxSize) const;
    // A number above zero, at most kMaxNumber.
    double number(const char* key, double missing) const;
    bool flag(const char* key, bool missing) const;
    std::string text(const char* key, const std::string& missing = {}) const;
    std::string require_text(const char* key) const;
    // The object under `key`; null when it is missing or, which is a problem, something else.
    const Json* object(const char* key) const;
    // The same for an array.
    const Json* array(const char* key) const;
    // The same with an empty one instead of null.
    const Json& object_or_empty(const char* key) const;
    const Json& array_or_empty(const char* key) const;
    // A token id, or a list of them: each from 0 to `most`. Empty when missing.
    std::vector<std::int64_t> token_ids(const char* key, std::int64_t most = kMaxTokenId) const;

    const std::string& pointer() const { return pointer_; }
    std::string pointer(const char* key) const { return pointer_ + "/" + key; }
    // "/a/b is 3, expected <expected>"; a long value is cut
    void wrong(const char* key, const std::string& expected) const;
    Problems& problems() const { return problems_; }

private:
    const Json& object_;
    std::string pointer_;
    Problems& problems_;
};

// A token id from 0 to `most`; nothing for any other value: negative, with a fraction, beyond 64 bits, no number.
std::optional<std::int64_t> token_id(const Json& value, std::int64_t most = JsonReader::kMaxTokenId);
// The same for an id that is written as text, as a key is.
std::optional<std::int64_t> token_id(std::string_view digits);

// A value for a message: one line, cut when it is long.
std::string shown(const Json& value);

}  // namespace deltavino
