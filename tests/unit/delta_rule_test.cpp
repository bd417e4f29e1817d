// The kernels of the CPU's linear attention against the equations in double, and against each other bit by bit.
#include "base/half.hpp"
#include "runtime/delta_rule/kernel.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace deltavino::runtime {
namespace {

struct Sizes {
    std::size_t tokens, key_heads, value_heads, key_size, value_size, width;
    std::size_t channels() const { return 2 * key_heads * key_size + value_heads * value_size; }
    std::size_t states() const { return value_heads * key_size * value_size; }
    std::size_t outputs() const { return tokens * value_heads * value_size; }
};

using Bytes = std::vector<std::byte>;

// Values as they are stored, and what they are then.
struct Stored {
    Bytes bytes;
    std::vector<float> values;

    Stored() = default;
    Stored(const std::vector<float>& from, bool half) : bytes(from.size() * (half ? 2 : 4)), values(from) {
        for (std::size_t i = 0; i < from.size(); ++i) {
            if (half) {
                const std::uint16_t bits = half::to_bf16(from[i]);
                std::memcpy(&bytes[i * 2], &bits, 2);
                values[i] = half::from_bf16(bits);
            } else {
                std::memcpy(&bytes[i * 4], &from[i], 4);
            }
        }
    }
};

std::vector<float> floats_of(const Bytes& bytes, bool half) {
    std::vector<float> values(bytes.size() / (half ? 2 : 4));
    for (std::size_t i = 0; i < values.size(); ++i) {
        if (half) {
            std::uint16_t bits = 0;
            std::memcpy(&bits, &bytes[i * 2], 2);
            values[i] = half::from_bf16(bits);
        } else {
            std::memcpy(&values[i], &bytes[i * 4], 4);
        }
    }
    return values;
}

struct Layer {
    Sizes sizes;
    bool half;
    std::vector<float> taps;
    Stored x, g, beta, state, columns;

