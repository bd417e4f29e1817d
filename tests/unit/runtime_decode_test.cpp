// Picture files of every kind, whole and broken.
#include "runtime/picture/decode.hpp"

#include "support/golden.hpp"
#include "support/pictures.hpp"

#include "base/file.hpp"

#include <deltavino/error.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <random>

#include <png.h>

namespace deltavino::runtime {
namespace {

using test::Bytes;
using test::JpegKind;
using test::PngKind;
using Pixels = std::vector<std::uint8_t>;

Bytes bytes_of(const std::string& text) {
    const auto span = std::as_bytes(std::span(text));
    return {span.begin(), span.end()};
}

Pixels pixels_of(const Bytes& file) {
    return decode_picture(file, "p").pixels;
}

// The message that decoding must end with.
std::string refusal(const Bytes& file, ErrorKind kind = ErrorKind::Input) {
    try {
        decode_picture(file, "p.png");
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), kind) << error.what();
        return error.what();
    }
    ADD_FAILURE() << "it was decoded";
    return {};
}

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

PngKind png(std::uint32_t width, std::uint32_t height, int color_type, int bit_depth = 8) {
    PngKind kind;
    kind.width = width;
    kind.height = height;
    kind.color_type = color_type;
    kind.bit_depth = bit_depth;
    return kind;
}

Pixels noise(std::size_t size) {
    std::mt19937 random(5);
    Pixels pixels(size);
    for (std::uint8_t& value : pixels) {
        value = static_cast<std::uint8_t>(random());
    }
    return pixels;
}

TEST(DecodePng, RgbAsItIs) {
    const Pixels rows = noise(5 * 3 * 3);
    EXPECT_EQ(pixels_of(write_png(png(5, 3, PNG_COLOR_TYPE_RGB), rows)), rows);
    PngKind interlaced = png(5, 3, PNG_COLOR_TYPE_RGB);
    interlaced.interlaced = true;
    EXPECT_EQ(pixels_of(write_png(interlaced, rows)), rows);
}

TEST(DecodePng, GrayBecomesRgb) {
    EXPECT_EQ(pixels_of(write_png(png(2, 1, PNG_COLOR_TYPE_GRAY), {7, 200})), (Pixels{7, 7, 7, 200, 200, 200}));
    EXPECT_EQ(pixels_of(write_png(png(3, 1, PNG_COLOR_TYPE_GRAY, 1), {0b10100000})),
              (Pixels{255, 255, 255, 0, 0, 0, 255, 255, 255}));
    EXPECT_EQ(pixels_of(write_png(png(2, 1, PNG_COLOR_TYPE_GRAY, 2), {0b01100000})),
              (Pixels{85, 85, 85, 170, 170, 170}));
    EXPECT_EQ(pixels_of(write_png(png(2, 1, PNG_COLOR_TYPE_GRAY, 4), {0x1f})), (Pixels{17, 17, 17, 255, 255, 255}));
}

TEST(DecodePng, AlphaIsDroppedNotBlended) {
    EXPECT_EQ(pixels_of(write_png(png(1, 1, PNG_COLOR_TYPE_RGB_ALPHA), {10, 20, 30, 0})), (Pixels{10, 20, 30}));
    EXPECT_EQ(pixels_of(write_png(png(1, 1, PNG_COLOR_TYPE_GRAY_ALPHA), {10, 0})), (Pixels{10, 10, 10}));
}

TEST(DecodePng, SixteenBitsKeepTheHighByte) {
    EXPECT_EQ(pixels_of(write_png(png(1, 1, PNG_COLOR_TYPE_RGB, 16), {10, 255, 20, 0, 30, 128})), (Pixels{10, 20, 30}));
    EXPECT_EQ(pixels_of(write_png(png(1, 1, PNG_COLOR_TYPE_GRAY, 16), {99, 255})), (Pixels{99, 99, 99}));
    EXPECT_EQ(pixels_of(write_png(png(1, 1, PNG_COLOR_TYPE_RGB_ALPHA, 16), {1, 0, 2, 0, 3, 0, 0, 0})),
              (Pixels{1, 2, 3}));
}

