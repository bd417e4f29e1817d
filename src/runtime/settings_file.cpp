#include "runtime/settings_file.hpp"

#include "base/file.hpp"

#include <cmath>

namespace deltavino::runtime {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMaxFileBytes = 64ull << 20;

}  // namespace

std::optional<SettingsFile> SettingsFile::read(const fs::path& path) {
    if (!is_there(path)) {
        return std::nullopt;
    }
    SettingsFile file;
    file.where_ = fmt::format("'{}'", path.string());
    file.json_ = parse_json(read_text_file(path, kMaxFileBytes), path.string());
    if (!file.json_.is_object()) {
        fail(ErrorKind::Input, "cannot use {}: expected a JSON object", file.where_);
    }
    return file;
}

void SettingsFile::throw_if_any(const Problems& problems) const {
    problems.throw_if_any(ErrorKind::Input, fmt::format("cannot use {}", where_));
}

std::optional<double> real(const JsonReader& reader, const char* key, double least, double most) {
    const Json* value = reader.find(key);
    if (value == nullptr) {
        return std::nullopt;
    }
    const double number = value->is_number() ? value->get<double>() : std::nan("");
    if (!(number >= least && number <= most)) {
        reader.wrong(key, fmt::format("a number from {} to {}", least, most));
        return std::nullopt;
    }
    return number;
}

std::optional<std::uint64_t> count(const JsonReader& reader, const char* key, std::uint64_t least, std::uint64_t most) {
    const Json* value = reader.find(key);
    if (value == nullptr) {
        return std::nullopt;
    }
    if (!value->is_number_unsigned() || value->get<std::uint64_t>() < least || value->get<std::uint64_t>() > most) {
        reader.wrong(key, fmt::format("a whole number from {} to {}", least, most));
        return std::nullopt;
    }
    return value->get<std::uint64_t>();
}

std::string json_text(const Json& value) {
    constexpr std::size_t kMost = 60;
    std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
    if (text.size() > kMost) {
        text = value.dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, kMost) + " ...";
    }
    return text;
}

}  // namespace deltavino::runtime
