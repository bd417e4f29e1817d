// Ground truth: transformers Qwen2VLImageProcessorFast (smart_resize, patch layout, the order of the
// float operations) and the 8-bit antialiased resize of torch that it calls: 16-bit weights, the
// horizontal pass first. Pillow's bicubic filter differs from it by at most one level.
#include "runtime/picture/image.hpp"

#include "base/error.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace deltavino::runtime {
namespace {

// The source range and the weights of every target column (or row).
struct Filter {
    std::vector<std::uint32_t> begin;
    std::vector<std::uint32_t> count;
    std::vector<std::int16_t> weights;  // `stride` for each target
    std::size_t stride = 0;
    int bits = 0;  // the weights are multiples of 2^-bits
};

double cubic(double x) {
    constexpr double a = -0.5;
    x = std::abs(x);
    if (x < 1.0) {
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    }
    return x < 2.0 ? (((x - 5.0) * x + 8.0) * x - 4.0) * a : 0.0;
}

// As many bits as keep the largest weight within 16 bits.
int weight_bits(double largest) {
    int bits = 0;
    while (bits < 22 && static_cast<int>(0.5 + largest * (1 << (bits + 1))) < (1 << 15)) {
        bits += 1;
    }
    return bits;
}

Filter make_filter(std::uint32_t source, std::uint32_t target) {
    const double scale = static_cast<double>(source) / static_cast<double>(target);
    const double stretch = std::max(scale, 1.0);
    const double support = 2.0 * stretch;
    Filter filter;
    filter.stride = static_cast<std::size_t>(std::ceil(support)) * 2 + 1;
    std::vector<double> weights(filter.stride * target, 0.0);
    double largest = 0.0;
    for (std::uint32_t i = 0; i < target; ++i) {
        const double center = scale * (i + 0.5);
        const auto begin = std::max<std::int64_t>(static_cast<std::int64_t>(center - support + 0.5), 0);
        const auto end = std::min<std::int64_t>(static_cast<std::int64_t>(center + support + 0.5), source);
        double* row = weights.data() + filter.stride * i;
        double total = 0.0;
        for (std::int64_t j = begin; j < end; ++j) {
            row[j - begin] = cubic((static_cast<double>(j) - center + 0.5) / stretch);
            total += row[j - begin];
        }
        for (std::int64_t j = 0; j < end - begin; ++j) {
            row[j] = total == 0.0 ? row[j] : row[j] / total;
            largest = std::max(largest, row[j]);
        }
        filter.begin.push_back(static_cast<std::uint32_t>(begin));
        filter.count.push_back(static_cast<std::uint32_t>(end - begin));
    }
    filter.bits = weight_bits(largest);
    for (const double weight : weights) {
        const double scaled = weight * (1 << filter.bits);
        filter.weights.push_back(static_cast<std::int16_t>(scaled < 0 ? scaled - 0.5 : scaled + 0.5));
    }
    return filter;
}

std::uint8_t level(std::int32_t sum, int bits) {
    return static_cast<std::uint8_t>(std::clamp(sum >> bits, 0, 255));
}

Picture resize_rows(const Picture& picture, std::uint32_t width) {
    const Filter filter = make_filter(picture.width, width);
    Picture result{width, picture.height, std::vector<std::uint8_t>(std::size_t{width} * picture.height * 3)};
    std::uint8_t* out = result.pixels.data();
    for (std::size_t y = 0; y < picture.height; ++y) {
        const std::uint8_t* row = picture.pixels.data() + y * picture.width * 3;
        for (std::size_t x = 0; x < width; ++x) {
            const std::int16_t* weights = filter.weights.data() + x * filter.stride;
            const std::uint8_t* in = row + std::size_t{filter.begin[x]} * 3;
            std::int32_t sums[3];
            std::fill_n(sums, 3, 1 << (filter.bits - 1));
            for (std::size_t i = 0; i < filter.count[x]; ++i) {
                for (std::size_t c = 0; c < 3; ++c) {
                    sums[c] += in[i * 3 + c] * weights[i];
                }
            }
            for (const std::int32_t sum : sums) {
                *out++ = level(sum, filter.bits);
            }
        }
    }
    return result;
}

Picture resize_columns(const Picture& picture, std::uint32_t height) {
    const Filter filter = make_filter(picture.height, height);
    const std::size_t bytes = std::size_t{picture.width} * 3;
    Picture result{picture.width, height, std::vector<std::uint8_t>(bytes * height)};
    std::vector<std::int32_t> sums(bytes);
    for (std::size_t y = 0; y < height; ++y) {
        std::fill(sums.begin(), sums.end(), 1 << (filter.bits - 1));
        const std::int16_t* weights = filter.weights.data() + y * filter.stride;
        for (std::size_t i = 0; i < filter.count[y]; ++i) {
            const std::uint8_t* in = picture.pixels.data() + (filter.begin[y] + i) * bytes;
            for (std::size_t x = 0; x < bytes; ++x) {
                sums[x] += in[x] * weights[i];
            }
        }
        std::transform(sums.begin(), sums.end(), result.pixels.begin() + static_cast<std::ptrdiff_t>(y * bytes),
                       [&](std::int32_t sum) { return level(sum, filter.bits); });
    }
    return result;
}

// [channel][level] -> normalised value, by the operations of the fused rescale-and-normalise in float32.
std::array<std::array<float, 256>, 3> normalised_levels(const PictureSettings& settings) {
    std::array<std::array<float, 256>, 3> table{};
    for (std::size_t c = 0; c < 3; ++c) {
        const float mean = settings.mean[c] * 255.0f;
        const float deviation = settings.deviation[c] * 255.0f;
        for (std::size_t value = 0; value < 256; ++value) {
            table[c][value] = (static_cast<float>(value) - mean) / deviation;
        }
    }
    return table;
}

}  // namespace