TEST(DecodePng, PaletteIsLookedUp) {
    PngKind kind = png(4, 1, PNG_COLOR_TYPE_PALETTE, 2);
    kind.palette = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    const Pixels expected{10, 11, 12, 1, 2, 3, 7, 8, 9, 4, 5, 6};
    EXPECT_EQ(pixels_of(write_png(kind, {0b11001001})), expected);
    kind.palette_alpha = {0, 0, 0, 0};
    EXPECT_EQ(pixels_of(write_png(kind, {0b11001001})), expected);
}

TEST(DecodePng, OnePixel) {
    const Picture picture = decode_picture(write_png(png(1, 1, PNG_COLOR_TYPE_RGB), {1, 2, 3}), "p");
    EXPECT_EQ(picture.width, 1u);
    EXPECT_EQ(picture.height, 1u);
}

// Left to right and top to bottom: 1 2 3 / 4 5 6.
const Pixels kSix{1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5, 6, 6, 6};

std::string grays(const Picture& picture) {
    std::string text;
    for (std::size_t i = 0; i < picture.pixels.size(); i += 3) {
        text += (i > 0 && i / 3 % picture.width == 0 ? "/" : "") + std::to_string(picture.pixels[i]);
    }
    return text;
}

TEST(Orientation, TurnsAsExifSays) {
    // What Pillow's ImageOps.exif_transpose makes of it.
    const std::vector<std::string> expected{"123/456",  "321/654",  "654/321",  "456/123",
                                            "14/25/36", "41/52/63", "63/52/41", "36/25/14"};
    for (int orientation = 1; orientation <= 8; ++orientation) {
        EXPECT_EQ(grays(turn_upright(Picture{3, 2, kSix}, orientation)),
                  expected[static_cast<std::size_t>(orientation - 1)])
            << orientation;
        for (const bool big : {false, true}) {
            PngKind kind = png(3, 2, PNG_COLOR_TYPE_RGB);
            kind.exif = test::exif_block(orientation, big);
            EXPECT_EQ(grays(decode_picture(write_png(kind, kSix), "p")),
                      expected[static_cast<std::size_t>(orientation - 1)])
                << orientation;
        }
    }
}

TEST(Orientation, OfDamagedExifIsNone) {
    const Bytes whole = test::exif_block(6, false);
    EXPECT_EQ(exif_orientation(whole), 6);
    for (std::size_t size = 0; size < whole.size(); ++size) {
        const auto part = std::span(whole).first(size);
        const std::optional<int> orientation = exif_orientation(part);
        EXPECT_TRUE(!orientation || *orientation == 6) << size;
    }
    EXPECT_FALSE(exif_orientation(std::span(whole).first(31)));
    EXPECT_FALSE(exif_orientation(test::exif_block(0, false)));
    EXPECT_FALSE(exif_orientation(test::exif_block(9, true)));
    Bytes far = whole;
    far[4] = far[5] = far[6] = far[7] = std::byte{0xff};  // a directory beyond the end
    EXPECT_FALSE(exif_orientation(far));
    EXPECT_FALSE(exif_orientation(bytes_of("II*")));
}

JpegKind jpeg(std::uint32_t width, std::uint32_t height, int components) {
    JpegKind kind;
    kind.width = width;
    kind.height = height;
    kind.components = components;
    return kind;
}

// One colour all over, so that the compression loses next to nothing.
Pixels flat(const JpegKind& kind, const Pixels& color) {
    Pixels rows;
    for (std::size_t i = 0; i < std::size_t{kind.width} * kind.height; ++i) {
        rows.insert(rows.end(), color.begin(), color.end());
    }
    return rows;
}

void expect_color(const Bytes& file, const Pixels& color) {
    const Picture picture = decode_picture(file, "p.jpg");
    ASSERT_EQ(picture.pixels.size(), std::size_t{picture.width} * picture.height * 3);
    for (std::size_t i = 0; i < picture.pixels.size(); ++i) {
        ASSERT_NEAR(picture.pixels[i], color[i % 3], 2) << i;
    }
}

