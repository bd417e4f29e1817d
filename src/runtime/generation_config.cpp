// Ground truth: transformers' GenerationConfig and what its _get_logits_processor makes of it. A value of
// a wrong type is an error that names file and key; it is never replaced by a default.
#include "runtime/generation_config.hpp"

#include "runtime/settings_file.hpp"

#include <array>
#include <limits>

namespace deltavino::runtime {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMostTokens = 1ull << 40;
constexpr double kMostPenalty = 1e6;
constexpr double kLeastPenalty = 1e-6;
constexpr std::size_t kMostSequences = 1u << 16;

// A list of token ids under the key, not empty.
std::optional<std::vector<std::int64_t>> id_list(const Json& value) {
    std::vector<std::int64_t> ids;
    if (!value.is_array() || value.empty()) {
        return std::nullopt;
    }
    for (const Json& entry : value) {
        const std::optional<std::int64_t> id = token_id(entry);
        if (!id) {
            return std::nullopt;
        }
        ids.push_back(*id);
    }
    return ids;
}

void read_bad_words(const JsonReader& reader, std::vector<std::vector<std::int64_t>>& out) {
    constexpr const char* kKey = "bad_words_ids";
    const Json* value = reader.find(kKey);
    if (value == nullptr) {
        return;
    }
    const auto wrong = [&]() {
        reader.wrong(kKey, "a list of lists of token ids");
    };
    if (!value->is_array() || value->size() > kMostSequences) {
        return wrong();
    }
    for (const Json& entry : *value) {
        std::optional<std::vector<std::int64_t>> ids = id_list(entry);
        if (!ids) {
            return wrong();
        }
        out.push_back(std::move(*ids));
    }
}

// [[[ids], bias], ...], as transformers writes it.
void read_sequence_bias(const JsonReader& reader, std::map<std::vector<std::int64_t>, float>& out) {
    constexpr const char* kKey = "sequence_bias";
    const Json* value = reader.find(kKey);
    if (value == nullptr) {
        return;
    }
    const auto wrong = [&]() {
        reader.wrong(kKey, "a list of pairs of a list of token ids and a number");
    };
    if (!value->is_array() || value->size() > kMostSequences) {
        return wrong();
    }
    for (const Json& entry : *value) {
        const bool pair = entry.is_array() && entry.size() == 2 && entry[1].is_number();
        std::optional<std::vector<std::int64_t>> ids = pair ? id_list(entry[0]) : std::nullopt;
        if (!ids) {
            return wrong();
        }
        out[std::move(*ids)] = entry[1].get<float>();
    }
}

void read_stop_strings(const JsonReader& reader, std::vector<std::string>& out) {
    constexpr const char* kKey = "stop_strings";
    const Json* value = reader.find(kKey);
    if (value == nullptr) {
        return;
    }
    for (const Json& entry : value->is_array() ? *value : Json::array({*value})) {
        if (!entry.is_string() || entry.get_ref<const std::string&>().empty()) {
            return reader.wrong(kKey, "a text or a list of texts");
        }
        out.push_back(entry.get<std::string>());
    }
}

// Settings that change the answer and are not done here, with the value that asks for nothing.
void note_others(const JsonReader& reader, std::vector<std::string>& ignored) {
    struct Other {
        const char* key;
        Json neutral;  // null: any value asks for something
    };
    static const std::array<Other, 20> kOthers{{{"num_beams", 1},
                                                {"num_beam_groups", 1},
                                                {"diversity_penalty", 0.0},
                                                {"num_return_sequences", 1},
                                                {"top_h", nullptr},
                                                {"typical_p", 1.0},
                                                {"epsilon_cutoff", 0.0},
                                                {"eta_cutoff", 0.0},
                                                {"guidance_scale", 1.0},
                                                {"exponential_decay_length_penalty", nullptr},
                                                {"forced_bos_token_id", nullptr},
                                                {"forced_eos_token_id", nullptr},
                                                {"remove_invalid_values", false},
                                                {"token_healing", false},
                                                {"watermarking_config", nullptr},
                                                {"max_time", nullptr},
                                                {"penalty_alpha", 0.0},
                                                {"dola_layers", nullptr},
                                                {"constraints", nullptr},
                                                {"force_words_ids", nullptr}}};
    for (const Other& other : kOthers) {
        const Json* value = reader.find(other.key);
        if (value != nullptr && *value != other.neutral) {
            ignored.push_back(fmt::format("'{}' {}", other.key, json_text(*value)));
        }
    }
}

void read_logits(const JsonReader& reader, LogitsSettings& out) {
    const auto penalty = [&](const char* key, double& value) {
        value = real(reader, key, kLeastPenalty, kMostPenalty).value_or(value);
    };
    const auto offset = [&](const char* key, double& value) {
        value = real(reader, key, -kMostPenalty, kMostPenalty).value_or(value);
    };
    penalty("repetition_penalty", out.repetition_penalty);
    penalty("encoder_repetition_penalty", out.encoder_repetition_penalty);
    offset("presence_penalty", out.presence_penalty);
    offset("frequency_penalty", out.frequency_penalty);
    out.no_repeat_ngram_size = count(reader, "no_repeat_ngram_size", 0, kMostTokens).value_or(0);
    out.encoder_no_repeat_ngram_size = count(reader, "encoder_no_repeat_ngram_size", 0, kMostTokens).value_or(0);
    out.min_length = count(reader, "min_length", 0, kMostTokens).value_or(0);
    out.min_new_tokens = count(reader, "min_new_tokens", 0, kMostTokens).value_or(0);
    out.suppress_tokens = reader.token_ids("suppress_tokens");
    out.begin_suppress_tokens = reader.token_ids("begin_suppress_tokens");
    read_bad_words(reader, out.bad_words);
    read_sequence_bias(reader, out.sequence_bias);
}

}  // namespace

GenerationDefaults read_generation_defaults(const fs::path& directory) {
    GenerationDefaults defaults;
    const std::optional<SettingsFile> file = SettingsFile::read(directory / "generation_config.json");
    if (!file) {
        return defaults;
    }
    Problems problems;
    const JsonReader reader = file->reader(problems);
    constexpr double kMostTemperature = 1e6;
    defaults.eos_ids = reader.token_ids("eos_token_id");
    defaults.do_sample = reader.flag("do_sample", false);
    defaults.temperature = real(reader, "temperature", 0.0, kMostTemperature);
    defaults.top_k = count(reader, "top_k", 0, kMostTokens);
    defaults.top_p = real(reader, "top_p", std::numeric_limits<double>::min(), 1.0);
    defaults.min_p = real(reader, "min_p", 0.0, 1.0);
    defaults.max_new_tokens = count(reader, "max_new_tokens", 1, kMostTokens);
    defaults.max_length = count(reader, "max_length", 1, kMostTokens);
    read_logits(reader, defaults.logits);
    read_stop_strings(reader, defaults.stop_strings);
    note_others(reader, defaults.ignored);
    file->throw_if_any(problems);
    return defaults;
}

}  // namespace deltavino::runtime
