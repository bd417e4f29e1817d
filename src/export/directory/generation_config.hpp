// generation_config.json of an exported directory: where generation ends.
#pragma once

#include "checkpoint/config.hpp"

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace deltavino::exporter {

// What a checkpoint says about where generation ends.
struct EndOfSequence {
    std::filesystem::path checkpoint;           // its generation_config.json is used when there is one
    std::string config_json;                    // its config.json
    std::uint64_t vocab_size = 0;               // ids must be below it
    std::map<std::string, std::int64_t> added;  // the tokenizer's added tokens
};

// Writes generation_config.json into `output`: the checkpoint's own with all end-of-sequence ids that the
// checkpoint knows. Returns notes that say what was added. Throws ErrorKind::Input for ids that are none.
std::vector<std::string> write_generation_config(const EndOfSequence& source, const std::filesystem::path& output);

}  // namespace deltavino::exporter