TEST(DecodeJpeg, RgbGrayAndProgressive) {
    for (const bool progressive : {false, true}) {
        JpegKind rgb = jpeg(19, 11, 3);
        rgb.progressive = progressive;
        expect_color(write_jpeg(rgb, flat(rgb, {200, 30, 90})), {200, 30, 90});
        JpegKind gray = jpeg(19, 11, 1);
        gray.progressive = progressive;
        expect_color(write_jpeg(gray, flat(gray, {77})), {77, 77, 77});
    }
}

TEST(DecodeJpeg, CmykIsInvertedAndMultipliedByBlack) {
    // Adobe's levels: 255 is no ink. Half of the black ink over cyan-free, half magenta, full yellow.
    const JpegKind kind = jpeg(16, 16, 4);
    expect_color(write_jpeg(kind, flat(kind, {255, 128, 0, 128})), {128, 64, 0});
    expect_color(write_jpeg(kind, flat(kind, {255, 255, 255, 255})), {255, 255, 255});
}

TEST(DecodeJpeg, ExifTurns) {
    JpegKind kind = jpeg(32, 16, 3);
    Pixels rows = flat(kind, {0, 0, 0});
    for (std::size_t i = 0; i < 16 * 3; ++i) {
        for (std::size_t y = 0; y < 16; ++y) {
            rows[y * 32 * 3 + i] = 255;  // the left half white
        }
    }
    kind.exif = test::exif_block(6, true);  // turn a quarter clockwise: the left becomes the top
    const Picture picture = decode_picture(write_jpeg(kind, rows), "p");
    EXPECT_EQ(picture.width, 16u);
    EXPECT_EQ(picture.height, 32u);
    EXPECT_GT(picture.pixels[0], 250);
    EXPECT_LT(picture.pixels[picture.pixels.size() - 1], 5);
}

TEST(Decode, TellsTheFormatByContent) {
    EXPECT_EQ(refusal(bytes_of("just text")), "cannot use picture 'p.png': its content is neither PNG nor JPEG");
    refusal({});
    EXPECT_TRUE(contains(refusal(bytes_of("GIF89a....."), ErrorKind::Unsupported), "it is a GIF picture"));
    EXPECT_TRUE(
        contains(refusal(bytes_of("RIFF\x10\x20\x30\x40WEBPVP8 "), ErrorKind::Unsupported), "it is a WebP picture"));
    EXPECT_TRUE(contains(refusal(bytes_of("BM......"), ErrorKind::Unsupported), "it is a BMP picture"));
    // A JPEG by another name is a JPEG.
    const JpegKind kind = jpeg(8, 8, 1);
    EXPECT_EQ(decode_picture(write_jpeg(kind, flat(kind, {5})), "really.png").width, 8u);
}

TEST(Decode, RefusesTooManyPixelsBeforeItAllocates) {
    EXPECT_TRUE(contains(refusal(test::png_header(20000, 20000)),
                         "it is 20000 x 20000 pixels, expected at most 178956970 pixels in all"));
    EXPECT_TRUE(contains(refusal(test::png_header(2147483647, 1)), "it is 2147483647 x 1 pixels"));
    EXPECT_TRUE(contains(refusal(test::png_header(2147483647, 2147483647)), "expected at most"));
    const JpegKind kind = jpeg(8, 8, 1);
    Bytes file = write_jpeg(kind, flat(kind, {5}));
    for (std::size_t i = 0; i + 9 < file.size(); ++i) {
        if (file[i] == std::byte{0xff} && file[i + 1] == std::byte{0xc0}) {  // the frame header: height, width
            std::fill_n(file.begin() + static_cast<std::ptrdiff_t>(i) + 5, 4, std::byte{0xf0});
        }
    }
    EXPECT_TRUE(contains(refusal(file), "it is 61680 x 61680 pixels"));
}

