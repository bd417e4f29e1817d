// Source of the keys and of what they do: peft 0.21 `LoraConfig`, `peft.utils.other.get_pattern_key`.
#include "checkpoint/lora/adapter_config.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "json/reader.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <regex>

namespace deltavino::checkpoint {
namespace {

constexpr std::size_t kMostBytes = 1000;  // of a path or pattern: std::regex recurses for each character

// Keys that say how the adapter was trained or loaded, or that are read below.
constexpr std::array kHarmless{"peft_type",
                               "r",
                               "lora_alpha",
                               "use_rslora",
                               "rank_pattern",
                               "alpha_pattern",
                               "modules_to_save",
                               "ensure_weight_tying",
                               "bias",
                               "init_lora_weights",
                               "task_type",
                               "auto_mapping",
                               "base_model_name_or_path",
                               "revision",
                               "inference_mode",
                               "target_modules",
                               "exclude_modules",
                               "layers_to_transform",
                               "layers_pattern",
                               "lora_dropout",
                               "megatron_config",
                               "megatron_core",
                               "loftq_config",
                               "eva_config",
                               "corda_config",
                               "lora_ga_config",
                               "runtime_config",
                               "qalora_group_size",
                               "peft_version",
                               "ephemeral_gpu_offload"};

// Keys that change what the adapter computes, with what they mean.
struct Refused {
    const char* key;
    const char* why;
};
constexpr std::array kRefused{
    Refused{"use_dora", "DoRA scales each row by a learned magnitude, which is not merged here"},
    Refused{"fan_in_fan_out", "the factors belong to weights that are stored across"},
    Refused{"lora_bias", "the adapter has biases, and the weights have none to add them to"},
    Refused{"target_parameters", "factors of stacked parameters, such as fused experts, are not merged here"},
    Refused{"trainable_token_indices", "single rows of the embedding were trained"},
    Refused{"layer_replication", "the adapter belongs to a model with repeated layers"},
    Refused{"use_qalora", "QA-LoRA adds to the zero points of groups"},
    Refused{"use_bdlora", "block-diagonal factors are not merged here"},
    Refused{"alora_invocation_tokens", "an activated LoRA works from some tokens on, which no merged weight does"},
    Refused{"arrow_config", "Arrow chooses among adapters at run time"},
};

// Ways to begin that take a part out of the base model's weights: the adapter does not fit the published ones.
constexpr std::array kChangesBase{"pissa", "olora", "corda", "loftq", "lora_ga"};

bool is_off(const Json& value) {
    const std::string* text = value.get_ptr<const std::string*>();
    return value.is_null() || value == false || value.empty() || (text != nullptr && text->empty()) || value == 0;
}

// As PEFT begins a factor when nothing is said.
bool begins_plainly(const std::string& way) {
    return std::none_of(kChangesBase.begin(), kChangesBase.end(),
                        [&](const char* other) { return way.starts_with(other); });
}

// Plain paths, in which a dot stands for any character.
bool is_path(const std::string& pattern) {
    return std::all_of(pattern.begin(), pattern.end(), [](unsigned char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '.';
    });
}

// What would take unbounded time or memory; empty when nothing would.
std::string why_unread(const std::string& pattern) {
    if (pattern.empty() || pattern.size() > kMostBytes) {
        return fmt::format("it has {} characters, expected 1 to {}", pattern.size(), kMostBytes);
    }
    constexpr std::size_t kMostRepeats = 3;
    std::size_t repeats = 0;
    for (std::size_t i = 0; i < pattern.size(); ++i) {
        const char c = pattern[i];
        const char before = i == 0 ? '\0' : pattern[i - 1];
        if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7f) {
            return "it is not all ASCII";
        }
        if (before == '\\') {
            if (c >= '0' && c <= '9') {
                return "it refers back to a group";
            }
            continue;
        }
        repeats += c == '*' || c == '+' || c == '?' ? 1 : 0;
        if (c == '{' || (before == ')' && (c == '*' || c == '+' || c == '?')) || (before == '(' && c == '?')) {
            return "counted repeats, repeated groups and looking around are not read";
        }
    }
    return repeats > kMostRepeats ? fmt::format("it repeats more than {} times", kMostRepeats) : std::string();
}

bool ends_with_path(std::string_view module, std::string_view path) {
    if (module.size() < path.size()) {
        return false;
    }
    const std::size_t start = module.size() - path.size();
    return (start == 0 || module[start - 1] == '.') &&
           std::equal(path.begin(), path.end(), module.begin() + static_cast<std::ptrdiff_t>(start),
                      [](char p, char m) { return p == '.' || p == m; });
}

std::vector<std::pair<std::string, double>> read_patterns(const JsonReader& reader, const char* key) {
    std::vector<std::pair<std::string, double>> patterns;
    const Json* object = reader.object(key);
    if (object == nullptr) {
        return patterns;
    }
    for (const auto& [pattern, value] : object->items()) {
        const double number = value.is_number() ? value.get<double>() : 0.0;
        if (!(number > 0.0) || number > JsonReader::kMaxNumber) {
            reader.problems().add(
                fmt::format("{}/{} is {}, expected a number above 0", reader.pointer(key), pattern, shown(value)));
            continue;
        }
        std::string why = why_unread(pattern);
        if (why.empty() && !is_path(pattern)) {
            try {
                const std::regex compiled(pattern);
            } catch (const std::regex_error&) {
                why = "it is no regular expression";
            }
        }
        if (!why.empty()) {
            reader.problems().add(fmt::format("{} has the pattern '{}': {}; write the modules out", reader.pointer(key),
                                              as_utf8(pattern), why));
            continue;
        }
        patterns.emplace_back(pattern, number);
    }
    return patterns;
}

double value_of(const std::vector<std::pair<std::string, double>>& patterns, std::string_view module, double other) {
    const auto found = std::find_if(patterns.begin(), patterns.end(),
                                    [&](const auto& pattern) { return matches_module(pattern.first, module); });
    return found == patterns.end() ? other : found->second;
}

void check_kind(const Json& json, const JsonReader& reader, Problems& unsupported) {
    const std::string type = reader.require_text("peft_type");
    if (!type.empty() && type != "LORA") {
        unsupported.add(fmt::format("/peft_type is {}: only LORA can be merged", shown(json["peft_type"])));
    }
    if (const std::string bias = reader.text("bias", "none"); bias != "none") {
        unsupported.add(fmt::format("/bias is {}: trained biases are not merged, expected \"none\"", shown(bias)));
    }
    if (const Json* way = reader.find("init_lora_weights");
        way != nullptr && way->is_string() && !begins_plainly(way->get<std::string>())) {
        unsupported.add(fmt::format(
            "/init_lora_weights is {}: it changed the weights of the base model, to which the adapter belongs (PEFT's "
            "save_pretrained converts it with path_initial_model_for_weight_conversion)",
            shown(*way)));
    }
    for (const auto& [key, value] : json.items()) {
        if (is_off(value) || std::find(kHarmless.begin(), kHarmless.end(), key) != kHarmless.end()) {
            continue;
        }
        const auto known =
            std::find_if(kRefused.begin(), kRefused.end(), [&](const Refused& row) { return key == row.key; });
        unsupported.add(fmt::format("/{} is {}: {}", as_utf8(key), shown(value),
                                    known == kRefused.end() ? "what it changes is not known" : known->why));
    }
}

}  // namespace

