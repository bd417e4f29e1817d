// Pictures to patches, against what the Hugging Face processor made of the same pictures.
#include "runtime/picture/image.hpp"

#include "support/golden.hpp"

#include <deltavino/error.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>

namespace deltavino::runtime {
namespace {

using test::Golden;
using test::GoldenTensor;

// As examples/kjv-tiny.
PictureSettings settings() {
    PictureSettings result;
    result.patch_size = 16;
    result.min_pixels = 4096;
    result.max_pixels = 16777216;
    result.mean = {0.5f, 0.5f, 0.5f};
    result.deviation = {0.5f, 0.5f, 0.5f};
    return result;
}

Picture picture_of(const GoldenTensor& tensor) {
    Picture picture{static_cast<std::uint32_t>(tensor.dim(1)), static_cast<std::uint32_t>(tensor.dim(0)), {}};
    std::transform(tensor.integers.begin(), tensor.integers.end(), std::back_inserter(picture.pixels),
                   [](std::int64_t v) { return static_cast<std::uint8_t>(v); });
    return picture;
}

TEST(MakePatches, AreThoseOfTheProcessor) {
    const Golden golden = test::read_golden(test::golden_directory("vision") / "processor.safetensors");
    for (const std::string name : {"exact", "both", "narrow", "small", "large"}) {
        SCOPED_TRACE(name);
        PictureSettings limits = settings();
        if (golden.contains(name + ".limits")) {
            limits.min_pixels = static_cast<std::uint64_t>(golden.at(name + ".limits").integers[0]);
            limits.max_pixels = static_cast<std::uint64_t>(golden.at(name + ".limits").integers[1]);
        }
        const Patches patches = make_patches(picture_of(golden.at(name + ".picture")), limits, name);
        EXPECT_EQ((std::vector<std::int64_t>{1, patches.grid.rows, patches.grid.columns}),
                  golden.at(name + ".grid_thw").integers);
        const std::vector<float>& expected = golden.at(name + ".pixel_values").floats;
        ASSERT_EQ(patches.values.size(), expected.size());
        double largest = 0.0;
        for (std::size_t i = 0; i < expected.size(); ++i) {
            largest = std::max(largest, std::abs(static_cast<double>(patches.values[i]) - expected[i]));
        }
        // Not one level differs; a level is 2 / 255.
        EXPECT_LT(largest, 1e-6);
    }
}

TEST(TargetSize, RoundsEachSideToWholeMergedPatches) {
    const PictureSettings s = settings();
    EXPECT_EQ(target_size({96, 64}, s, "p"), (PictureSize{96, 64}));
    EXPECT_EQ(target_size({75, 80}, s, "p"), (PictureSize{64, 64}));      // 2.34 and 2.5: halves go to the even side
    EXPECT_EQ(target_size({112, 200}, s, "p"), (PictureSize{128, 192}));  // 3.5 goes to 4
}

TEST(TargetSize, StaysWithinThePixelLimits) {
    PictureSettings s = settings();
    EXPECT_EQ(target_size({1, 1}, s, "p"), (PictureSize{64, 64}));
    EXPECT_EQ(target_size({1, 200}, s, "p"), (PictureSize{32, 928}));
    EXPECT_EQ(target_size({20000, 8000}, s, "p"), (PictureSize{6464, 2560}));
    s.max_pixels = 65536;
    EXPECT_EQ(target_size({1000, 1000}, s, "p"), (PictureSize{256, 256}));
    EXPECT_EQ(target_size({20000, 100}, s, "p"), (PictureSize{3616, 32}));  // a side never vanishes
}

TEST(TargetSize, RefusesStrips) {
    try {
        target_size({1, 201}, settings(), "strip.png");
        FAIL();
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::Input);
        EXPECT_STREQ(
            error.what(),
            "cannot use picture 'strip.png': it is 1 x 201 pixels, and one side may be at most 200 times the other");
    }
}

TEST(Resize, KeepsEvenAreasAndDoesNotOvershoot) {
    Picture picture{8, 8, std::vector<std::uint8_t>(8 * 8 * 3, 0)};
    std::fill(picture.pixels.begin() + 8 * 4 * 3, picture.pixels.end(), 255);  // the lower half white
    const Picture larger = resize(picture, {16, 32});
    for (std::size_t x = 0; x < 16 * 3; ++x) {
        EXPECT_EQ(larger.pixels[x], 0);
        EXPECT_EQ(larger.pixels[31 * 16 * 3 + x], 255);
    }
    const Picture point = resize(picture, {1, 1});
    EXPECT_EQ(point.pixels, (std::vector<std::uint8_t>{128, 128, 128}));
}

TEST(MakePatches, ASinglePixelFillsThePicture) {
    const Patches patches = make_patches(Picture{1, 1, {255, 0, 51}}, settings(), "p");
    EXPECT_EQ(patches.grid.rows, 4u);
    EXPECT_EQ(patches.grid.columns, 4u);
    ASSERT_EQ(patches.values.size(), 16u * 3 * 2 * 256);
    EXPECT_FLOAT_EQ(patches.values[0], 1.0f);
    EXPECT_FLOAT_EQ(patches.values[512], -1.0f);
    EXPECT_FLOAT_EQ(patches.values[1024], -0.6f);
}

}  // namespace
}  // namespace deltavino::runtime
