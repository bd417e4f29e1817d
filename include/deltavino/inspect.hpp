// Says what a checkpoint or an exported directory holds, and what is wrong with it.
#pragma once

#include <filesystem>
#include <string>

namespace deltavino {

struct Inspection {
    std::string text;      // for people
    std::string json;      // the same facts
    bool complete = true;  // nothing that a consumer needs is missing
};

// `path`: a directory with config.json and *.safetensors, or one with openvino_*.xml. Reads no weights.
// Throws Error when it is neither or cannot be read.
Inspection inspect(const std::filesystem::path& path);

}  // namespace deltavino
