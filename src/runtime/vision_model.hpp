// The vision tower of an exported directory: from pixel patches to the rows that replace placeholders.
#pragma once

#include "runtime/language_model.hpp"
#include "runtime/picture/image.hpp"
#include "runtime/settings.hpp"

#include <cstdint>
#include <filesystem>
#include <vector>

namespace deltavino::runtime {

class VisionModel {
public:
    VisionModel(ov::Core& core, const std::filesystem::path& directory, const DeviceSettings& settings);

    const PictureSettings& settings() const { return settings_; }

    // Rows [patches / merge_size^2, width] for one picture. Pictures do not see each other in the tower,
    // so each goes through alone: the attention mask never has to tell them apart.
    // Throws ErrorKind::Cancelled when `stop` says so.
    std::vector<float> rows(const Patches& patches, const StopCheck& stop = {});

private:
    std::vector<float> position_embeddings(const PatchGrid& grid, const StopCheck& stop);

    PictureSettings settings_;
    std::uint32_t table_side_ = 0;
    bool one_mask_row_ = false;
    std::uint32_t rotary_width_ = 0;
    StoppableRequest embeddings_;
    ov::InferRequest positions_;
    StoppableRequest merger_;
};

}  // namespace deltavino::runtime