PictureSize target_size(PictureSize size, const PictureSettings& settings, const std::string& name) {
    const double height = size.height;
    const double width = size.width;
    if (std::max(height, width) > 200.0 * std::min(height, width)) {
        fail(ErrorKind::Input,
             "cannot use picture '{}': it is {} x {} pixels, and one side may be at most 200 times the other", name,
             size.width, size.height);
    }
    const double factor = static_cast<double>(settings.patch_size) * settings.merge_size;
    const auto most = static_cast<double>(settings.max_pixels);
    const auto least = static_cast<double>(settings.min_pixels);
    double rows = std::nearbyint(height / factor) * factor;  // halves to the even neighbour, as Python's round()
    double columns = std::nearbyint(width / factor) * factor;
    if (rows * columns > most) {
        const double beta = std::sqrt(height * width / most);
        rows = std::floor(height / beta / factor) * factor;
        columns = std::floor(width / beta / factor) * factor;
    } else if (rows * columns < least) {
        const double beta = std::sqrt(least / (height * width));
        rows = std::ceil(height * beta / factor) * factor;
        columns = std::ceil(width * beta / factor) * factor;
    }
    // A strip, or a small picture without a lower limit, would round to nothing.
    rows = std::max(rows, factor);
    columns = std::max(columns, factor);
    return {static_cast<std::uint32_t>(columns), static_cast<std::uint32_t>(rows)};
}

Picture resize(const Picture& picture, PictureSize size) {
    const Picture* source = &picture;
    Picture stretched;
    if (size.width != picture.width) {
        stretched = resize_rows(picture, size.width);
        source = &stretched;
    }
    return size.height != picture.height ? resize_columns(*source, size.height) : *source;
}

Patches make_patches(const Picture& picture, const PictureSettings& settings, const std::string& name) {
    const PictureSize size = target_size({picture.width, picture.height}, settings, name);
    constexpr std::uint64_t kMostValues = 1ull << 31;
    if (std::uint64_t{size.width} * size.height * 3 > kMostValues / settings.temporal_patch_size) {
        fail(ErrorKind::Input, "cannot use picture '{}': {} x {} pixels in {} frames are too many", name, size.width,
             size.height, settings.temporal_patch_size);
    }
    const bool fits = size == PictureSize{picture.width, picture.height};
    const Picture resized = fits ? Picture{} : resize(picture, size);
    const Picture& source = fits ? picture : resized;
    const std::size_t side = settings.patch_size;
    Patches patches;
    patches.grid = {size.height / settings.patch_size, size.width / settings.patch_size};
    patches.values.resize(patches.grid.patches() * 3 * settings.temporal_patch_size * side * side);
    const auto table = normalised_levels(settings);
    float* out = patches.values.data();
    for (const PatchPlace place : patch_order(patches.grid, settings.merge_size)) {
        for (std::size_t c = 0; c < 3; ++c) {
            for (std::size_t frame = 0; frame < settings.temporal_patch_size; ++frame) {
                for (std::size_t y = 0; y < side; ++y) {
                    const std::uint8_t* in =
                        source.pixels.data() + ((place.row * side + y) * size.width + place.column * side) * 3 + c;
                    for (std::size_t x = 0; x < side; ++x) {
                        *out++ = table[c][in[x * 3]];
                    }
                }
            }
        }
    }
    return patches;
}

}  // namespace deltavino::runtime
