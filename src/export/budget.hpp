// Which storage each weight gets so that all of them fit a number of bytes and the model changes least.
#pragma once

#include "quant/scheme.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace deltavino::exporter {

struct BudgetOption {
    quant::Scheme scheme;
    std::uint64_t bytes = 0;  // in all files
    double cost = 0.0;        // what it adds to the KL divergence of the model
};

// A weight, or several that are stored alike.
struct BudgetItem {
    std::string name;
    std::string_view kind;  // of weights, for people
    std::vector<BudgetOption> options;
};

// One option of each item.
struct Selection {
    std::vector<std::size_t> chosen;
    std::uint64_t bytes = 0;
    double cost = 0.0;
};

Selection selection_of(const std::vector<BudgetItem>& items, std::vector<std::size_t> chosen);

// The fewest bytes; the most that an option is worth, that is the lowest cost.
Selection smallest(const std::vector<BudgetItem>& items);
Selection best(const std::vector<BudgetItem>& items);

// Costs are expectations (docs/quantization.md). What some weights are expected to gain must be so many times what
// others are expected to lose, and a selection as a whole must be expected to gain that share.
inline constexpr double kDoubt = 3.0;
inline constexpr double kLeastGain = 0.10;

// The lowest cost that was found within `bytes`; none when nothing fits. When some of `known` fit, it is compared with
// the cheapest of these: what an item costs more than there counts kDoubt times. Unless the cost is still lower by the
// share kLeastGain, the selection is that one with single items exchanged for ones of lower cost, so that no item costs
// more than it does there. The same items in the same order give the same selection.
std::optional<Selection> select(const std::vector<BudgetItem>& items, std::uint64_t bytes,
                                const std::vector<Selection>& known);

}  // namespace deltavino::exporter
