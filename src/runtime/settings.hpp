// What an exported directory says in its JSON files, as far as running it needs that.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace deltavino::runtime {

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

// From processor_config.json's 'image_processor', else preprocessor_config.json; throws when there is
// neither, or when it asks for another kind of processing. Like the others here, it throws
// ErrorKind::Input for a broken file, naming everything that is wrong in it.
PictureSettings read_picture_settings(const std::filesystem::path& directory);

// Rows (and columns) of the square table of position embeddings, from config.json.
std::uint32_t read_position_grid_side(const std::filesystem::path& directory);

// 'max_position_embeddings' of config.json, or of its 'text_config'; nothing when neither says it.
std::optional<std::uint64_t> read_max_positions(const std::filesystem::path& directory);

// The chat template in the files: chat_template.jinja, chat_template.json, tokenizer_config.json, in
// this order; nothing when none has one.
std::optional<std::string> read_chat_template(const std::filesystem::path& directory);

}  // namespace deltavino::runtime
