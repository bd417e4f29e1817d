#include "runtime/sampler.hpp"

#include <deltavino/error.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <string>

namespace deltavino::runtime {
namespace {

std::int64_t next(Sampler& sampler, std::vector<float> logits, const std::vector<std::int64_t>& context = {}) {
    return sampler.next(logits, {context, context.size()});
}

SamplingSettings sampling(double temperature, std::uint64_t top_k, double top_p) {
    SamplingSettings settings;
    settings.sample = true;
    settings.temperature = temperature;
    settings.top_k = top_k;
    settings.top_p = top_p;
    return settings;
}

// How often each token comes out of 20000 draws.
std::map<std::int64_t, double> shares(const SamplingSettings& settings, const std::vector<float>& logits) {
    Sampler sampler(settings, 7);
    constexpr int kDraws = 20000;
    std::map<std::int64_t, double> result;
    for (int i = 0; i < kDraws; ++i) {
        result[next(sampler, logits)] += 1.0 / kDraws;
    }
    return result;
}

std::vector<float> logits_of(const std::vector<double>& probabilities) {
    std::vector<float> logits;
    for (const double p : probabilities) {
        logits.push_back(static_cast<float>(std::log(p)));
    }
    return logits;
}

TEST(Sampler, TakesTheMostLikelyTokenAndTheFirstOfEquals) {
    Sampler sampler({}, 0);
    EXPECT_EQ(next(sampler, {0.5f, -1.0f, 2.0f, 1.0f}), 2);
    EXPECT_EQ(next(sampler, {0.5f, 3.0f, 3.0f}), 1);
}

TEST(Sampler, TemperatureZeroAndTopOneAreGreedy) {
    for (const SamplingSettings& settings : {sampling(0.0, 0, 1.0), sampling(5.0, 1, 1.0)}) {
        Sampler sampler(settings, 3);
        for (int i = 0; i < 50; ++i) {
            ASSERT_EQ(next(sampler, {1.0f, 1.1f, 0.9f}), 1);
        }
    }
}

TEST(Sampler, DrawsWithTheProbabilitiesOfTheLogits) {
    const auto result = shares(sampling(1.0, 0, 1.0), logits_of({0.1, 0.6, 0.3}));
    EXPECT_NEAR(result.at(0), 0.1, 0.01);
    EXPECT_NEAR(result.at(1), 0.6, 0.01);
    EXPECT_NEAR(result.at(2), 0.3, 0.01);
}

TEST(Sampler, TemperatureFlattens) {
    // p^(1/2), normalised: 0.8 and 0.2 become 2/3 and 1/3.
    const auto result = shares(sampling(2.0, 0, 1.0), logits_of({0.8, 0.2}));
    EXPECT_NEAR(result.at(0), 2.0 / 3, 0.01);
}

TEST(Sampler, TopKKeepsTheMostLikely) {
    const auto result = shares(sampling(1.0, 2, 1.0), logits_of({0.1, 0.5, 0.15, 0.25}));
    EXPECT_EQ(result.size(), 2u);
    EXPECT_NEAR(result.at(1), 2.0 / 3, 0.01);
    EXPECT_NEAR(result.at(3), 1.0 / 3, 0.01);
}

TEST(Sampler, TopPKeepsTheTokenThatCrossesTheBorder) {
    const auto logits = logits_of({0.5, 0.3, 0.15, 0.05});
    EXPECT_EQ(shares(sampling(1.0, 0, 0.6), logits).size(), 2u);
    EXPECT_EQ(shares(sampling(1.0, 0, 0.4), logits).size(), 1u);
    EXPECT_EQ(shares(sampling(1.0, 0, 1.0), logits).size(), 4u);
}

TEST(Sampler, TopPCountsAfterTopK) {
    // Of the two kept, 0.5 / 0.8 = 0.625 is enough for 0.6.
    EXPECT_EQ(shares(sampling(1.0, 2, 0.6), logits_of({0.5, 0.3, 0.15, 0.05})).size(), 1u);
}

TEST(Sampler, MinPCountsFromTheBestToken) {
    const auto logits = logits_of({0.5, 0.3, 0.15, 0.05});
    SamplingSettings settings = sampling(1.0, 0, 1.0);
    settings.min_p = 0.25;  // of 0.5: 0.15 stays, 0.05 goes
    const auto result = shares(settings, logits);
    EXPECT_EQ(result.size(), 3u);
    EXPECT_NEAR(result.at(0), 0.5 / 0.95, 0.01);
    settings.min_p = 1.0;
    EXPECT_EQ(shares(settings, logits).size(), 1u);
}

TEST(Sampler, RefusesWhenEveryTokenIsForbidden) {
    SamplingSettings settings;
    settings.logits.suppress_tokens = {0, 1, 2};
    Sampler sampler(settings, 0);
    try {
        next(sampler, {1.0f, 2.0f, 3.0f});
        FAIL() << "chose a forbidden token";
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::Input);
        EXPECT_NE(std::string(error.what()).find("forbid every token"), std::string::npos) << error.what();
    }
}

TEST(Sampler, RepetitionPenaltyDividesPositiveAndMultipliesNegative) {
    SamplingSettings settings;
    settings.logits.repetition_penalty = 2.0;
    Sampler sampler(settings, 0);
    EXPECT_EQ(next(sampler, {3.0f, 2.0f, -5.0f}, {0, 0}), 1);    // 3 / 2 < 2
    EXPECT_EQ(next(sampler, {-1.5f, -2.0f, -5.0f}, {0}), 1);     // -1.5 * 2 < -2
    EXPECT_EQ(next(sampler, {3.0f, 2.0f, -5.0f}, {99, -1}), 0);  // ids beyond the vocabulary do not matter
}

TEST(Sampler, SameSeedSameTokens) {
    const std::vector<float> logits(1000, 0.0f);
    const auto draw = [&](std::uint64_t seed) {
        Sampler sampler(sampling(1.0, 0, 1.0), seed);
        std::vector<std::int64_t> ids;
        for (int i = 0; i < 8; ++i) {
            ids.push_back(next(sampler, logits));
        }
        return ids;
    };
    EXPECT_EQ(draw(1), draw(1));
    EXPECT_NE(draw(1), draw(2));
    // The engine's sequence is fixed by the C++ standard, and no distribution of the library is used.
    EXPECT_EQ(draw(42), (std::vector<std::int64_t>{755, 639, 752, 136, 903, 94, 574, 372}));
}

TEST(Sampler, RefusesLogitsThatAreNotFinite) {
    for (const float bad :
         {std::nanf(""), std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()}) {
        Sampler sampler({}, 0);
        try {
            next(sampler, {0.0f, bad, 1.0f});
            FAIL() << "chose a token from " << bad;
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::Input);
            EXPECT_NE(std::string(error.what()).find("the logit of token 1"), std::string::npos) << error.what();
        }
    }
}

TEST(Sampler, RefusesSettingsOutsideTheirRange) {
    const auto kind = [](SamplingSettings settings) {
        try {
            Sampler(settings, 0);
        } catch (const Error& error) {
            return error.kind();
        }
        return ErrorKind::Internal;
    };
    EXPECT_EQ(kind(sampling(-0.1, 0, 1.0)), ErrorKind::Usage);
    EXPECT_EQ(kind(sampling(std::nan(""), 0, 1.0)), ErrorKind::Usage);
    EXPECT_EQ(kind(sampling(1.0, 0, 0.0)), ErrorKind::Usage);
    EXPECT_EQ(kind(sampling(1.0, 0, 1.5)), ErrorKind::Usage);
    SamplingSettings settings;
    settings.min_p = 1.5;
    EXPECT_EQ(kind(settings), ErrorKind::Usage);
    settings = {};
    settings.logits.repetition_penalty = 0.0;
    EXPECT_EQ(kind(settings), ErrorKind::Usage);
    settings = {};
    settings.logits.presence_penalty = std::nan("");
    EXPECT_EQ(kind(settings), ErrorKind::Usage);
}

}  // namespace
}  // namespace deltavino::runtime
