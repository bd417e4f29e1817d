// The tower of an exported directory stage by stage, each with what the reference puts into it.
#pragma once

#include "reference/vision_model.hpp"
#include "runtime/picture/image.hpp"

#include <openvino/openvino.hpp>

#include <filesystem>
#include <string>

namespace deltavino::evaluation {

// The patches as the reference takes them: [patches, values of one].
inline Eigen::Map<const reference::Matrix> patch_rows(const runtime::Patches& patches) {
    const auto count = static_cast<reference::Index>(patches.grid.patches());
    return {patches.values.data(), count, static_cast<reference::Index>(patches.values.size()) / count};
}

struct VisionStages {
    ov::Core& core;
    const std::filesystem::path& directory;
    const std::string& device;
    const checkpoint::VisionConfig& config;
    const reference::Context& context;  // of the exported weights

    // "patch embeddings", "position embeddings", "block 3", "merger"; empty when every stage alone is right.
    std::string first_wrong(const runtime::Patches& patches, std::uint32_t merge) const;
};

}  // namespace deltavino::evaluation
