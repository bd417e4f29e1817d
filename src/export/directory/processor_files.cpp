// Ground truth: transformers 5.2 `Qwen2VLImageProcessorFast`, `Qwen3VLVideoProcessor` (their defaults stand
// in for keys that a file leaves out) and the files that their save_pretrained writes.
#include "export/directory/processor_files.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "json/document.hpp"
#include "json/reader.hpp"

#include <algorithm>
#include <optional>

namespace deltavino::exporter {
namespace {

namespace fs = std::filesystem;
using checkpoint::VisionConfig;

constexpr const char* kProcessor = "processor_config.json";
constexpr const char* kImage = "preprocessor_config.json";
constexpr const char* kVideo = "video_preprocessor_config.json";

std::optional<Json> read_object(const fs::path& file) {
    if (!is_there(file)) {
        return std::nullopt;
    }
    Json json = parse_json(read_text_file(file), file.string());
    if (!json.is_object()) {
        fail(ErrorKind::Input, "cannot use '{}': expected a JSON object", file.string());
    }
    return json;
}

const Json* find_object(const std::optional<Json>& json, const char* key, Problems& problems) {
    return json ? JsonReader(*json, kProcessor, problems).object(key) : nullptr;
}

// Types of what is read here and by the image processors of consumers, before any of it is used.
void check_types(const Json& section, const std::string& where, Problems& problems) {
    const JsonReader reader(section, where, problems);
    for (const char* key : {"processor_class", "image_processor_type", "video_processor_type"}) {
        reader.text(key);
    }
    for (const char* key : {"do_convert_rgb", "do_resize", "do_rescale", "do_normalize", "do_sample_frames"}) {
        reader.flag(key, true);
    }
    constexpr std::uint64_t kMostPixels = 1ull << 40;
    for (const char* key : {"patch_size", "temporal_patch_size", "merge_size", "min_frames", "max_frames"}) {
        reader.size(key, 1);
    }
    for (const char* key : {"min_pixels", "max_pixels"}) {
        reader.size(key, 1, 1, kMostPixels);
    }
    for (const char* key : {"rescale_factor", "fps"}) {
        reader.number(key, 1.0);
    }
    for (const char* key : {"image_mean", "image_std"}) {
        const Json* colours = reader.array(key);
        const bool numbers = colours == nullptr || std::all_of(colours->begin(), colours->end(),
                                                               [](const Json& value) { return value.is_number(); });
        if (colours != nullptr && (!numbers || colours->size() != 3)) {
            reader.wrong(key, "three numbers");
        }
    }
    const JsonReader size(reader.object_or_empty("size"), reader.pointer("size"), problems);
    for (const char* key : {"shortest_edge", "longest_edge", "height", "width"}) {
        size.size(key, 1, 1, kMostPixels);
    }
}

// The defaults with the values of `section` over them.
Json completed(Json defaults, const Json& section, const VisionConfig& vision) {
    defaults["patch_size"] = vision.patch_size;
    defaults["temporal_patch_size"] = vision.temporal_patch_size;
    defaults["merge_size"] = vision.spatial_merge_size;
    for (const auto& [key, value] : section.items()) {
        if (!value.is_null()) {
            defaults[key] = value;
        }
    }
    return defaults;
}

Json image_section(const Json& given, const VisionConfig& vision) {
    Json section = completed({{"image_processor_type", "Qwen2VLImageProcessorFast"},
                              {"image_mean", {0.48145466, 0.4578275, 0.40821073}},
                              {"image_std", {0.26862954, 0.26130258, 0.27577711}},
                              {"size", {{"shortest_edge", 56 * 56}, {"longest_edge", 28 * 28 * 1280}}}},
                             given, vision);
    // The older spelling of the limits overrides the newer one in transformers.
    for (const auto& [old_key, edge] :
         {std::pair{"min_pixels", "shortest_edge"}, std::pair{"max_pixels", "longest_edge"}}) {
        if (section.contains(old_key)) {
            section["size"][edge] = section[old_key];
            section.erase(old_key);
        }
    }
    section.erase("processor_class");
    return section;
}

Json video_section(Json given, const VisionConfig& vision) {
    for (const char* key : {"processor_class", "image_processor_type", "min_pixels", "max_pixels"}) {
        given.erase(key);
    }
    return completed({{"video_processor_type", "Qwen3VLVideoProcessor"},
                      {"image_mean", {0.5, 0.5, 0.5}},
                      {"image_std", {0.5, 0.5, 0.5}},
                      {"size", {{"shortest_edge", 128 * 32 * 32}, {"longest_edge", 32 * 32 * 768}}},
                      {"fps", 2},
                      {"min_frames", 4},
                      {"max_frames", 768},
                      {"do_sample_frames", true}},
                     given, vision);
}

// Patches of another size would reach the tower as noise, without any error.
void check_patches(const Json& section, const char* what, const VisionConfig& vision, Problems& problems) {
    for (const auto& [key, expected] :
         {std::pair{"patch_size", vision.patch_size}, std::pair{"temporal_patch_size", vision.temporal_patch_size},
          std::pair{"merge_size", vision.spatial_merge_size}}) {
        if (section[key] != expected) {
            problems.add(fmt::format("{} of the settings for {} is {}, expected {} as in vision_config", key, what,
                                     shown(section[key]), expected));
        }
    }
    if (!section["size"].is_object() || !section["size"].contains("shortest_edge") ||
        !section["size"].contains("longest_edge")) {
        problems.add(fmt::format("size of the settings for {} is {}, expected shortest_edge and longest_edge", what,
                                 shown(section["size"])));
    }
}

std::string text_of(const Json& json) {
    return json.dump(2) + "\n";
}

}  // namespace

ProcessorFiles read_processor_files(const fs::path& checkpoint, const VisionConfig& vision) {
    const std::optional<Json> processor = read_object(checkpoint / kProcessor);
    const std::optional<Json> image_file = read_object(checkpoint / kImage);
    const std::optional<Json> video_file = read_object(checkpoint / kVideo);
    Problems problems;
    const Json* image = find_object(processor, "image_processor", problems);
    const bool image_in_processor = image != nullptr;
    if (image == nullptr && image_file) {
        image = &*image_file;
    }
    if (image == nullptr) {
        fail(ErrorKind::Input,
             "cannot export '{}' for pictures: there is no '{}' (nor a '{}' with an 'image_processor'); copy it from "
             "the model that this one was made "
             "from, or export the language part alone with --task text-generation-with-past",
             checkpoint.string(), kImage, kProcessor);
    }
    ProcessorFiles result;
    const Json* video = find_object(processor, "video_processor", problems);
    const bool video_in_processor = video != nullptr;
    if (video == nullptr && video_file) {
        video = &*video_file;
    }
    if (video == nullptr) {
        video = image;
        result.notes.push_back(fmt::format(
            "there is no '{}': videos are prepared with the settings for pictures, as transformers does", kVideo));
    }

    const std::string what = fmt::format("cannot use the processor settings of '{}'", checkpoint.string());
    const auto place = [](bool in_processor, const char* key, const char* file) {
        return in_processor ? fmt::format("{}/{}", kProcessor, key) : std::string(file);
    };
    check_types(*image, place(image_in_processor, "image_processor", kImage), problems);
    if (video != image) {
        check_types(*video, place(video_in_processor, "video_processor", kVideo), problems);
    }
    problems.throw_if_any(ErrorKind::Input, what);
    Json complete = processor.value_or(Json::object());
    if (!complete.contains("processor_class")) {
        complete["processor_class"] = JsonReader(*image, kImage, problems).text("processor_class", "Qwen3VLProcessor");
    }
    complete["image_processor"] = image_section(*image, vision);
    complete["video_processor"] = video_section(*video, vision);
    check_patches(complete["image_processor"], "pictures", vision, problems);
    check_patches(complete["video_processor"], "videos", vision, problems);
    problems.throw_if_any(ErrorKind::Input, what);

    result.files.emplace_back(kProcessor, text_of(complete));
    result.files.emplace_back(kImage, text_of(image_file.value_or(complete["image_processor"])));
    result.files.emplace_back(kVideo, text_of(video_file.value_or(complete["video_processor"])));
    return result;
}

}  // namespace deltavino::exporter
