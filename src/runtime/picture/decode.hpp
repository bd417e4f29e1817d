// Reads PNG and JPEG files from untrusted bytes.
#pragma once

#include "runtime/picture/image.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>

namespace deltavino::runtime {

// Larger pictures are refused before memory is allocated for them. Pillow, which the Hugging Face
// processors read pictures with, refuses above the same number.
inline constexpr std::uint64_t kMaxPicturePixels = 178'956'970;

// The format is told by the content, not by the name. The picture is turned upright by its EXIF
// orientation and becomes 8-bit RGB as Pillow's convert("RGB") does: transparency is dropped, not
// blended; 16-bit levels keep their high byte; CMYK is inverted and multiplied by its black.
// Throws ErrorKind::Input for damaged, truncated or too large pictures and for other files,
// ErrorKind::Unsupported for formats that are recognised but not read.
Picture decode_picture(std::span<const std::byte> bytes, const std::string& name);
Picture read_picture(const std::filesystem::path& path);

// The two formats, before turning. `orientation`: EXIF value 1 to 8, 1 without EXIF.
struct DecodedPicture {
    Picture picture;
    int orientation = 1;
};
DecodedPicture decode_png(std::span<const std::byte> bytes, const std::string& name);
DecodedPicture decode_jpeg(std::span<const std::byte> bytes, const std::string& name);

// For the decoders: throws when the picture is empty or above kMaxPicturePixels.
void require_picture_size(std::uint64_t width, std::uint64_t height, const std::string& name);

// The orientation in a TIFF block, as EXIF stores it; nothing when there is none or it is damaged.
std::optional<int> exif_orientation(std::span<const std::byte> tiff);

// `picture` turned and mirrored as the EXIF orientation 1 to 8 asks.
Picture turn_upright(Picture picture, int orientation);

}  // namespace deltavino::runtime
