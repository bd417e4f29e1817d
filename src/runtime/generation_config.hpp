// What generation_config.json asks for.
#pragma once

#include "runtime/logits_processors.hpp"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace deltavino::runtime {

// Fields that are absent stay empty, or neutral in `logits`. Names and meanings are those of transformers'
// GenerationConfig; presence_penalty and frequency_penalty, which it does not know, are those of the
// OpenAI API and vLLM.
struct GenerationDefaults {
    std::vector<std::int64_t> eos_ids;
    bool do_sample = false;
    std::optional<double> temperature;
    std::optional<std::uint64_t> top_k;
    std::optional<double> top_p;
    std::optional<double> min_p;
    LogitsSettings logits;
    std::optional<std::uint64_t> max_new_tokens;
    std::optional<std::uint64_t> max_length;  // of prompt and answer together; max_new_tokens wins
    std::vector<std::string> stop_strings;
    std::vector<std::string> ignored;  // settings that ask for something this runner does not do
};

// An absent file gives the defaults of the struct; a broken one throws ErrorKind::Input, which names
// everything that is wrong in it.
GenerationDefaults read_generation_defaults(const std::filesystem::path& directory);

}  // namespace deltavino::runtime
