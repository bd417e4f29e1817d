// Which options are chosen within a number of bytes, against every combination there is.
#include "export/budget.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>

namespace deltavino::exporter {
namespace {

BudgetItem item(std::vector<std::pair<std::uint64_t, double>> options) {
    BudgetItem made{"", "", {}};
    for (const auto& [bytes, cost] : options) {
        made.options.push_back({{}, bytes, cost});
    }
    return made;
}

// The lowest cost of all combinations that fit.
double lowest(const std::vector<BudgetItem>& items, std::uint64_t bytes) {
    std::vector<std::size_t> chosen(items.size(), 0);
    double found = std::numeric_limits<double>::infinity();
    for (;;) {
        const Selection selection = selection_of(items, chosen);
        found = selection.bytes <= bytes ? std::min(found, selection.cost) : found;
        std::size_t place = 0;
        while (place < items.size() && ++chosen[place] == items[place].options.size()) {
            chosen[place++] = 0;
        }
        if (place == items.size()) {
            return found;
        }
    }
}

// Items of which a larger option costs less, as storages of weights do.
std::vector<BudgetItem> random_items(std::mt19937& random) {
    std::vector<BudgetItem> items;
    for (int i = 0; i < 6; ++i) {
        const double size = std::uniform_real_distribution(100.0, 400.0)(random);
        const double cost = std::uniform_real_distribution(0.1, 2.0)(random);
        std::vector<std::pair<std::uint64_t, double>> options;
        for (const double bits : {4.125, 4.25, 4.5, 4.625, 8.0}) {
            const double noise = std::uniform_real_distribution(0.8, 1.2)(random);
            options.emplace_back(static_cast<std::uint64_t>(size * bits), cost * noise / (bits * bits));
        }
        std::shuffle(options.begin(), options.end(), random);
        items.push_back(item(options));
    }
    return items;
}

TEST(Budget, IsNearTheBestCombination) {
    std::mt19937 random(7);
    for (int round = 0; round < 30; ++round) {
        const std::vector<BudgetItem> items = random_items(random);
        const Selection least = smallest(items);
        const Selection most = best(items);
        for (const double share : {0.0, 0.1, 0.3, 0.6, 1.0}) {
            const auto bytes =
                least.bytes +
                static_cast<std::uint64_t>(share * static_cast<double>(most.bytes - std::min(most.bytes, least.bytes)));
            const std::optional<Selection> found = select(items, bytes, {});
            ASSERT_TRUE(found);
            EXPECT_LE(found->bytes, bytes);
            const Selection again = selection_of(items, found->chosen);
            EXPECT_EQ(again.bytes, found->bytes);
            EXPECT_DOUBLE_EQ(again.cost, found->cost);
            EXPECT_LE(found->cost, lowest(items, bytes) * 1.15);
        }
    }
}

TEST(Budget, IsNeverWorseThanWhatIsKnown) {
    // Along the hull the first step of the first item leaves no room for the second, which gains more in all.
    const std::vector<BudgetItem> items{item({{10, 1.0}, {15, 0.4}}), item({{10, 2.0}, {20, 1.0}})};
    const Selection known = selection_of(items, {0, 1});
    EXPECT_DOUBLE_EQ(select(items, 30, {})->cost, 2.4);
    EXPECT_DOUBLE_EQ(select(items, 30, {known})->cost, 2.0);
    EXPECT_DOUBLE_EQ(select(items, 29, {known})->cost, 2.4) << "it does not fit";
}

TEST(Budget, WhatIsKnownIsLeftForAClearGainOnly) {
    // The second item gains 0.9 times, then 1.5 and 4 times what the first one loses.
    for (const auto& [gain, chosen] : std::vector<std::pair<double, std::size_t>>{{0.9, 1}, {1.5, 1}, {4.0, 0}}) {
        const std::vector<BudgetItem> items{item({{10, 1.0}, {20, 0.5}}), item({{10, 2.0}, {20, 2.0 - 0.5 * gain}})};
        const Selection known = selection_of(items, {1, 0});
        EXPECT_EQ(select(items, 30, {known})->chosen.front(), chosen) << gain;
        EXPECT_EQ(select(items, 30, {})->chosen.front(), gain > 1.0 ? 0u : 1u) << gain;
    }
}

TEST(Budget, IsNotWorseThanWhatIsKnownWhenCostsAreWrong) {
    std::mt19937 random(11);
    int other = 0;
    for (int round = 0; round < 200; ++round) {
        const std::vector<BudgetItem> items = random_items(random);
        std::vector<std::size_t> chosen(items.size());
        std::generate(chosen.begin(), chosen.end(), [&] { return random() % 5; });
        const Selection known = selection_of(items, chosen);
        for (const double more : {1.0, 1.05, 1.2}) {
            const auto bytes = static_cast<std::uint64_t>(static_cast<double>(known.bytes) * more);
            const Selection found = *select(items, bytes, {known});
            EXPECT_LE(found.bytes, bytes);
            double gained = 0.0;
            double lost = 0.0;
            for (std::size_t i = 0; i < items.size(); ++i) {
                const double gain = items[i].options[known.chosen[i]].cost - items[i].options[found.chosen[i]].cost;
                gained += std::max(gain, 0.0);
                lost += std::max(-gain, 0.0);
            }
            EXPECT_GE(gained, kDoubt * lost - 1e-9);
            other += lost > 0.0 ? 1 : 0;
        }
    }
    EXPECT_GT(other, 0) << "costs that are right are made use of";
}

TEST(Budget, NothingFits) {
    const std::vector<BudgetItem> items{item({{10, 1.0}, {20, 0.5}})};
    EXPECT_FALSE(select(items, 9, {}));
    EXPECT_EQ(select(items, 10, {})->bytes, 10u);
    EXPECT_EQ(select(items, 1000, {})->bytes, 20u);
    EXPECT_TRUE(select({}, 0, {}));
}

TEST(Budget, LargerOptionsThatGainNothingAreNotTaken) {
    const std::vector<BudgetItem> items{item({{10, 1.0}, {20, 1.0}, {30, 1.5}})};
    EXPECT_EQ(select(items, 1000, {})->bytes, 10u);
}

}  // namespace
}  // namespace deltavino::exporter
