#include "support/pictures.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string_view>

#include <jpeglib.h>
#include <png.h>

namespace deltavino::test {
namespace {

void append_to(png_structp png, png_bytep data, png_size_t size) {
    auto* out = static_cast<Bytes*>(png_get_io_ptr(png));
    const auto* begin = reinterpret_cast<const std::byte*>(data);
    out->insert(out->end(), begin, begin + size);
}

// Errors in what the tests themselves write end the test.
void stop(png_structp, png_const_charp message) {
    std::fprintf(stderr, "libpng cannot write: %s\n", message);
    std::abort();
}

void put(Bytes& out, std::uint32_t value, std::size_t width, bool big) {
    for (std::size_t i = 0; i < width; ++i) {
        out.push_back(static_cast<std::byte>(value >> 8 * (big ? width - 1 - i : i)));
    }
}

}  // namespace

Bytes write_png(const PngKind& kind, const std::vector<std::uint8_t>& rows) {
    Bytes out;
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, stop, nullptr);
    png_infop info = png_create_info_struct(png);
    png_set_write_fn(png, &out, append_to, nullptr);
    png_set_IHDR(png, info, kind.width, kind.height, kind.bit_depth, kind.color_type,
                 kind.interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    std::vector<png_color> palette;
    for (std::size_t i = 0; i + 2 < kind.palette.size(); i += 3) {
        palette.push_back({kind.palette[i], kind.palette[i + 1], kind.palette[i + 2]});
    }
    if (!palette.empty()) {
        png_set_PLTE(png, info, palette.data(), static_cast<int>(palette.size()));
    }
    if (!kind.palette_alpha.empty()) {
        png_set_tRNS(png, info, kind.palette_alpha.data(), static_cast<int>(kind.palette_alpha.size()), nullptr);
    }
    if (!kind.exif.empty()) {
        Bytes exif = kind.exif;
        png_set_eXIf_1(png, info, static_cast<png_uint_32>(exif.size()), reinterpret_cast<png_bytep>(exif.data()));
    }
    png_write_info(png, info);
    const std::size_t row_bytes = png_get_rowbytes(png, info);
    if (rows.size() != row_bytes * kind.height) {
        throw std::runtime_error("rows of a wrong size");
    }
    std::vector<png_bytep> pointers;
    for (std::size_t y = 0; y < kind.height; ++y) {
        pointers.push_back(const_cast<png_bytep>(rows.data() + y * row_bytes));
    }
    png_write_image(png, pointers.data());
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    return out;
}

Bytes write_jpeg(const JpegKind& kind, const std::vector<std::uint8_t>& rows) {
    jpeg_compress_struct info{};
    jpeg_error_mgr errors{};
    info.err = jpeg_std_error(&errors);
    jpeg_create_compress(&info);
    unsigned char* data = nullptr;
    unsigned long size = 0;
    jpeg_mem_dest(&info, &data, &size);
    info.image_width = kind.width;
    info.image_height = kind.height;
    info.input_components = kind.components;
    info.in_color_space = kind.components == 1 ? JCS_GRAYSCALE : kind.components == 3 ? JCS_RGB : JCS_CMYK;
    jpeg_set_defaults(&info);
    jpeg_set_quality(&info, 100, TRUE);
    info.comp_info[0].h_samp_factor = info.comp_info[0].v_samp_factor =
        1;  // colours at full size: the tests compare levels
    if (kind.progressive) {
        jpeg_simple_progression(&info);
    }
    std::vector<jpeg_scan_info> scans;
    for (int i = 0; kind.separate_scans && i < kind.components; ++i) {
        scans.push_back({1, {i, 0, 0, 0}, 0, 63, 0, 0});
    }
    if (!scans.empty()) {
        info.scan_info = scans.data();
        info.num_scans = static_cast<int>(scans.size());
    }
    jpeg_start_compress(&info, TRUE);
    if (!kind.exif.empty()) {
        Bytes marker(6, std::byte{0});
        std::memcpy(marker.data(), "Exif", 4);
        marker.insert(marker.end(), kind.exif.begin(), kind.exif.end());
        jpeg_write_marker(&info, JPEG_APP0 + 1, reinterpret_cast<const JOCTET*>(marker.data()),
                          static_cast<unsigned int>(marker.size()));
    }
    for (std::size_t y = 0; y < kind.height; ++y) {
        JSAMPROW row = const_cast<JSAMPROW>(rows.data() + y * kind.width * static_cast<std::size_t>(kind.components));
        jpeg_write_scanlines(&info, &row, 1);
    }
    jpeg_finish_compress(&info);
    jpeg_destroy_compress(&info);
    const auto* begin = reinterpret_cast<const std::byte*>(data);
    Bytes out(begin, begin + size);
    std::free(data);
    return out;
}

Bytes exif_block(int orientation, bool big_endian) {
    Bytes out;
    for (const char c : std::string_view(big_endian ? "MM" : "II")) {
        out.push_back(static_cast<std::byte>(c));
    }
    put(out, 42, 2, big_endian);
    put(out, 8, 4, big_endian);       // where the directory stands
    put(out, 2, 2, big_endian);       // its entries
    put(out, 0x0100, 2, big_endian);  // the width, as a neighbour
    put(out, 4, 2, big_endian);
    put(out, 1, 4, big_endian);
    put(out, 99, 4, big_endian);
    put(out, 0x0112, 2, big_endian);
    put(out, 3, 2, big_endian);
    put(out, 1, 4, big_endian);
    put(out, static_cast<std::uint32_t>(orientation), 2, big_endian);
    put(out, 0, 2, big_endian);
    put(out, 0, 4, big_endian);
    return out;
}

Bytes png_header(std::uint32_t width, std::uint32_t height) {
    PngKind kind;
    kind.width = 1;
    kind.height = 1;
    kind.color_type = PNG_COLOR_TYPE_RGB;
    Bytes bytes = write_png(kind, {1, 2, 3});
    Bytes size;
    put(size, width, 4, true);
    put(size, height, 4, true);
    std::copy(size.begin(), size.end(), bytes.begin() + 16);
    std::uint32_t crc = 0xffffffffu;  // of the chunk's name and content
    for (std::size_t i = 12; i < 29; ++i) {
        crc ^= std::to_integer<std::uint32_t>(bytes[i]);
        for (int bit = 0; bit < 8; ++bit) {
            crc = crc >> 1 ^ ((crc & 1) != 0 ? 0xedb88320u : 0u);
        }
    }
    Bytes check;
    put(check, ~crc, 4, true);
    std::copy(check.begin(), check.end(), bytes.begin() + 29);
    return bytes;
}

}  // namespace deltavino::test
