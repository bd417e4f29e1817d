// Weights and comparisons shared by the tests of src/quant.
#pragma once

#include "quant/quantize.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <ostream>
#include <random>
#include <string>
#include <vector>

namespace deltavino::quant {

// Skips the running test, so that an instruction set that was not tried is not counted as passed.
#define DELTAVINO_SKIP_WITHOUT(isa)                                                 \
    if (!is_available(isa)) {                                                       \
        GTEST_SKIP() << "this machine lacks the instruction set " << isa_name(isa); \
    }                                                                               \
    static_assert(true)

struct Weight {
    std::uint64_t rows = 0;
    std::uint64_t columns = 0;
    std::vector<float> values;

    RowBlock block() const {
        return {reinterpret_cast<const std::byte*>(values.data()), SourceType::F32, rows, columns, false};
    }
};

struct Quantized {
    std::vector<std::byte> packed;
    std::vector<std::byte> zero_points;
    std::vector<std::byte> scales;
    BlockStatistics statistics;

    bool same_bytes(const Quantized& other) const {
        return packed == other.packed && zero_points == other.zero_points && scales == other.scales;
    }
};

inline Quantized quantize(const Scheme& scheme, Search search, const RowBlock& block,
                          std::span<const float> importance = {}, Isa isa = best_isa()) {
    const StorageBytes bytes = storage_bytes(scheme, block.rows, block.columns);
    Quantized out;
    out.packed.resize(bytes.packed);
    out.zero_points.resize(bytes.zero_points);
    out.scales.resize(bytes.scales);
    out.statistics = quantize_rows(scheme, search, block, importance, {out.packed, out.zero_points, out.scales}, isa);
    return out;
}

inline std::vector<float> read_back(const Scheme& scheme, const Weight& weight, const Quantized& quantized) {
    std::vector<float> out(weight.values.size());
    dequantize_rows(scheme, weight.rows, weight.columns, {quantized.packed, quantized.zero_points, quantized.scales},
                    out);
    return out;
}

// Squared error of each group, in double.
inline std::vector<double> group_errors(const Scheme& scheme, const Weight& weight, const std::vector<float>& back,
                                        std::span<const float> importance = {}) {
    const std::uint64_t group = scheme.group_size == 0 ? weight.columns : scheme.group_size;
    std::vector<double> errors(weight.values.size() / group);
    for (std::size_t i = 0; i < back.size(); ++i) {
        const double miss = static_cast<double>(weight.values[i]) - static_cast<double>(back[i]);
        const double factor = importance.empty() ? 1.0 : static_cast<double>(importance[i % weight.columns]);
        errors[i / group] += miss * miss * factor;
    }
    return errors;
}

inline double total(const std::vector<double>& values) {
    double sum = 0;
    for (double value : values) {
        sum += value;
    }
    return sum;
}

template <typename Distribution>
Weight random_weight(std::uint64_t rows, std::uint64_t columns, Distribution distribution, double factor,
                     unsigned seed = 7) {
    std::mt19937 generator(seed);
    Weight weight{rows, columns, std::vector<float>(rows * columns)};
    for (float& value : weight.values) {
        value = static_cast<float>(distribution(generator) * factor);
    }
    return weight;
}
inline Weight normal_weight(std::uint64_t rows, std::uint64_t columns, double factor = 0.02) {
    return random_weight(rows, columns, std::normal_distribution<double>(), factor);
}
inline Weight heavy_weight(std::uint64_t rows, std::uint64_t columns, double factor = 0.02) {
    return random_weight(rows, columns, std::student_t_distribution<double>(3.0), factor);
}

inline const std::vector<Scheme>& all_schemes() {
    static const std::vector<Scheme> schemes = {
        {Format::U8, 0},  {Format::U8, 64},  {Format::I8, 0},   {Format::I8, 128}, {Format::U4, 0},
        {Format::U4, 32}, {Format::U4, 64},  {Format::U4, 128}, {Format::I4, 0},   {Format::I4, 32},
        {Format::I4, 64}, {Format::I4, 128}, {Format::NF4, 0},  {Format::NF4, 64}, {Format::MXFP4, 32},
        {Format::U4, 16}, {Format::I4, 256}};
    return schemes;
}

inline std::string scheme_label(const testing::TestParamInfo<Scheme>& info) {
    return std::string(traits(info.param.format).name) + "_" + std::to_string(info.param.group_size);
}

inline void PrintTo(const Scheme& scheme, std::ostream* out) {
    *out << scheme_text(scheme);
}

inline std::vector<int> ints(const std::vector<std::byte>& bytes) {
    std::vector<int> out;
    for (std::byte byte : bytes) {
        out.push_back(std::to_integer<int>(byte));
    }
    return out;
}

inline std::vector<float> f16_scales(const Quantized& quantized) {
    std::vector<float> out;
    for (std::size_t i = 0; i + 1 < quantized.scales.size(); i += 2) {
        std::uint16_t bits = 0;
        std::memcpy(&bits, &quantized.scales[i], 2);
        out.push_back(f16_to_f32(bits));
    }
    return out;
}

}  // namespace deltavino::quant
