// The CPU's own products with compressed matrices: the packing against the constants of a model, the kernels against
// the equation in double and against plain C++ bit by bit.
#include "base/half.hpp"
#include "quant/kernels/lanes_portable.hpp"
#include "runtime/linear/packed.hpp"
#include "runtime/linear/product.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <tuple>
#include <vector>

namespace deltavino::runtime {
namespace {

// What avx512.cpp does with the processor's instructions, in plain C++.
struct PlainDots {
    using Bytes = std::array<std::uint8_t, linear::kLine>;

    std::array<std::int32_t, quant::kLaneCount> all{};

    static Bytes load(const std::byte* from) {
        Bytes bytes;
        std::memcpy(bytes.data(), from, bytes.size());
        return bytes;
    }
    static Bytes low(Bytes codes) {
        std::for_each(codes.begin(), codes.end(), [](std::uint8_t& code) { code &= 15; });
        return codes;
    }
    static Bytes high(Bytes codes) {
        std::for_each(codes.begin(), codes.end(), [](std::uint8_t& code) { code >>= 4; });
        return codes;
    }
    static PlainDots none() { return {}; }
    static PlainDots zero_points(const std::byte* zeros, std::int32_t factor) {
        PlainDots dots;
        for (std::size_t j = 0; j < dots.all.size(); ++j) {
            dots.all[j] = static_cast<std::int32_t>(zeros[j]) * factor;
        }
        return dots;
    }
    void add(const Bytes& codes, std::int32_t quad) {
        std::array<std::int8_t, 4> x;
        std::memcpy(x.data(), &quad, sizeof quad);
        for (std::size_t i = 0; i < codes.size(); ++i) {
            all[i / 4] += codes[i] * x[i % 4];
        }
    }
    void join(const PlainDots& other) {
        for (std::size_t j = 0; j < all.size(); ++j) {
            all[j] += other.all[j];
        }
    }
    template <typename Lanes>
    Lanes floats() const {
        float values[quant::kLaneCount];
        std::copy(all.begin(), all.end(), values);
        return Lanes::load(values);
    }
};

const LinearKernel kPlain = {linear::quantize_row<quant::portable::Lanes>,
                             linear::multiply_blocks<quant::portable::Lanes, PlainDots, 4, 2>};

// The fast one only where this processor has it.
std::vector<const LinearKernel*> kernels() {
    std::vector<const LinearKernel*> all{&kPlain};
    if (linear_kernel() != nullptr) {
        all.push_back(linear_kernel());
    }
    return all;
}

using ov::op::v0::Constant;

// A matrix with random codes, and the values that they stand for.
struct Matrix {
    StoredMatrix stored;
    std::vector<double> values;  // [rows, columns]

    Matrix(ov::element::Type type, bool zero_points, std::size_t rows, std::size_t columns, std::size_t group) {
        const std::size_t groups = columns / group;
        const std::int64_t least = type.is_signed() ? -(std::int64_t{1} << (type.bitwidth() - 1)) : 0;
        const std::int64_t most = least + (std::int64_t{1} << type.bitwidth()) - 1;
        std::mt19937 random(7);
        std::uniform_int_distribution<std::int64_t> code(least, most);
        std::vector<std::int64_t> codes(rows * columns), zeros(rows * groups);
        std::vector<float> scales(rows * groups);
        std::generate(codes.begin(), codes.end(), [&]() { return code(random); });
        std::generate(zeros.begin(), zeros.end(), [&]() { return zero_points ? code(random) : 0; });
        std::generate(scales.begin(), scales.end(), [&]() {
            return half::from_f16(half::to_f16(0.001f + 1e-6f * static_cast<float>(random() % 9999)));
        });
        const bool channels = group == columns;
        const ov::Shape shape = channels ? ov::Shape{rows, columns} : ov::Shape{rows, groups, group};
        const ov::Shape per_group = channels ? ov::Shape{rows, 1} : ov::Shape{rows, groups, 1};
        stored = {Constant::create(type, shape, codes),
                  zero_points ? Constant::create(type, per_group, zeros) : nullptr,
                  Constant::create(ov::element::f16, per_group, scales), rows, columns};
        for (std::size_t i = 0; i < codes.size(); ++i) {
            const std::size_t g = i / columns * groups + i % columns / group;
            values.push_back(static_cast<double>(codes[i] - zeros[g]) * static_cast<double>(scales[g]));
        }
    }
};

std::vector<float> random_values(std::size_t count, unsigned seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0.0f, 1.0f);
    std::vector<float> values(count);
    std::generate(values.begin(), values.end(), [&]() { return half::from_bf16(half::to_bf16(normal(random))); });
    return values;
}

std::vector<std::byte> stored(const std::vector<float>& values, quant::SourceType type) {
    const std::size_t width = quant::bytes_per_value(type);
    std::vector<std::byte> bytes(values.size() * width);
    for (std::size_t i = 0; i < values.size(); ++i) {
        const std::uint16_t half = half::to_bf16(values[i]);
        std::memcpy(&bytes[i * width], type == quant::SourceType::F32 ? static_cast<const void*>(&values[i]) : &half,
                    width);
    }
    return bytes;
}

struct Tokens {
    std::vector<std::int8_t> codes;
    std::vector<float> scales;
    std::vector<std::int32_t> sums;

