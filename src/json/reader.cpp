#include "json/reader.hpp"

#include <charconv>
#include <cmath>

namespace deltavino {

const Json* JsonReader::find(const char* key) const {
    const auto found = object_.find(key);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
}

void JsonReader::wrong(const char* key, const std::string& expected) const {
    const Json* value = find(key);
    problems_.add(value == nullptr ? fmt::format("{} is missing, expected {}", pointer(key), expected)
                                   : fmt::format("{} is {}, expected {}", pointer(key), shown(*value), expected));
}

std::uint64_t JsonReader::size(const char* key, std::optional<std::uint64_t> missing, std::uint64_t least,
                               std::uint64_t most) const {
    const Json* value = find(key);
    if (value == nullptr) {
        if (!missing) {
            problems_.add(fmt::format("{} is missing", pointer(key)));
        }
        return missing.value_or(least);
    }
    if (!value->is_number_unsigned() || value->get<std::uint64_t>() < least || value->get<std::uint64_t>() > most) {
        wrong(key, fmt::format("a whole number from {} to {}", least, most));
        return least;
    }
    return value->get<std::uint64_t>();
}

double JsonReader::number(const char* key, double missing) const {
    const Json* value = find(key);
    if (value == nullptr) {
        return missing;
    }
    if (!value->is_number() || !(value->get<double>() > 0.0) || value->get<double>() > kMaxNumber) {
        wrong(key, fmt::format("a positive number of at most {}", kMaxNumber));
        return missing;
    }
    return value->get<double>();
}

bool JsonReader::flag(const char* key, bool missing) const {
    const Json* value = find(key);
    if (value != nullptr && !value->is_boolean()) {
        wrong(key, "true or false");
        return missing;
    }
    return value == nullptr ? missing : value->get<bool>();
}

std::string JsonReader::text(const char* key, const std::string& missing) const {
    const Json* value = find(key);
    if (value != nullptr && !value->is_string()) {
        wrong(key, "a string");
        return missing;
    }
    return value == nullptr ? missing : value->get<std::string>();
}

std::string JsonReader::require_text(const char* key) const {
    if (!has(key)) {
        problems_.add(fmt::format("{} is missing", pointer(key)));
    }
    return text(key);
}

const Json* JsonReader::object(const char* key) const {
    const Json* value = find(key);
    if (value != nullptr && !value->is_object()) {
        wrong(key, "an object");
        return nullptr;
    }
    return value;
}

const Json* JsonReader::array(const char* key) const {
    const Json* value = find(key);
    if (value != nullptr && !value->is_array()) {
        wrong(key, "a list");
        return nullptr;
    }
    return value;
}

const Json& JsonReader::object_or_empty(const char* key) const {
    static const Json empty = Json::object();
    const Json* value = object(key);
    return value == nullptr ? empty : *value;
}

const Json& JsonReader::array_or_empty(const char* key) const {
    static const Json empty = Json::array();
    const Json* value = array(key);
    return value == nullptr ? empty : *value;
}

std::optional<std::int64_t> token_id(const Json& value, std::int64_t most) {
    // is_number_unsigned holds for every number of JSON that is not negative; one that does not fit 64
    // bits is a floating-point number here.
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() > static_cast<std::uint64_t>(most)) {
        return std::nullopt;
    }
    return static_cast<std::int64_t>(value.get<std::uint64_t>());
}

std::optional<std::int64_t> token_id(std::string_view digits) {
    std::int64_t id = -1;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), id);
    const bool whole = error == std::errc() && end == digits.data() + digits.size();
    return whole && id >= 0 && id <= JsonReader::kMaxTokenId ? std::optional(id) : std::nullopt;
}

std::string shown(const Json& value) {
    constexpr std::size_t kMost = 120;
    std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
    if (text.size() > kMost) {
        text.resize(kMost);
        text += "...";
    }
    return text;
}

std::vector<std::int64_t> JsonReader::token_ids(const char* key, std::int64_t most) const {
    const Json* value = find(key);
    if (value == nullptr) {
        return {};
    }
    std::vector<std::int64_t> ids;
    for (const Json& entry : value->is_array() ? *value : Json::array({*value})) {
        const std::optional<std::int64_t> id = token_id(entry, most);
        if (!id) {
            wrong(key, fmt::format("a token id from 0 to {} or a list of them", most));
            return {};
        }
        ids.push_back(*id);
    }
    return ids;
}

}  // namespace deltavino
