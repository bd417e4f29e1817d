// Ground truth: Qwen2VLImageProcessorFast (its size.shortest_edge and size.longest_edge are pixel COUNTS),
// and openvino_genai for what overrides what. A value of a wrong type is an error that names file and key;
// it is never replaced by a default.
#include "runtime/settings.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "runtime/settings_file.hpp"

#include <cmath>

namespace deltavino::runtime {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMaxTemplateBytes = 64ull << 20;
constexpr std::uint64_t kMostPixels = 1ull << 40;
// Small pictures are enlarged to min_pixels: keep that in memory.
constexpr std::uint64_t kMostMinPixels = 1ull << 26;

std::uint32_t small_count(const JsonReader& reader, const char* key, std::uint32_t otherwise) {
    constexpr std::uint64_t kMost = 4096;
    return static_cast<std::uint32_t>(count(reader, key, 1, kMost).value_or(otherwise));
}

void read_colours(const JsonReader& reader, const char* key, std::array<float, 3>& out) {
    const Json* value = reader.find(key);
    if (value == nullptr) {
        return;
    }
    bool right = value->is_array() && value->size() == out.size();
    for (std::size_t i = 0; right && i < out.size(); ++i) {
        right = (*value)[i].is_number();
        out[i] = right ? (*value)[i].get<float>() : out[i];
    }
    if (!right) {
        reader.wrong(key, "three numbers");
    }
}

// This runner always converts to RGB, resizes with the bicubic filter, rescales by 1/255 and normalises.
void require_usual_steps(const JsonReader& reader, Problems& unsupported) {
    for (const char* key : {"do_convert_rgb", "do_resize", "do_rescale", "do_normalize"}) {
        if (!reader.flag(key, true)) {
            unsupported.add(fmt::format("{} is false, which this runner does not do", reader.pointer(key)));
        }
    }
    constexpr std::uint64_t kBicubic = 3;
    constexpr std::uint64_t kMostFilters = 100;
    if (count(reader, "resample", 0, kMostFilters).value_or(kBicubic) != kBicubic) {
        unsupported.add(
            fmt::format("{} is not 3 (bicubic), the only filter of this runner", reader.pointer("resample")));
    }
    constexpr double kUsualFactor = 1.0 / 255;
    if (std::abs(real(reader, "rescale_factor", -1e30, 1e30).value_or(kUsualFactor) - kUsualFactor) > 1e-9) {
        unsupported.add(fmt::format("{} is not 1/255", reader.pointer("rescale_factor")));
    }
}

void read_pixel_limits(const JsonReader& reader, Problems& problems, PictureSettings& settings) {
    if (const Json* value = reader.object("size")) {
        const JsonReader size(*value, reader.pointer("size"), problems);
        settings.min_pixels = count(size, "shortest_edge", 0, kMostPixels).value_or(settings.min_pixels);
        settings.max_pixels = count(size, "longest_edge", 0, kMostPixels).value_or(settings.max_pixels);
    }
    settings.min_pixels = count(reader, "min_pixels", 0, kMostPixels).value_or(settings.min_pixels);
    settings.max_pixels = count(reader, "max_pixels", 0, kMostPixels).value_or(settings.max_pixels);
    if (settings.max_pixels == 0 || settings.min_pixels > settings.max_pixels || settings.min_pixels > kMostMinPixels) {
        problems.add(fmt::format("pictures should have at least {} and at most {} pixels", settings.min_pixels,
                                 settings.max_pixels));
    }
}

PictureSettings picture_settings(const SettingsFile& file, const JsonReader& reader, Problems& problems) {
    Problems unsupported;
    PictureSettings settings;
    require_usual_steps(reader, unsupported);
    settings.patch_size = small_count(reader, "patch_size", settings.patch_size);
    settings.temporal_patch_size = small_count(reader, "temporal_patch_size", settings.temporal_patch_size);
    settings.merge_size = small_count(reader, "merge_size", settings.merge_size);
    read_pixel_limits(reader, problems, settings);
    // The smallest picture has one merged patch, in all frames.
    const std::uint64_t side = std::uint64_t{settings.patch_size} * settings.merge_size;
    if (side * side > kMostMinPixels / settings.temporal_patch_size) {
        problems.add(fmt::format("patches of {} x {} pixels, merged {} x {}, in {} frames are too large",
                                 settings.patch_size, settings.patch_size, settings.merge_size, settings.merge_size,
                                 settings.temporal_patch_size));
    }
    read_colours(reader, "image_mean", settings.mean);
    read_colours(reader, "image_std", settings.deviation);
    file.throw_if_any(problems);
    unsupported.throw_if_any(ErrorKind::Unsupported, fmt::format("cannot use {}", file.where()));
    return settings;
}

}  // namespace