    Tokens(const LinearKernel& kernel, const PackedShape& shape, quant::SourceType type, Gate gate,
           const std::vector<float>& x, const std::vector<float>& z)
        : codes(x.size()), scales(x.size() / shape.group), sums(x.size() / shape.group) {
        const std::vector<std::byte> from = stored(x, type);
        const std::vector<std::byte> gates = stored(z, type);
        const std::size_t row = shape.columns * quant::bytes_per_value(type);
        for (std::size_t t = 0; t * shape.columns < x.size(); ++t) {
            kernel.quantize({type, gate, &from[t * row], gate == Gate::None ? nullptr : &gates[t * row]}, shape,
                            &codes[t * shape.columns], &scales[t * shape.groups()], &sums[t * shape.groups()]);
        }
    }

    QuantizedTokens view() { return {codes.data(), scales.data(), sums.data()}; }
};

std::vector<float> multiply(const LinearKernel& kernel, const PackedMatrix& matrix, Tokens& tokens, std::size_t count) {
    std::vector<float> y(count * matrix.shape.rows, std::numeric_limits<float>::quiet_NaN());
    kernel.multiply(matrix.shape, matrix.bytes.get(), tokens.view(), count, 0, matrix.shape.blocks(),
                    quant::SourceType::F32, reinterpret_cast<std::byte*>(y.data()));
    return y;
}

// Type of the codes, whether there are zero points, columns of a group (0: all).
using Kind = std::tuple<ov::element::Type, bool, std::size_t>;

class LinearKernels : public testing::TestWithParam<Kind> {};

TEST_P(LinearKernels, GiveTheProductOfWhatTheCodesStandFor) {
    const auto [type, zero_points, group] = GetParam();
    constexpr std::size_t kColumns = 256;
    for (const std::size_t rows : {16u, 48u, 160u}) {
        const Matrix matrix(type, zero_points, rows, kColumns, group == 0 ? kColumns : group);
        const auto packed = pack_matrices({matrix.stored}).at(0);
        for (const std::size_t count : {1u, 2u, 7u, 19u}) {
            const std::vector<float> x = random_values(count * kColumns, 3);
            std::vector<std::vector<float>> results;
            for (const LinearKernel* kernel : kernels()) {
                Tokens tokens(*kernel, packed->shape, quant::SourceType::F32, Gate::None, x, {});
                results.push_back(multiply(*kernel, *packed, tokens, count));
                for (std::size_t i = 0; i < results.back().size(); ++i) {
                    const std::size_t t = i / rows;
                    double sum = 0;
                    double size = 0;
                    for (std::size_t k = 0; k < kColumns; ++k) {
                        const double scale =
                            static_cast<double>(tokens.scales[(t * kColumns + k) / packed->shape.group]);
                        const double product =
                            matrix.values[i % rows * kColumns + k] * tokens.codes[t * kColumns + k] * scale;
                        sum += product;
                        size += std::abs(product);
                    }
                    ASSERT_NEAR(results.back()[i], sum, 1e-6 * size) << "row " << i % rows << " of token " << t;
                }
            }
            for (const auto& result : results) {
                EXPECT_EQ(std::memcmp(result.data(), results[0].data(), result.size() * sizeof(float)), 0);
            }
        }
    }
}

TEST_P(LinearKernels, GiveTheSameForPartsAndInBf16) {
    const auto [type, zero_points, group] = GetParam();
    const Matrix matrix(type, zero_points, 96, 128, group == 0 ? 128 : group);
    const auto packed = pack_matrices({matrix.stored}).at(0);
    const std::vector<float> x = random_values(5 * 128, 4);
    for (const LinearKernel* kernel : kernels()) {
        Tokens tokens(*kernel, packed->shape, quant::SourceType::BF16, Gate::None, x, {});
        const std::vector<float> whole = multiply(*kernel, *packed, tokens, 5);
        std::vector<std::uint16_t> parts(whole.size());
        for (const auto& [first, last] : {std::pair{0u, 1u}, {1u, 4u}, {4u, 6u}}) {
            kernel->multiply(packed->shape, packed->bytes.get(), tokens.view(), 5, first, last, quant::SourceType::BF16,
                             reinterpret_cast<std::byte*>(parts.data()));
        }
        for (std::size_t i = 0; i < whole.size(); ++i) {
            ASSERT_EQ(parts[i], half::to_bf16(whole[i]));
        }
    }
}

std::string kind_name(const testing::TestParamInfo<Kind>& tested) {
    const auto& [type, zero_points, group] = tested.param;
    return type.get_type_name() + (zero_points ? "_zeros_" : "_") + std::to_string(group);
}

INSTANTIATE_TEST_SUITE_P(Kinds, LinearKernels,
                         testing::Values(Kind{ov::element::u4, true, 128}, Kind{ov::element::u4, true, 64},
                                         Kind{ov::element::u4, true, 32}, Kind{ov::element::u4, false, 64},
                                         Kind{ov::element::i4, false, 128}, Kind{ov::element::i4, true, 32},
                                         Kind{ov::element::u8, true, 0}, Kind{ov::element::u8, false, 0},
                                         Kind{ov::element::i8, false, 0}, Kind{ov::element::i8, true, 0}),
                         kind_name);

TEST(LinearKernel, IsThatOfThisProcessor) {
    if (linear_kernel() == nullptr) {
        GTEST_SKIP() << "NOT RUN: this processor has none; the tests here tried plain C++ only";
    }
    EXPECT_EQ(kernels().size(), 2u);
}

TEST(LinearKernel, ActivationsAreQuantizedByGroups) {
    const PackedShape shape{16, 128, 32, 4};
    std::vector<float> x = random_values(128, 5);
    std::fill(x.begin() + 32, x.begin() + 64, 0.0f);
    x[70] = 1e-38f;
    x[100] = 3000.0f;
    for (const LinearKernel* kernel : kernels()) {
        const Tokens tokens(*kernel, shape, quant::SourceType::F32, Gate::None, x, {});
        for (std::size_t g = 0; g < 4; ++g) {
            float most = 0;
            std::int32_t sum = 0;
            for (std::size_t i = g * 32; i < g * 32 + 32; ++i) {
                most = std::max(most, std::abs(x[i]));
                sum += tokens.codes[i];
                EXPECT_NEAR(tokens.codes[i] * tokens.scales[g], x[i], 0.501f * tokens.scales[g]);
            }
            EXPECT_FLOAT_EQ(tokens.scales[g], most / 127.0f);
            EXPECT_EQ(tokens.sums[g], -sum);
        }
    }
}

TEST(LinearKernel, GatesAreThoseOfTheModel) {
    const PackedShape shape{16, 64, 64, 4};
    const std::vector<float> x = random_values(64, 6);
    std::vector<float> z = random_values(64, 8);
    z[3] = 200.0f;
    z[4] = -200.0f;
    for (const Gate gate : {Gate::Silu, Gate::Sigmoid}) {
        std::vector<float> expected(64);
        for (std::size_t i = 0; i < 64; ++i) {
            const double sigmoid = 1.0 / (1.0 + std::exp(-static_cast<double>(z[i])));
            expected[i] = static_cast<float>(x[i] * sigmoid * (gate == Gate::Silu ? z[i] : 1.0));
        }
        for (const LinearKernel* kernel : kernels()) {
            const Tokens tokens(*kernel, shape, quant::SourceType::F32, gate, x, z);
            for (std::size_t i = 0; i < 64; ++i) {
                EXPECT_NEAR(tokens.codes[i] * tokens.scales[0], expected[i], 0.501f * tokens.scales[0]) << i;
            }
        }
    }
}

TEST(LinearKernel, ValuesThatAreNotFiniteGiveNaN) {
    const Matrix matrix(ov::element::u4, true, 16, 64, 32);
    const auto packed = pack_matrices({matrix.stored}).at(0);
    for (const float wrong : {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                              std::numeric_limits<float>::quiet_NaN()}) {
        std::vector<float> x = random_values(3 * 64, 9);
        x[64 + 5] = wrong;
        for (const LinearKernel* kernel : kernels()) {
            Tokens tokens(*kernel, packed->shape, quant::SourceType::F32, Gate::None, x, {});
            const std::vector<float> y = multiply(*kernel, *packed, tokens, 3);
            for (std::size_t i = 0; i < y.size(); ++i) {
                EXPECT_EQ(std::isnan(y[i]), i / 16 == 1) << wrong;
            }
        }
    }
}

TEST(PackedMatrix, OtherFormsAreLeftAlone) {
    const auto fits = [](const Matrix& matrix) {
        return packed_shape(matrix.stored).has_value();
    };
    EXPECT_TRUE(fits(Matrix(ov::element::u4, true, 32, 128, 64)));
    EXPECT_FALSE(fits(Matrix(ov::element::u4, true, 24, 128, 64)));   // rows that fill no block
    EXPECT_FALSE(fits(Matrix(ov::element::u4, true, 32, 128, 16)));   // groups without a kernel
    EXPECT_FALSE(fits(Matrix(ov::element::u4, true, 32, 256, 256)));  // one group for all columns
    EXPECT_FALSE(fits(Matrix(ov::element::u8, true, 32, 80, 80)));    // columns that fill no group
    Matrix other(ov::element::u8, true, 32, 128, 128);
    EXPECT_TRUE(fits(other));
    other.stored.zero_points = Constant::create(ov::element::i8, {32, 1}, std::vector<int>(32, 0));
    EXPECT_FALSE(fits(other));
    other.stored.zero_points = Constant::create(ov::element::u8, {1}, {3});
    EXPECT_FALSE(fits(other));
    other.stored.zero_points = nullptr;
    EXPECT_TRUE(fits(other));
    other.stored.scales = Constant::create(ov::element::f32, {32, 1}, std::vector<float>(32, 1.0f));
    EXPECT_FALSE(fits(other));
    Matrix grouped(ov::element::u8, true, 32, 128, 64);  // 8 bit in groups
    EXPECT_FALSE(fits(grouped));
}

// As many scales as rows or groups, which stand for something else.
TEST(PackedMatrix, ScalesOfColumnsAreLeftAlone) {
    const auto scales = [](const ov::Shape& shape) {
        return Constant::create(ov::element::f16, shape, std::vector<float>(ov::shape_size(shape), 1.0f));
    };
    Matrix square(ov::element::u8, false, 64, 64, 64);
    EXPECT_TRUE(packed_shape(square.stored));
    square.stored.scales = scales({1, 64});
    EXPECT_FALSE(packed_shape(square.stored));
    square.stored.scales = scales({64});
    EXPECT_FALSE(packed_shape(square.stored));
    Matrix groups(ov::element::u4, false, 64, 32 * 32, 32);
    EXPECT_TRUE(packed_shape(groups.stored));
    groups.stored.scales = scales({64, 1, 32});
    EXPECT_FALSE(packed_shape(groups.stored));
}

TEST(PackedMatrix, WithoutColumnsOrAxesIsLeftAlone) {
    const auto empty = Constant::create(ov::element::u8, {64, 0}, std::vector<int>());
    const auto none = Constant::create(ov::element::f16, {64, 1}, std::vector<float>(64, 1.0f));
    EXPECT_FALSE(packed_shape({empty, nullptr, none, 64, 0}));
    const auto one = Constant::create(ov::element::u4, {}, {3});
    const auto wide = Constant::create(ov::element::f16, {64, 32}, std::vector<float>(64 * 32, 1.0f));
    EXPECT_FALSE(packed_shape({one, nullptr, wide, 64, 32}));
}

TEST(PackedMatrix, IsFoundByNameAndContentWhileSomebodyHoldsIt) {
    Matrix matrix(ov::element::u4, true, 32, 128, 64);
    matrix.stored.codes->set_friendly_name("a weight");
    auto packed = pack_matrices({matrix.stored, matrix.stored});
    ASSERT_EQ(packed.size(), 2u);
    const std::string key = packed[0]->key;
    EXPECT_EQ(packed[1]->key, key);
    EXPECT_EQ(find_packed(key)->shape.columns, 128u);
    Matrix other(ov::element::u4, false, 32, 128, 64);
    other.stored.codes->set_friendly_name("a weight");
    EXPECT_NE(pack_matrices({other.stored}).at(0)->key, key);
    packed.clear();
    EXPECT_EQ(find_packed(key), nullptr);
}

}  // namespace
}  // namespace deltavino::runtime