TEST(Decode, RefusesEveryTruncation) {
    const Bytes png_file = write_png(png(20, 20, PNG_COLOR_TYPE_RGB), noise(20 * 20 * 3));
    JpegKind kind = jpeg(20, 20, 3);
    const Bytes jpeg_file = write_jpeg(kind, noise(20 * 20 * 3));
    kind.progressive = true;
    const Bytes progressive_file = write_jpeg(kind, noise(20 * 20 * 3));
    for (const Bytes& file : {png_file, jpeg_file, progressive_file}) {
        ASSERT_NO_THROW(decode_picture(file, "p"));
        for (std::size_t size = 0; size < file.size(); ++size) {
            refusal({file.begin(), file.begin() + static_cast<std::ptrdiff_t>(size)});
        }
    }
    EXPECT_TRUE(contains(refusal({jpeg_file.begin(), jpeg_file.end() - 40}), "the file ends before the picture does"));
    EXPECT_TRUE(contains(refusal({png_file.begin(), png_file.end() - 40}), "the file ends before the picture does"));
}

TEST(Decode, RefusesEndlessPasses) {
    JpegKind kind = jpeg(16, 16, 3);
    kind.separate_scans = true;
    const Bytes file = write_jpeg(kind, flat(kind, {1, 2, 3}));
    ASSERT_NO_THROW(decode_picture(file, "p"));
    std::size_t last = file.size() - 2;  // the last scan: from its marker to the end marker
    while (file[last] != std::byte{0xff} || file[last + 1] != std::byte{0xda}) {
        last -= 1;
    }
    Bytes many(file.begin(), file.end() - 2);
    for (int i = 0; i < 300; ++i) {
        many.insert(many.end(), file.begin() + static_cast<std::ptrdiff_t>(last), file.end() - 2);
    }
    many.insert(many.end(), file.end() - 2, file.end());
    EXPECT_TRUE(contains(refusal(many), "more than 200 passes"));
}

TEST(Decode, SurvivesEveryFlippedByte) {
    PngKind with_exif = png(9, 7, PNG_COLOR_TYPE_RGB);
    with_exif.exif = test::exif_block(6, false);
    JpegKind kind = jpeg(17, 9, 3);
    kind.exif = test::exif_block(6, true);
    JpegKind progressive = kind;
    progressive.progressive = true;
    JpegKind cmyk = jpeg(17, 9, 4);
    std::size_t decoded = 0;
    std::size_t refused = 0;
    for (const Bytes& file : {write_png(with_exif, noise(9 * 7 * 3)), write_jpeg(kind, noise(17 * 9 * 3)),
                              write_jpeg(progressive, noise(17 * 9 * 3)), write_jpeg(cmyk, noise(17 * 9 * 4))}) {
        for (std::size_t i = 0; i < file.size(); ++i) {
            for (const unsigned value : {0x00u, 0xffu, std::to_integer<unsigned>(file[i]) ^ 0x01u,
                                         std::to_integer<unsigned>(file[i]) ^ 0x80u}) {
                Bytes broken = file;
                broken[i] = static_cast<std::byte>(value);
                try {
                    const Picture picture = decode_picture(broken, "p");
                    EXPECT_EQ(picture.pixels.size(), std::size_t{picture.width} * picture.height * 3);
                    decoded += 1;
                } catch (const Error&) {
                    refused += 1;
                }
            }
        }
    }
    EXPECT_GT(decoded, 0u);
    EXPECT_GT(refused, 0u);
}

TEST(ReadPicture, NamesTheFile) {
    test::TemporaryDirectory directory;
    const auto message = [](const std::filesystem::path& path) {
        try {
            read_picture(path);
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::Input);
            return std::string(error.what());
        }
        return std::string();
    };
    EXPECT_TRUE(contains(message(directory.path() / "absent.png"), "absent.png"));
    EXPECT_TRUE(contains(message(directory.path()), "not a regular file"));
    write_text_file(directory.path() / "notes.png", "hello");
    EXPECT_TRUE(contains(message(directory.path() / "notes.png"), "notes.png': its content is neither PNG nor JPEG"));
}

}  // namespace
}  // namespace deltavino::runtime
