// Writes PNG and JPEG files for the tests, in the odd kinds that real files have.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace deltavino::test {

using Bytes = std::vector<std::byte>;

struct PngKind {
    std::uint32_t width = 0;
    std::uint32_t height = 0;
    int color_type = 0;  // PNG_COLOR_TYPE_*
    int bit_depth = 8;
    bool interlaced = false;
    std::vector<std::uint8_t> palette;  // RGB
    std::vector<std::uint8_t> palette_alpha;
    Bytes exif;
};
// `rows`: the rows as PNG stores them before filtering.
Bytes write_png(const PngKind& kind, const std::vector<std::uint8_t>& rows);

struct JpegKind {
    std::uint32_t width = 0;
    std::uint32_t height = 0;
    int components = 3;  // 1: gray, 3: RGB, 4: CMYK as Adobe stores it
    bool progressive = false;
    bool separate_scans = false;  // one for each colour component
    Bytes exif;                   // a TIFF block
};
Bytes write_jpeg(const JpegKind& kind, const std::vector<std::uint8_t>& rows);

// A TIFF block with an orientation.
Bytes exif_block(int orientation, bool big_endian);

// A PNG whose header claims a size; the pixels are missing.
Bytes png_header(std::uint32_t width, std::uint32_t height);

}  // namespace deltavino::test
