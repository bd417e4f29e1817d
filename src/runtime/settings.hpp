// What an exported directory says in its JSON files, as far as running it needs that.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace deltavino::runtime {

// generation_config.json. Fields that are absent stay empty.
struct GenerationDefaults {
    std::vector<std::int64_t> eos_ids;
    bool do_sample = false;
    std::optional<double> temperature;
    std::optional<std::uint64_t> top_k;
    std::optional<double> top_p;
    std::optional<double> repetition_penalty;
    std::optional<std::uint64_t> max_new_tokens;
    std::vector<std::string> ignored;  // settings that ask for something this runner does not do
};

// The image processor's settings, with the defaults of transformers' Qwen2VLImageProcessorFast.
struct PictureSettings {
    std::uint32_t patch_size = 14;
    std::uint32_t temporal_patch_size = 2;
    std::uint32_t merge_size = 2;
    std::uint64_t min_pixels = 56 * 56;
    std::uint64_t max_pixels = 28 * 28 * 1280;
    std::array<float, 3> mean{0.48145466f, 0.4578275f, 0.40821073f};
    std::array<float, 3> deviation{0.26862954f, 0.26130258f, 0.27577711f};
};

// An absent file gives the defaults of the struct; a broken one throws ErrorKind::Input.
GenerationDefaults read_generation_defaults(const std::filesystem::path& directory);

// From processor_config.json's 'image_processor', else preprocessor_config.json; throws when there is
// neither, or when it asks for another kind of processing.
PictureSettings read_picture_settings(const std::filesystem::path& directory);

// Rows (and columns) of the square table of position embeddings, from config.json.
std::uint32_t read_position_grid_side(const std::filesystem::path& directory);

// The chat template in the files: chat_template.jinja, chat_template.json, tokenizer_config.json, in
// this order; nothing when none has one.
std::optional<std::string> read_chat_template(const std::filesystem::path& directory);

}  // namespace deltavino::runtime
