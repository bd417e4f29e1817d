// Tells the format, and turns by EXIF. Ground truth: Pillow's Image.open, ImageOps.exif_transpose and
// convert("RGB"), which transformers' load_image applies in this order.
#include "runtime/picture/decode.hpp"

#include "base/error.hpp"
#include "base/file.hpp"

#include <array>
#include <cstring>
#include <string_view>

namespace deltavino::runtime {
namespace {

constexpr std::uint64_t kMaxFileBytes = 512ull << 20;

bool starts_with(std::span<const std::byte> bytes, std::string_view magic, std::size_t offset = 0) {
    return bytes.size() >= offset + magic.size() && std::memcmp(bytes.data() + offset, magic.data(), magic.size()) == 0;
}

// Formats that people have and this runner does not read.
const char* other_format(std::span<const std::byte> bytes) {
    if (starts_with(bytes, "RIFF") && starts_with(bytes, "WEBP", 8)) {
        return "a WebP picture";
    }
    if (starts_with(bytes, "GIF8")) {
        return "a GIF picture";
    }
    if (starts_with(bytes, "BM")) {
        return "a BMP picture";
    }
    if (starts_with(bytes, std::string_view("II*\0", 4)) || starts_with(bytes, std::string_view("MM\0*", 4))) {
        return "a TIFF picture";
    }
    if (starts_with(bytes, "ftyp", 4)) {
        return "a HEIC, AVIF or video file";
    }
    if (starts_with(bytes, "\xff\x0a") || starts_with(bytes, "JXL ", 4)) {
        return "a JPEG XL picture";
    }
    if (starts_with(bytes, "jP  ", 4)) {
        return "a JPEG 2000 picture";
    }
    return nullptr;
}

// Reads numbers of a TIFF block, whose first two bytes give the byte order.
class TiffReader {
public:
    explicit TiffReader(std::span<const std::byte> bytes) : bytes_(bytes), big_(starts_with(bytes, "MM")) {}

    std::optional<std::uint32_t> number(std::uint64_t offset, std::size_t width) const {
        if (offset > bytes_.size() || bytes_.size() - offset < width) {
            return std::nullopt;
        }
        std::uint32_t value = 0;
        for (std::size_t i = 0; i < width; ++i) {
            const std::size_t place = big_ ? i : width - 1 - i;
            value = value << 8 | std::to_integer<std::uint32_t>(bytes_[static_cast<std::size_t>(offset) + place]);
        }
        return value;
    }

private:
    std::span<const std::byte> bytes_;
    bool big_;
};

}  // namespace

void require_picture_size(std::uint64_t width, std::uint64_t height, const std::string& name) {
    if (width == 0 || height == 0) {
        fail(ErrorKind::Input, "cannot use picture '{}': it is {} x {} pixels", name, width, height);
    }
    if (width > kMaxPicturePixels / height) {
        fail(ErrorKind::Input, "cannot use picture '{}': it is {} x {} pixels, expected at most {} pixels in all", name,
             width, height, kMaxPicturePixels);
    }
}

std::optional<int> exif_orientation(std::span<const std::byte> tiff) {
    if (!starts_with(tiff, std::string_view("II*\0", 4)) && !starts_with(tiff, std::string_view("MM\0*", 4))) {
        return std::nullopt;
    }
    const TiffReader reader(tiff);
    constexpr std::uint32_t kOrientation = 0x0112;
    constexpr std::uint32_t kShort = 3;
    const std::optional<std::uint32_t> directory = reader.number(4, 4);
    const std::optional<std::uint32_t> entries = directory ? reader.number(*directory, 2) : std::nullopt;
    for (std::uint32_t i = 0; entries && i < *entries; ++i) {
        const std::uint64_t entry = std::uint64_t{*directory} + 2 + std::uint64_t{i} * 12;
        const auto tag = reader.number(entry, 2);
        if (!tag) {
            return std::nullopt;
        }
        if (*tag == kOrientation) {
            const auto value = reader.number(entry + 8, 2);
            const bool usable = reader.number(entry + 2, 2) == kShort && value && *value >= 1 && *value <= 8;
            return usable ? std::optional<int>(static_cast<int>(*value)) : std::nullopt;
        }
    }
    return std::nullopt;
}

Picture turn_upright(Picture picture, int orientation) {
    if (orientation <= 1 || orientation > 8) {
        return picture;
    }
    const bool swaps = orientation >= 5;  // rows become columns
    const std::uint32_t width = swaps ? picture.height : picture.width;
    const std::uint32_t height = swaps ? picture.width : picture.height;
    // Whether the source row and column run backwards when the target runs forwards.
    const bool rows_back = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    const bool columns_back = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    Picture turned{width, height, std::vector<std::uint8_t>(picture.pixels.size())};
    std::uint8_t* out = turned.pixels.data();
    for (std::uint32_t y = 0; y < height; ++y) {
        for (std::uint32_t x = 0; x < width; ++x) {
            const std::uint32_t row = swaps ? x : y;
            const std::uint32_t column = swaps ? y : x;
            const std::size_t from =
                (static_cast<std::size_t>(rows_back ? picture.height - 1 - row : row) * picture.width +
                 (columns_back ? picture.width - 1 - column : column)) *
                3;
            std::memcpy(out, picture.pixels.data() + from, 3);
            out += 3;
        }
    }
    return turned;
}

Picture decode_picture(std::span<const std::byte> bytes, const std::string& name) {
    DecodedPicture decoded;
    if (starts_with(bytes, "\x89PNG\r\n\x1a\n")) {
        decoded = decode_png(bytes, name);
    } else if (starts_with(bytes, "\xff\xd8\xff")) {
        decoded = decode_jpeg(bytes, name);
    } else if (const char* format = other_format(bytes)) {
        fail(ErrorKind::Unsupported, "cannot use picture '{}': it is {}, and PNG and JPEG can be read", name, format);
    } else {
        fail(ErrorKind::Input, "cannot use picture '{}': its content is neither PNG nor JPEG", name);
    }
    return turn_upright(std::move(decoded.picture), decoded.orientation);
}

Picture read_picture(const std::filesystem::path& path) {
    const std::string bytes = read_text_file(path, kMaxFileBytes);
    return decode_picture(std::as_bytes(std::span(bytes)), path.string());
}

}  // namespace deltavino::runtime
