// Ground truth: transformers' GenerationConfig and Qwen2VLImageProcessorFast (its size.shortest_edge and
// size.longest_edge are pixel COUNTS), and openvino_genai for what overrides what. A value of a wrong
// type is an error that names file and key; it is never replaced by a default.
#include "runtime/settings.hpp"

#include "base/error.hpp"
#include "base/file.hpp"

#include <nlohmann/json.hpp>

#include <cmath>

namespace deltavino::runtime {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr std::uint64_t kMaxFileBytes = 64ull << 20;

// A JSON object and where it stands, for messages.
struct Section {
    Json json;
    std::string where;

    const Json* find(const char* key) const {
        const auto found = json.find(key);
        return found == json.end() || found->is_null() ? nullptr : &*found;
    }
    [[noreturn]] void wrong(const char* key, const char* expected) const {
        fail(ErrorKind::Input, "cannot use {}: '{}' is {}, expected {}", where, key, json[key].dump(), expected);
    }
    std::optional<double> number(const char* key) const {
        const Json* value = find(key);
        if (value == nullptr) {
            return std::nullopt;
        }
        if (!value->is_number() || !std::isfinite(value->get<double>())) {
            wrong(key, "a number");
        }
        return value->get<double>();
    }
    std::optional<std::uint64_t> count(const char* key) const {
        const Json* value = find(key);
        if (value == nullptr) {
            return std::nullopt;
        }
        if (!value->is_number_unsigned()) {
            wrong(key, "a count");
        }
        return value->get<std::uint64_t>();
    }
    std::optional<bool> flag(const char* key) const {
        const Json* value = find(key);
        if (value == nullptr) {
            return std::nullopt;
        }
        if (!value->is_boolean()) {
            wrong(key, "true or false");
        }
        return value->get<bool>();
    }
    std::optional<Section> section(const char* key) const {
        const Json* value = find(key);
        if (value == nullptr) {
            return std::nullopt;
        }
        if (!value->is_object()) {
            wrong(key, "an object");
        }
        return Section{*value, fmt::format("'{}' of {}", key, where)};
    }
};

std::optional<Section> read_section(const fs::path& path) {
    if (!is_there(path)) {
        return std::nullopt;
    }
    Section section{{}, fmt::format("'{}'", path.string())};
    try {
        section.json = Json::parse(read_text_file(path, kMaxFileBytes));
    } catch (const Json::exception& problem) {
        fail(ErrorKind::Input, "cannot read '{}': {}", path.string(), problem.what());
    }
    if (!section.json.is_object()) {
        fail(ErrorKind::Input, "cannot use '{}': expected a JSON object", path.string());
    }
    return section;
}

std::vector<std::int64_t> eos_ids(const Section& section) {
    const Json* value = section.find("eos_token_id");
    if (value == nullptr) {
        return {};
    }
    std::vector<std::int64_t> ids;
    for (const Json& id : value->is_array() ? *value : Json::array({*value})) {
        if (!id.is_number_integer()) {
            section.wrong("eos_token_id", "an id or a list of ids");
        }
        ids.push_back(id.get<std::int64_t>());
    }
    return ids;
}

std::uint32_t small_count(const Section& section, const char* key, std::uint32_t otherwise) {
    const std::uint64_t value = section.count(key).value_or(otherwise);
    if (value == 0 || value > 4096) {
        section.wrong(key, "1 to 4096");
    }
    return static_cast<std::uint32_t>(value);
}

void read_colours(const Section& section, const char* key, std::array<float, 3>& out) {
    const Json* value = section.find(key);
    if (value == nullptr) {
        return;
    }
    if (!value->is_array() || value->size() != 3) {
        section.wrong(key, "three numbers");
    }
    for (std::size_t i = 0; i < 3; ++i) {
        if (!(*value)[i].is_number()) {
            section.wrong(key, "three numbers");
        }
        out[i] = (*value)[i].get<float>();
    }
}

// This runner always converts to RGB, resizes with the bicubic filter, rescales by 1/255 and normalises.
void require_usual_steps(const Section& section) {
    for (const char* key : {"do_convert_rgb", "do_resize", "do_rescale", "do_normalize"}) {
        if (!section.flag(key).value_or(true)) {
            fail(ErrorKind::Unsupported, "cannot use {}: '{}' is false, which this runner does not do", section.where,
                 key);
        }
    }
    constexpr std::uint64_t kBicubic = 3;
    if (section.count("resample").value_or(kBicubic) != kBicubic) {
        fail(ErrorKind::Unsupported, "cannot use {}: 'resample' is not 3 (bicubic), the only filter of this runner",
             section.where);
    }
    if (std::abs(section.number("rescale_factor").value_or(1.0 / 255) - 1.0 / 255) > 1e-9) {
        fail(ErrorKind::Unsupported, "cannot use {}: 'rescale_factor' is not 1/255", section.where);
    }
}

}  // namespace

