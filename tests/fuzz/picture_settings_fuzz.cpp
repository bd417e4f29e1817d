// preprocessor_config.json and its relatives, and what they make of a picture.
#include "export/directory/processor_files.hpp"
#include "fuzz/harness.hpp"
#include "runtime/picture/image.hpp"

using namespace deltavino;

void fuzz_one(std::string_view input) {
    const fuzz::Folder& folder = fuzz::input_folder();
    fuzz::unpack(folder, input, "preprocessor_config.json");
    const std::filesystem::path& path = folder.path();
    fuzz::expect_error_at_most([&] {
        checkpoint::VisionConfig vision;
        exporter::read_processor_files(path, vision);
    });
    fuzz::expect_error_at_most([&] { runtime::read_position_grid_side(path); });
    fuzz::expect_error_at_most([&] { runtime::read_max_positions(path); });
    fuzz::expect_error_at_most([&] {
        const runtime::PictureSettings settings = runtime::read_picture_settings(path);
        const runtime::PictureSize size = runtime::target_size({7, 5}, settings, "input");
        constexpr std::uint64_t kMost = 1u << 18;  // more is slow, not wrong
        if (std::uint64_t{size.width} * size.height * settings.temporal_patch_size <= kMost) {
            runtime::make_patches({7, 5, std::vector<std::uint8_t>(105, 200)}, settings, "input");
        }
    });
}
