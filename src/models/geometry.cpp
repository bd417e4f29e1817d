#include "models/geometry.hpp"

#include "base/error.hpp"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <string_view>

namespace deltavino::models {
namespace {

using checkpoint::Checkpoint;
using checkpoint::LayerKind;
using checkpoint::ModelConfig;
using checkpoint::Tensor;
using checkpoint::TextConfig;

// What the names under a numbered prefix tell.
struct Numbered {
    std::string first;  // stored name of the first tensor
    bool linear = false;
    bool full = false;
};

// The members of 'model.layers.' or 'visual.blocks.' by number.
std::map<std::uint64_t, Numbered> numbered(const Checkpoint& checkpoint, const std::string& prefix) {
    std::map<std::uint64_t, Numbered> found;
    for (auto at = checkpoint.tensors().lower_bound(prefix);
         at != checkpoint.tensors().end() && at->first.starts_with(prefix); ++at) {
        const std::string_view rest = std::string_view(at->first).substr(prefix.size());
        std::uint64_t number = 0;
        const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
        if (error != std::errc() || end == rest.data() + rest.size() || *end != '.') {
            continue;
        }
        Numbered& entry = found[number];
        if (entry.first.empty()) {
            entry.first = at->second.info.name;
        }
        const std::string_view module = rest.substr(static_cast<std::size_t>(end - rest.data()));
        entry.linear |= module.starts_with(".linear_attn.");
        entry.full |= module.starts_with(".self_attn.");
    }
    return found;
}

// `key` says `count`; compares it with what is numbered. `what`: "layer".
void check_count(const std::map<std::uint64_t, Numbered>& found, const char* key, std::uint64_t count,
                 const std::string& what, Problems& problems) {
    const auto surplus = found.lower_bound(count);
    if (surplus != found.end()) {
        problems.add(
            fmt::format("{} is {} in config.json, but there is {} {}, too: tensor '{}' ({} of {} {}s are "
                        "surplus)",
                        key, count, what, surplus->first, surplus->second.first, std::distance(surplus, found.end()),
                        found.size(), what));
    }
    const auto present = static_cast<std::uint64_t>(std::distance(found.begin(), surplus));
    if (present < count) {
        std::uint64_t absent = 0;
        while (found.contains(absent)) {
            ++absent;
        }
        problems.add(fmt::format("{} is {} in config.json, but tensors of only {} {}s are there; none is of {} {}", key,
                                 count, present, what, what, absent));
    }
}

void check_kinds(const std::map<std::uint64_t, Numbered>& layers, const TextConfig& config, Problems& problems) {
    std::optional<std::uint64_t> first;
    std::size_t count = 0;
    for (const auto& [number, layer] : layers) {
        if (number >= config.layer_types.size() || layer.linear == layer.full) {
            continue;
        }
        if (layer.full != (config.layer_types[number] == LayerKind::FullAttention)) {
            first = first ? first : number;
            ++count;
        }
    }
    if (first) {
        const bool full = layers.at(*first).full;
        problems.add(fmt::format(
            "layer {} is {} by config.json (layer_types or full_attention_interval), its tensors "
            "are those of {} ({} layers differ)",
            *first, full ? "linear_attention" : "full_attention", full ? "full_attention" : "linear_attention", count));
    }
}

// Compares a count with the first dimension of the first tensor of that kind.
void check_rows(const Checkpoint& checkpoint, const std::map<std::uint64_t, Numbered>& layers,
                const std::string& module, const char* key, std::uint64_t count, Problems& problems) {
    constexpr std::uint64_t kHarmless = 4096;  // without such a tensor
    for (const auto& [number, layer] : layers) {
        const Tensor* tensor = checkpoint.find(fmt::format("model.layers.{}.{}", number, module));
        if (tensor == nullptr) {
            continue;
        }
        if (tensor->info.shape.empty() || tensor->info.shape.front() != count) {
            problems.add(fmt::format("{} is {} in config.json, tensor '{}' has shape {}", key, count, tensor->info.name,
                                     shape_text(tensor->info.shape)));
        }
        return;
    }
    if (count > kHarmless) {
        problems.add(fmt::format("{} is {} in config.json, and no layer has a tensor '{}'", key, count, module));
    }
}

}  // namespace

void check_geometry(const Checkpoint& checkpoint, const ModelConfig& config, Task task) {
    Problems problems;
    const TextConfig& text = config.text;
    const std::map<std::uint64_t, Numbered> layers = numbered(checkpoint, "model.layers.");
    if (layers.empty() && !checkpoint.tensors().empty()) {
        problems.add(
            fmt::format("no tensor is named like one of this model, for example "
                        "'model.layers.0.input_layernorm.weight'; one of the {} here is '{}'",
                        checkpoint.tensors().size(), std::prev(checkpoint.tensors().end())->second.info.name));
    } else {
        check_count(layers, "num_hidden_layers", text.num_hidden_layers, "layer", problems);
    }
    check_kinds(layers, text, problems);
    check_rows(checkpoint, layers, "linear_attn.A_log", "linear_num_value_heads", text.linear_num_value_heads,
               problems);
    if (text.moe) {
        check_rows(checkpoint, layers, "mlp.gate.weight", "num_experts", text.moe->num_experts, problems);
    }
    if (task == Task::ImageTextToText) {
        check_count(numbered(checkpoint, "visual.blocks."), "/vision_config/depth", config.vision->depth,
                    "vision block", problems);
    }
    problems.throw_if_any(ErrorKind::Input, fmt::format("cannot use '{}' with its config.json ({} tensors in {} files)",
                                                        checkpoint.directory().string(), checkpoint.tensors().size(),
                                                        checkpoint.shard_count()));
}

}  // namespace deltavino::models