bool matches_module(const std::string& pattern, std::string_view module) {
    if (is_path(pattern)) {
        return ends_with_path(module, pattern);
    }
    if (module.size() > kMostBytes) {
        return false;
    }
    const bool whole = pattern.starts_with('^');
    const std::regex compiled(whole ? pattern.substr(1) : pattern);
    for (std::size_t start = 0; start != std::string_view::npos;) {
        if (std::regex_match(module.begin() + static_cast<std::ptrdiff_t>(start), module.end(), compiled)) {
            return true;
        }
        const std::size_t dot = module.find('.', start);
        start = whole || dot == std::string_view::npos ? std::string_view::npos : dot + 1;
    }
    return false;
}

std::uint64_t LoraConfig::rank_of(std::string_view module) const {
    return static_cast<std::uint64_t>(value_of(ranks, module, static_cast<double>(r)));
}

double LoraConfig::scale_of(std::string_view module) const {
    const auto rank = static_cast<double>(rank_of(module));
    return value_of(alphas, module, alpha) / (rank_stabilized ? std::sqrt(rank) : rank);
}

LoraConfig read_lora_config(std::string_view text, const std::string& where) {
    const Json json = parse_json(text, where);
    if (!json.is_object()) {
        fail(ErrorKind::Input, "cannot read '{}': expected a JSON object", where);
    }
    const std::string what = fmt::format("cannot merge the adapter of '{}'", where);
    Problems problems;
    Problems unsupported;
    const JsonReader reader(json, "", problems);
    LoraConfig config;
    check_kind(json, reader, unsupported);
    unsupported.throw_if_any(ErrorKind::Unsupported, what);
    config.r = reader.size("r", 8);
    config.alpha = reader.number("lora_alpha", 8.0);
    config.rank_stabilized = reader.flag("use_rslora", false);
    config.keeps_tying = reader.flag("ensure_weight_tying", false);
    config.ranks = read_patterns(reader, "rank_pattern");
    config.alphas = read_patterns(reader, "alpha_pattern");
    for (const Json& module : reader.array_or_empty("modules_to_save")) {
        if (module.is_string()) {
            config.replaced.push_back(module.get<std::string>());
        } else {
            problems.add(fmt::format("/modules_to_save holds {}, expected names", shown(module)));
        }
    }
    problems.throw_if_any(ErrorKind::Input, what);
    return config;
}

}  // namespace deltavino::checkpoint