GenerationDefaults read_generation_defaults(const fs::path& directory) {
    GenerationDefaults defaults;
    const std::optional<Section> section = read_section(directory / "generation_config.json");
    if (!section) {
        return defaults;
    }
    defaults.eos_ids = eos_ids(*section);
    defaults.do_sample = section->flag("do_sample").value_or(false);
    defaults.temperature = section->number("temperature");
    defaults.top_k = section->count("top_k");
    defaults.top_p = section->number("top_p");
    defaults.repetition_penalty = section->number("repetition_penalty");
    defaults.max_new_tokens = section->count("max_new_tokens");
    const auto note_unless = [&](const char* key, double neutral) {
        if (section->number(key).value_or(neutral) != neutral) {
            defaults.ignored.push_back(fmt::format("'{}' {}", key, section->json[key].dump()));
        }
    };
    note_unless("num_beams", 1);
    note_unless("presence_penalty", 0);
    note_unless("frequency_penalty", 0);
    note_unless("min_p", 0);
    note_unless("no_repeat_ngram_size", 0);
    return defaults;
}

PictureSettings read_picture_settings(const fs::path& directory) {
    std::optional<Section> section;
    if (const std::optional<Section> processor = read_section(directory / "processor_config.json")) {
        section = processor->section("image_processor");
    }
    if (!section) {
        section = read_section(directory / "preprocessor_config.json");
    }
    if (!section) {
        fail(ErrorKind::Input,
             "cannot prepare pictures: '{}' has neither processor_config.json with an 'image_processor' nor "
             "preprocessor_config.json",
             directory.string());
    }
    require_usual_steps(*section);
    PictureSettings settings;
    settings.patch_size = small_count(*section, "patch_size", settings.patch_size);
    settings.temporal_patch_size = small_count(*section, "temporal_patch_size", settings.temporal_patch_size);
    settings.merge_size = small_count(*section, "merge_size", settings.merge_size);
    if (const std::optional<Section> size = section->section("size")) {
        settings.min_pixels = size->count("shortest_edge").value_or(settings.min_pixels);
        settings.max_pixels = size->count("longest_edge").value_or(settings.max_pixels);
    }
    settings.min_pixels = section->count("min_pixels").value_or(settings.min_pixels);
    settings.max_pixels = section->count("max_pixels").value_or(settings.max_pixels);
    constexpr std::uint64_t kMostMinPixels = 1ull
                                             << 26;  // small pictures are enlarged to min_pixels: keep that in memory
    if (settings.max_pixels == 0 || settings.min_pixels > settings.max_pixels || settings.min_pixels > kMostMinPixels) {
        fail(ErrorKind::Input, "cannot use {}: pictures should have at least {} and at most {} pixels", section->where,
             settings.min_pixels, settings.max_pixels);
    }
    read_colours(*section, "image_mean", settings.mean);
    read_colours(*section, "image_std", settings.deviation);
    return settings;
}

std::uint32_t read_position_grid_side(const fs::path& directory) {
    const std::optional<Section> config = read_section(directory / "config.json");
    if (!config) {
        fail(ErrorKind::Input, "cannot use pictures: '{}' has no config.json", directory.string());
    }
    constexpr std::uint64_t kUsual = 2304;  // what openvino_genai takes, too
    std::uint64_t positions = kUsual;
    if (const std::optional<Section> vision = config->section("vision_config")) {
        positions = vision->count("num_position_embeddings").value_or(kUsual);
    }
    const auto side = static_cast<std::uint64_t>(std::llround(std::sqrt(static_cast<double>(positions))));
    if (side == 0 || side > 65535 || side * side != positions) {
        fail(ErrorKind::Input, "cannot use {}: num_position_embeddings is {}, expected a square", config->where,
             positions);
    }
    return static_cast<std::uint32_t>(side);
}

std::optional<std::string> read_chat_template(const fs::path& directory) {
    const fs::path jinja = directory / "chat_template.jinja";
    if (is_there(jinja)) {
        return read_text_file(jinja, kMaxFileBytes);
    }
    for (const char* name : {"chat_template.json", "tokenizer_config.json"}) {
        const std::optional<Section> section = read_section(directory / name);
        const Json* value = section ? section->find("chat_template") : nullptr;
        if (value == nullptr) {
            continue;
        }
        if (value->is_string()) {
            return value->get<std::string>();
        }
        // The older form: a list of named templates.
        for (const Json& entry : *value) {
            if (entry.is_object() && entry.value("name", Json()) == "default" && entry.contains("template") &&
                entry["template"].is_string()) {
                return entry["template"].get<std::string>();
            }
        }
        section->wrong("chat_template", "a text, or a list with a template named 'default'");
    }
    return std::nullopt;
}

}  // namespace deltavino::runtime