PictureSettings read_picture_settings(const fs::path& directory) {
    Problems problems;
    if (const std::optional<SettingsFile> file = SettingsFile::read(directory / "processor_config.json")) {
        const JsonReader reader = file->reader(problems);
        if (const Json* processor = reader.object("image_processor")) {
            return picture_settings(*file, JsonReader(*processor, "/image_processor", problems), problems);
        }
        file->throw_if_any(problems);
    }
    if (const std::optional<SettingsFile> file = SettingsFile::read(directory / "preprocessor_config.json")) {
        return picture_settings(*file, file->reader(problems), problems);
    }
    fail(ErrorKind::Input,
         "cannot prepare pictures: '{}' has neither processor_config.json with an 'image_processor' nor "
         "preprocessor_config.json",
         directory.string());
}

std::uint32_t read_position_grid_side(const fs::path& directory) {
    const std::optional<SettingsFile> config = SettingsFile::read(directory / "config.json");
    if (!config) {
        fail(ErrorKind::Input, "cannot use pictures: '{}' has no config.json", directory.string());
    }
    constexpr std::uint64_t kUsual = 2304;  // what openvino_genai takes, too
    constexpr std::uint64_t kMostSide = 65535;
    Problems problems;
    std::uint64_t positions = kUsual;
    if (const Json* vision = config->reader(problems).object("vision_config")) {
        const JsonReader reader(*vision, "/vision_config", problems);
        positions = count(reader, "num_position_embeddings", 1, kMostSide * kMostSide).value_or(kUsual);
        const auto root = static_cast<std::uint64_t>(std::llround(std::sqrt(static_cast<double>(positions))));
        if (root * root != positions) {
            reader.wrong("num_position_embeddings", "a square");
        }
    }
    config->throw_if_any(problems);
    return static_cast<std::uint32_t>(std::llround(std::sqrt(static_cast<double>(positions))));
}

std::optional<std::uint64_t> read_max_positions(const fs::path& directory) {
    const std::optional<SettingsFile> config = SettingsFile::read(directory / "config.json");
    if (!config) {
        return std::nullopt;
    }
    constexpr const char* kKey = "max_position_embeddings";
    constexpr std::uint64_t kMost = 1ull << 40;
    Problems problems;
    const JsonReader reader = config->reader(problems);
    std::optional<std::uint64_t> most = count(reader, kKey, 1, kMost);
    if (const Json* text = reader.object("text_config")) {
        const JsonReader inner(*text, "/text_config", problems);
        most = inner.has(kKey) ? count(inner, kKey, 1, kMost) : most;
    }
    config->throw_if_any(problems);
    return most;
}

std::optional<std::string> read_chat_template(const fs::path& directory) {
    const fs::path jinja = directory / "chat_template.jinja";
    if (is_there(jinja)) {
        return read_text_file(jinja, kMaxTemplateBytes);
    }
    for (const char* name : {"chat_template.json", "tokenizer_config.json"}) {
        const std::optional<SettingsFile> file = SettingsFile::read(directory / name);
        if (!file) {
            continue;
        }
        Problems problems;
        const JsonReader reader = file->reader(problems);
        const Json* value = reader.find("chat_template");
        if (value == nullptr) {
            continue;
        }
        if (value->is_string()) {
            return value->get<std::string>();
        }
        // The older form: a list of named templates.
        for (const Json& entry : value->is_array() ? *value : Json::array()) {
            Problems others;
            if (entry.is_object() && JsonReader(entry, "", others).text("name", "") == "default" &&
                JsonReader(entry, "", others).has("template") && entry["template"].is_string()) {
                return entry["template"].get<std::string>();
            }
        }
        problems.add(fmt::format("{} is {}, expected a text, or a list with a template named 'default'",
                                 reader.pointer("chat_template"), json_text(*value)));
        file->throw_if_any(problems);
    }
    return std::nullopt;
}

}  // namespace deltavino::runtime
