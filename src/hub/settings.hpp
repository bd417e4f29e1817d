// What the environment says about the Hub, with the names and meanings of huggingface_hub.
#pragma once

#include <deltavino/hub.hpp>

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

namespace deltavino::hub {

// The value of an environment variable; nothing when it is not set.
using Environment = std::function<std::optional<std::string>(const char* name)>;

struct Settings {
    std::string endpoint;         // "https://huggingface.co": no '/' at the end
    std::filesystem::path cache;  // holds one folder for each repository
    std::string token;            // empty: none
    bool offline = false;
    bool symlinks = true;  // files of a snapshot are links to the blobs
    std::string ca_file;   // certificates that are trusted; empty: those of the system
    std::string ca_directory;
    long api_seconds = 10;    // without an answer of the API before it is tried again
    long stall_seconds = 10;  // without a byte of a file before it is tried again
};

// Throws ErrorKind::Usage for a value that cannot be used, for example a token with a space in it.
Settings read_settings(const Environment& environment, const HubOptions& options);

// The environment of this process.
std::optional<std::string> process_environment(const char* name);

}  // namespace deltavino::hub