    Layer(const Sizes& of, bool is_half) : sizes(of), half(is_half) {
        std::mt19937 numbers(7);
        const auto draw = [&](std::size_t count, float low, float high) {
            std::uniform_real_distribution<float> some(low, high);
            std::vector<float> values(count);
            std::ranges::generate(values, [&]() { return some(numbers); });
            return values;
        };
        taps = draw(sizes.width * sizes.channels(), -0.5f, 0.5f);
        x = {draw(sizes.tokens * sizes.channels(), -3.0f, 3.0f), half};
        g = {draw(sizes.tokens * sizes.value_heads, -2.0f, 0.0f), half};
        beta = {draw(sizes.tokens * sizes.value_heads, 0.0f, 1.0f), half};
        state = {draw(sizes.states(), -1.0f, 1.0f), half};
        columns = {draw(sizes.width * sizes.channels(), -3.0f, 3.0f), half};
    }
};

struct Results {
    Bytes output, state, columns;
    bool operator==(const Results&) const = default;
};

// Tokens [first, first + tokens) after `past`.
Results run(const Layer& layer, quant::Isa isa, std::size_t first, std::size_t tokens, const Results& past) {
    const Sizes& sizes = layer.sizes;
    const std::size_t bytes = layer.half ? 2 : 4;
    Results out{Bytes(tokens * sizes.value_heads * sizes.value_size * bytes), Bytes(past.state.size()),
                Bytes(past.columns.size())};
    DeltaRuleCall call;
    call.tokens = tokens;
    call.key_heads = sizes.key_heads;
    call.value_heads = sizes.value_heads;
    call.key_size = sizes.key_size;
    call.value_size = sizes.value_size;
    call.width = sizes.width;
    call.type = layer.half ? quant::SourceType::BF16 : quant::SourceType::F32;
    call.taps = layer.taps.data();
    call.x = layer.x.bytes.data() + first * sizes.channels() * bytes;
    call.g = layer.g.bytes.data() + first * sizes.value_heads * bytes;
    call.beta = layer.beta.bytes.data() + first * sizes.value_heads * bytes;
    call.past_state = past.state.data();
    call.past_columns = past.columns.data();
    call.output = out.output.data();
    call.state = out.state.data();
    call.columns = out.columns.data();
    for (std::size_t head = 0; head < sizes.key_heads; ++head) {
        std::vector<float> scratch(delta_rule_scratch_floats(call), std::nanf(""));
        delta_rule_head(isa)(call, head, scratch.data());
    }
    return out;
}

Results run(const Layer& layer, quant::Isa isa) {
    return run(layer, isa, 0, layer.sizes.tokens, {{}, layer.state.bytes, layer.columns.bytes});
}

// The equations of kernel.hpp, in double: o, then the state.
std::vector<double> expected(const Layer& layer) {
    const Sizes& s = layer.sizes;
    const std::size_t C = s.channels();
    const auto mixed = [&](std::size_t t, std::size_t c) {
        double sum = 0.0;
        for (std::size_t j = 0; j < s.width; ++j) {
            const std::size_t row = t + 1 + j;  // of past columns and new tokens together
            const float value =
                row < s.width ? layer.columns.values[row * C + c] : layer.x.values[(row - s.width) * C + c];
            sum += static_cast<double>(layer.taps[j * C + c]) * value;
        }
        return sum / (1.0 + std::exp(-sum));
    };
    std::vector<double> output(s.outputs());
    std::vector<double> states(layer.state.values.begin(), layer.state.values.end());
    for (std::size_t h = 0; h < s.value_heads; ++h) {
        const std::size_t head = h / (s.value_heads / s.key_heads);
        double* const S = &states[h * s.key_size * s.value_size];
        for (std::size_t t = 0; t < s.tokens; ++t) {
            std::vector<double> q(s.key_size), k(s.key_size);
            double qq = 1e-6, kk = 1e-6;
            for (std::size_t i = 0; i < s.key_size; ++i) {
                q[i] = mixed(t, head * s.key_size + i);
                k[i] = mixed(t, (s.key_heads + head) * s.key_size + i);
                qq += q[i] * q[i];
                kk += k[i] * k[i];
            }
            const double decay = std::exp(static_cast<double>(layer.g.values[t * s.value_heads + h]));
            const double beta = layer.beta.values[t * s.value_heads + h];
            for (std::size_t j = 0; j < s.value_size; ++j) {
                double recalled = 0.0, o = 0.0;
                for (std::size_t i = 0; i < s.key_size; ++i) {
                    S[i * s.value_size + j] *= decay;
                    recalled += S[i * s.value_size + j] * k[i] / std::sqrt(kk);
                }
                const double v = mixed(t, 2 * s.key_heads * s.key_size + h * s.value_size + j);
                for (std::size_t i = 0; i < s.key_size; ++i) {
                    S[i * s.value_size + j] += k[i] / std::sqrt(kk) * beta * (v - recalled);
                    o += S[i * s.value_size + j] * q[i] / std::sqrt(qq * static_cast<double>(s.key_size));
                }
                output[(t * s.value_heads + h) * s.value_size + j] = o;
            }
        }
    }
    output.insert(output.end(), states.begin(), states.end());
    return output;
}

std::vector<quant::Isa> isas() {
    std::vector<quant::Isa> found;
    std::ranges::copy_if(quant::kAllIsas, std::back_inserter(found), quant::is_available);
    return found;
}

class DeltaRuleKernel : public testing::TestWithParam<Sizes> {};

TEST_P(DeltaRuleKernel, IsTheEquationsInEveryInstructionSet) {
    for (const bool half : {false, true}) {
        const Layer layer(GetParam(), half);
        const std::vector<double> truth = expected(layer);
        double largest = 0.0;
        for (const double value : truth) {
            largest = std::max(largest, std::abs(value));
        }
        const Results portable = run(layer, quant::Isa::Portable);
        std::vector<float> ours = floats_of(portable.output, half);
        const std::vector<float> state = floats_of(portable.state, half);
        ours.insert(ours.end(), state.begin(), state.end());
        ASSERT_EQ(ours.size(), truth.size());
        for (std::size_t i = 0; i < truth.size(); ++i) {
            ASSERT_NEAR(ours[i], truth[i], largest * (half ? 0x1p-8 : 2e-6)) << i;
        }
        for (const quant::Isa isa : isas()) {
            EXPECT_EQ(run(layer, isa), portable) << quant::isa_name(isa) << (half ? " bf16" : " f32");
        }
    }
}

TEST_P(DeltaRuleKernel, PartsGiveWhatTheWholeGives) {
    const Layer layer(GetParam(), false);
    const Results whole = run(layer, quant::best_isa());
    for (const std::size_t part : {std::size_t{1}, std::size_t{5}, std::size_t{64}}) {
        Results past{{}, layer.state.bytes, layer.columns.bytes};
        Bytes output;
        for (std::size_t first = 0; first < layer.sizes.tokens; first += part) {
            past = run(layer, quant::best_isa(), first, std::min(part, layer.sizes.tokens - first), past);
            output.insert(output.end(), past.output.begin(), past.output.end());
        }
        EXPECT_EQ(past.columns, whole.columns) << part;
        const std::vector<float> parts = floats_of(output, false);
        const std::vector<float> all = floats_of(whole.output, false);
        ASSERT_EQ(parts.size(), all.size());
        for (std::size_t i = 0; i < all.size(); ++i) {
            ASSERT_NEAR(parts[i], all[i], 1e-5) << part << " " << i;
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Shapes, DeltaRuleKernel,
                         testing::Values(Sizes{1, 1, 1, 16, 16, 4}, Sizes{1, 2, 4, 32, 144, 4},
                                         Sizes{1, 1, 2, 128, 128, 4}, Sizes{3, 2, 2, 16, 32, 4},
                                         Sizes{64, 1, 2, 32, 16, 4}, Sizes{65, 2, 6, 16, 80, 3},
                                         Sizes{150, 1, 1, 128, 128, 4}, Sizes{2, 1, 1, 48, 64, 1}),
                         [](const auto& one) {
                             const Sizes& s = one.param;
                             return "t" + std::to_string(s.tokens) + "h" + std::to_string(s.key_heads) + "x" +
                                    std::to_string(s.value_heads) + "k" + std::to_string(s.key_size) + "v" +
                                    std::to_string(s.value_size) + "w" + std::to_string(s.width);
                         });

TEST(DeltaRuleKernel, LargeValuesStayFinite) {
    Layer layer(Sizes{4, 1, 1, 16, 16, 4}, false);
    for (std::size_t i = 0; i < layer.x.values.size(); ++i) {
        layer.x.values[i] *= i % 2 == 0 ? 1e4f : -1e4f;
    }
    layer.x = Stored(layer.x.values, false);
    layer.g = Stored(std::vector<float>(layer.g.values.size(), -90.0f), false);
    for (const quant::Isa isa : isas()) {
        for (const float value : floats_of(run(layer, isa).output, false)) {
            ASSERT_TRUE(std::isfinite(value));
        }
    }
}

}  // namespace
}  // namespace deltavino::runtime
