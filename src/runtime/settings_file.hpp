// Reads one JSON file of an exported directory; what is wrong in it is gathered and reported with its name.
// Included by .cpp files only: the header below is expensive to compile.
#pragma once

#include "json/reader.hpp"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace deltavino::runtime {

class SettingsFile {
public:
    // Nothing when there is no such file; throws ErrorKind::Input when it holds no JSON object.
    static std::optional<SettingsFile> read(const std::filesystem::path& path);

    const Json& json() const { return json_; }
    // "'out/config.json'"
    const std::string& where() const { return where_; }
    JsonReader reader(Problems& problems) const { return JsonReader(json_, "", problems); }
    // Throws ErrorKind::Input naming the file and everything that is wrong in it.
    void throw_if_any(const Problems& problems) const;

private:
    Json json_;
    std::string where_;
};

// A finite number from `least` to `most`; nothing when the key is absent or, which is a problem, something
// else.
std::optional<double> real(const JsonReader& reader, const char* key, double least, double most);

// A whole number from `least` to `most`, likewise.
std::optional<std::uint64_t> count(const JsonReader& reader, const char* key, std::uint64_t least, std::uint64_t most);

// A value as it stands in a message: bytes that are not UTF-8 are replaced, a long one is cut.
std::string json_text(const Json& value);

}  // namespace deltavino::runtime
