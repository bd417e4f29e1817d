#include "checkpoint/rope_config.hpp"

#include "base/error.hpp"

#include <cmath>

namespace deltavino::checkpoint {
namespace {

constexpr double kDefaultTheta = 10'000.0;
constexpr double kDefaultPartialFactor = 0.25;

struct RopeObject {
    const char* key = "rope_parameters";
    const Json* object = nullptr;  // null when there is none
};

RopeObject choose_rope(const JsonReader& reader, std::vector<std::string>& notes) {
    const auto find = [&](const char* key) {
        const Json* value = reader.object(key);
        return value == nullptr || value->empty() ? nullptr : value;
    };
    const Json* scaling = find("rope_scaling");
    const Json* parameters = find("rope_parameters");
    if (scaling == nullptr) {
        return {"rope_parameters", parameters};
    }
    if (parameters != nullptr && *scaling != *parameters) {
        notes.push_back(
            "config.json has both rope_parameters and rope_scaling: rope_scaling is used and the other is not, as "
            "transformers does");
    }
    return {"rope_scaling", scaling};
}

double attention_scale(double factor, double mscale) {
    return factor <= 1.0 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

YarnConfig read_yarn(const JsonReader& reader, const JsonReader& rope, const Json& object, const TextConfig& text) {
    YarnConfig yarn;
    const auto positions = static_cast<double>(text.max_position_embeddings);
    const double original =
        rope.has("original_max_position_embeddings")
            ? static_cast<double>(rope.size("original_max_position_embeddings", 1, 1, JsonReader::kMaxSize))
            : positions;
    yarn.original_max_position_embeddings =
        reader.has("original_max_position_embeddings")
            ? static_cast<double>(reader.size("original_max_position_embeddings", 1, 1, JsonReader::kMaxSize))
            : original;
    const bool ratio = object.contains("factor") && object["factor"].is_null();
    if (!ratio && !rope.has("factor")) {
        reader.problems().add(fmt::format("{} is missing, expected a positive number", rope.pointer("factor")));
    }
    yarn.factor = ratio ? positions / yarn.original_max_position_embeddings : rope.number("factor", 1.0);
    const bool two_scales = rope.has("mscale") && rope.has("mscale_all_dim");
    const double inferred = two_scales ? attention_scale(yarn.factor, rope.number("mscale", 1.0)) /
                                             attention_scale(yarn.factor, rope.number("mscale_all_dim", 1.0))
                                       : attention_scale(yarn.factor, 1.0);
    yarn.attention_factor = rope.number("attention_factor", inferred);
    yarn.beta_fast = rope.number("beta_fast", yarn.beta_fast);
    yarn.beta_slow = rope.number("beta_slow", yarn.beta_slow);
    yarn.truncate = rope.flag("truncate", yarn.truncate);
    if (text.rope.rope_theta <= 1.0) {
        reader.problems().add(
            fmt::format("{} is {}, expected more than 1 for yarn", rope.pointer("rope_theta"), text.rope.rope_theta));
    }
    return yarn;
}

void read_sections(const JsonReader& rope, TextConfig& text) {
    text.rope.mrope_interleaved = rope.flag("mrope_interleaved", true);
    const Json* section = rope.find("mrope_section");
    if (section == nullptr) {
        return;
    }
    std::uint64_t sum = 0;
    bool right = section->is_array() && section->size() == 3;
    for (const Json& part : right ? *section : Json::array()) {
        right = right && part.is_number_unsigned() && part.get<std::uint64_t>() <= JsonReader::kMaxSize;
        text.rope.mrope_section.push_back(right ? part.get<std::uint64_t>() : 0);
        sum += text.rope.mrope_section.back();
    }
    if (!right || sum != text.rope.rotary_dims / 2) {
        rope.wrong("mrope_section", fmt::format("three counts that add up to {}", text.rope.rotary_dims / 2));
    }
}

// Whether the rotary positions are scaled by YaRN.
bool read_type(const JsonReader& rope) {
    const std::string type = rope.text("rope_type", rope.text("type", "default"));
    if (type != "default" && type != "mrope" && type != "yarn") {
        fail(ErrorKind::Unsupported,
             "cannot export this model: {} is '{}', expected 'default' or 'yarn' (rotary positions that are scaled in "
             "another way are not built)",
             rope.pointer("rope_type"), type);
    }
    return type == "yarn";
}

}  // namespace

void read_rope(const JsonReader& reader, TextConfig& text, std::vector<std::string>& notes) {
    const Json empty = Json::object();
    const RopeObject chosen = choose_rope(reader, notes);
    const Json& object = chosen.object != nullptr ? *chosen.object : empty;
    const JsonReader rope(object, reader.pointer(chosen.key), reader.problems());
    if (object.contains("full_attention") || object.contains("linear_attention")) {
        fail(ErrorKind::Unsupported,
             "cannot export this model: {} differs by layer kind, one set of rotary positions for all layers is "
             "expected",
             rope.pointer());
    }
    const bool yarn = read_type(rope);
    if (!rope.has("rope_theta") && !reader.has("rope_theta")) {
        notes.push_back(
            "config.json has no rope_theta: 10000 is used, as transformers does (published models of the family have "
            "10000000)");
    }
    text.rope.rope_theta = rope.number("rope_theta", reader.number("rope_theta", kDefaultTheta));

    const double outer = reader.number("partial_rotary_factor", kDefaultPartialFactor);
    const double factor = yarn ? outer : rope.number("partial_rotary_factor", outer);
    const double rotary_dims = static_cast<double>(text.head_dim) * factor;
    if (factor > 1.0 || rotary_dims < 2.0 || std::fmod(std::floor(rotary_dims), 2.0) != 0.0) {
        reader.problems().add(fmt::format(
            "{}/partial_rotary_factor is {}: of head_dim {} an even number of at least 2 dims must be rotated",
            reader.pointer(), factor, text.head_dim));
        return;
    }
    text.rope.rotary_dims = static_cast<std::uint64_t>(rotary_dims);
    read_sections(rope, text);
    if (yarn) {
        text.rope.yarn = read_yarn(reader, rope, object, text);
        notes.push_back(fmt::format("rotary positions are scaled by YaRN: factor {}, {} positions in training",
                                    text.rope.yarn->factor, text.rope.yarn->original_max_position_embeddings));
    }
}

}  // namespace deltavino::checkpoint
