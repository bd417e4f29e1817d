// Search::LeastError: never worse than nncf's choice in any group, clearly better over all, and
// guided by the importance of the columns.
#include "quant_test_support.hpp"

#include <algorithm>
#include <cmath>

namespace deltavino::quant {
namespace {

struct Comparison {
    double nncf = 0;
    double least = 0;
    std::size_t worse = 0;  // groups
};

Comparison compare(const Scheme& scheme, const Weight& weight, std::span<const float> importance = {}) {
    const auto errors = [&](Search search) {
        return group_errors(scheme, weight,
                            read_back(scheme, weight, quantize(scheme, search, weight.block(), importance)),
                            importance);
    };
    const std::vector<double> nncf = errors(Search::Nncf);
    const std::vector<double> least = errors(Search::LeastError);
    Comparison found{total(nncf), total(least), 0};
    for (std::size_t i = 0; i < nncf.size(); ++i) {
        found.worse += least[i] > nncf[i] * (1 + 1e-6) ? 1u : 0u;
    }
    return found;
}

class QuantLeastError : public testing::TestWithParam<Scheme> {};

INSTANTIATE_TEST_SUITE_P(Schemes, QuantLeastError, testing::ValuesIn(all_schemes()), scheme_label);

TEST_P(QuantLeastError, IsNeverWorseInAnyGroup) {
    const Scheme scheme = GetParam();
    std::vector<Weight> weights = {normal_weight(64, 512),       heavy_weight(64, 512),
                                   normal_weight(16, 512, 1e-7), normal_weight(16, 512, 3e-6),
                                   normal_weight(16, 512, 1e4),  normal_weight(16, 512, 1e6)};
    weights.push_back(random_weight(16, 512, std::uniform_real_distribution<double>(0.0, 1.0), 1.0));
    weights.push_back(random_weight(16, 512, std::lognormal_distribution<double>(0.0, 1.0), -0.1));
    weights.push_back(random_weight(16, 512, std::cauchy_distribution<double>(), 0.01));
    weights.push_back({4, 512, std::vector<float>(4 * 512, 0.37f)});
    weights.push_back({4, 512, std::vector<float>(4 * 512, 0.0f)});
    for (Weight& weight : weights) {
        if (std::abs(weight.values[0]) < 1e5f) {  // above, nncf's scale is infinite
            EXPECT_EQ(compare(scheme, weight).worse, 0u) << "first value " << weight.values[0];
        }
        for (float& value : weight.values) {
            value = bf16_to_f32(f32_to_bf16(value));
        }
        if (std::abs(weight.values[0]) < 1e5f) {
            EXPECT_EQ(compare(scheme, weight).worse, 0u) << "as bf16, first value " << weight.values[0];
        }
    }
}

TEST_P(QuantLeastError, IsClearlyBetterOverAll) {
    const Scheme scheme = GetParam();
    const double most = traits(scheme.format).bits == 8 ? 0.996 : 0.972;  // of nncf's RMSE
    for (const Weight& weight : {normal_weight(128, 512), heavy_weight(128, 512)}) {
        const Comparison found = compare(scheme, weight);
        EXPECT_LT(std::sqrt(found.least / found.nncf), most);
    }
}

TEST_P(QuantLeastError, ImportanceMovesTheErrorToOtherColumns) {
    const Scheme scheme = GetParam();
    const Weight weight = heavy_weight(64, 512);
    std::vector<float> importance(512);
    for (std::size_t i = 0; i < importance.size(); ++i) {
        importance[i] = i % 16 == 3 ? 50.0f : 0.1f;
    }
    const Comparison weighted = compare(scheme, weight, importance);
    EXPECT_EQ(weighted.worse, 0u);
    const Quantized plain = quantize(scheme, Search::LeastError, weight.block());
    const double plain_error = total(group_errors(scheme, weight, read_back(scheme, weight, plain), importance));
    EXPECT_LT(weighted.least, plain_error * (scheme.format == Format::MXFP4 ? 1.0 : 0.97));
}

TEST_P(QuantLeastError, EqualImportanceChangesNothing) {
    const Scheme scheme = GetParam();
    const Weight weight = heavy_weight(20, 256);
    const std::vector<float> importance(256, 1.0f);
    const Quantized plain = quantize(scheme, Search::LeastError, weight.block());
    const Quantized weighted = quantize(scheme, Search::LeastError, weight.block(), importance);
    EXPECT_TRUE(plain.same_bytes(weighted));
    EXPECT_EQ(plain.statistics.squared_error, weighted.statistics.weighted_error);
    EXPECT_EQ(plain.statistics.weighted_error, 0.0);
}

TEST_P(QuantLeastError, NoImportanceAtAllStillStoresSomething) {
    const Scheme scheme = GetParam();
    const Weight weight = normal_weight(4, 256);
    const std::vector<float> importance(256, 0.0f);
    const Quantized found = quantize(scheme, Search::LeastError, weight.block(), importance);
    EXPECT_LT(found.statistics.relative_error(), 0.25);
}

// A search over every zero point and 400 scales, rounded as stored: what the product's search is
// near to.
double exhaustive_error(const float* group, std::size_t size) {
    float least = 0, most = 0;
    for (std::size_t i = 0; i < size; ++i) {
        least = std::min(least, group[i]);
        most = std::max(most, group[i]);
    }
    double best = 1e30;
    for (int zero = 0; zero < 16; ++zero) {
        for (int k = 0; k < 400; ++k) {
            const double fraction = 0.4 + 0.002 * k;
            const float scale = f16_to_f32(f32_to_f16((most - least) / 15 * static_cast<float>(fraction)));
            double error = 0;
            for (std::size_t i = 0; i < size; ++i) {
                const float level = std::clamp(std::nearbyint(group[i] / scale), static_cast<float>(-zero),
                                               static_cast<float>(15 - zero));
                const double miss = static_cast<double>(group[i] - level * scale);
                error += miss * miss;
            }
            best = std::min(best, error);
        }
    }
    return best;
}

TEST(QuantLeastErrorU4, IsNearAnExhaustiveSearch) {
    const Weight weight = normal_weight(2, 1024);
    for (std::uint64_t group : {32u, 128u}) {
        double exhaustive = 0;
        for (std::size_t i = 0; i < weight.values.size(); i += group) {
            exhaustive += exhaustive_error(&weight.values[i], group);
        }
        const Comparison found = compare({Format::U4, group}, weight);
        EXPECT_LT(found.least, exhaustive * 1.01);
    }
}

TEST(QuantLeastErrorU4, CutsAnOutlierOffWhenThatPays) {
    // In a long group, one value at seven standard deviations would cost all others half their
    // precision.
    Weight weight = normal_weight(1, 2048, 0.02);
    weight.values[64] = 0.14f;
    const Comparison found = compare({Format::U4, 0}, weight);
    EXPECT_LT(found.least, found.nncf * 0.8);
}

}  // namespace
}  // namespace deltavino::quant
