#include "json/reader.hpp"

#include <cmath>

namespace deltavino {

const Json* JsonReader::find(const char* key) const {
    const auto found = object_.find(key);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
}

void JsonReader::wrong(const char* key, const std::string& expected) const {
    const Json* value = find(key);
    problems_.add(value == nullptr ? fmt::format("{} is missing, expected {}", pointer(key), expected)
                                   : fmt::format("{} is {}, expected {}", pointer(key), value->dump(), expected));
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

const Json* JsonReader::object(const char* key) const {
    const Json* value = find(key);
    if (value != nullptr && !value->is_object()) {
        wrong(key, "an object");
        return nullptr;
    }
    return value;
}

std::optional<std::int64_t> token_id(const Json& value) {
    // is_number_unsigned holds for every number of JSON that is not negative; one that does not fit 64
    // bits is a floating-point number here.
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() > JsonReader::kMaxTokenId) {
        return std::nullopt;
    }
    return static_cast<std::int64_t>(value.get<std::uint64_t>());
}

std::vector<std::int64_t> JsonReader::token_ids(const char* key) const {
    const Json* value = find(key);
    if (value == nullptr) {
        return {};
    }
    std::vector<std::int64_t> ids;
    for (const Json& entry : value->is_array() ? *value : Json::array({*value})) {
        const std::optional<std::int64_t> id = token_id(entry);
        if (!id) {
            wrong(key, "a token id or a list of them");
            return {};
        }
        ids.push_back(*id);
    }
    return ids;
}

}  // namespace deltavino
