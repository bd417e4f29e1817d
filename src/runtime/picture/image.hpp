// From a picture to the pixel patches that the vision tower takes.
#pragma once

#include "runtime/positions.hpp"
#include "runtime/settings.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace deltavino::runtime {

// 8-bit RGB, row by row without padding.
struct Picture {
    std::uint32_t width = 0;
    std::uint32_t height = 0;
    std::vector<std::uint8_t> pixels;
};

struct PictureSize {
    std::uint32_t width = 0;
    std::uint32_t height = 0;
    bool operator==(const PictureSize&) const = default;
};

// Patches [grid.patches(), 3 * temporal_patch_size * patch_size^2] in the order of patch_order().
struct Patches {
    PatchGrid grid;
    std::vector<float> values;
};

// The size to which a picture is brought: multiples of patch_size * merge_size, with a number of pixels
// between the limits and nearly the same aspect ratio. Throws ErrorKind::Input when one side is more than
// 200 times the other; `name` is for that message.
PictureSize target_size(PictureSize size, const PictureSettings& settings, const std::string& name);

// Antialiased bicubic, rounded to whole levels after each of the two directions.
Picture resize(const Picture& picture, PictureSize size);

// Resizes, normalises and cuts. A still picture fills all frames of a temporal patch.
Patches make_patches(const Picture& picture, const PictureSettings& settings, const std::string& name);

}  // namespace deltavino::runtime
