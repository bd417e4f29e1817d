#include "fuzz/harness.hpp"
#include "runtime/picture/decode.hpp"

#include <algorithm>
#include <span>

using namespace deltavino;

namespace {

// Pictures that say they are huge cost time and find nothing: the limit on pixels has unit tests.
bool is_huge_png(std::string_view input) {
    const auto number = [&](std::size_t at) {
        std::uint64_t value = 0;
        for (std::size_t i = at; i < at + 4; ++i) {
            value = value << 8 | static_cast<unsigned char>(input[i]);
        }
        return value;
    };
    constexpr std::uint64_t kMost = 1u << 22;
    return input.size() > 24 && input.starts_with("\x89PNG") && number(16) * number(20) > kMost;
}

}  // namespace

void fuzz_one(std::string_view input) {
    const auto bytes = std::as_bytes(std::span(input.data(), input.size()));
    runtime::exif_orientation(bytes);
    if (is_huge_png(input)) {
        return;
    }
    fuzz::expect_error_at_most([&] {
        const runtime::Picture picture = runtime::decode_picture(bytes, "input");
        runtime::PictureSettings settings;
        settings.min_pixels = 1;
        settings.max_pixels = 1u << 14;
        if (picture.pixels.size() < 1u << 20) {
            runtime::make_patches(picture, settings, "input");
        }
    });
}
