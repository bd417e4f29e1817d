// adapter_config.json of a LoRA adapter, as PEFT writes it: what decides the scale of each pair of factors.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace deltavino::checkpoint {

struct LoraConfig {
    std::uint64_t r = 8;
    double alpha = 8.0;
    bool rank_stabilized = false;       // scale alpha / sqrt(r) instead of alpha / r
    bool keeps_tying = false;           // an adapted embedding was trained as the head, too
    std::vector<std::string> replaced;  // modules_to_save
    // Regular expressions on the ends of module paths, from a dot on; the first that matches counts.
    std::vector<std::pair<std::string, double>> ranks;
    std::vector<std::pair<std::string, double>> alphas;

    // `module`: the path as the adapter's base model has it: "model.layers.0.self_attn.q_proj".
    std::uint64_t rank_of(std::string_view module) const;
    double scale_of(std::string_view module) const;
};

// Throws ErrorKind::Unsupported, naming each, for what cannot be merged or is not known, and ErrorKind::Input for
// values of a wrong form. `where`: for messages.
LoraConfig read_lora_config(std::string_view text, const std::string& where);

// Whether `pattern` matches the path from its start or from after a dot to its end, as PEFT's patterns do.
bool matches_module(const std::string& pattern, std::string_view module);

}  // namespace deltavino::checkpoint
