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

// Costs are expectations: of two selections that share little, the one that is expected to cost up to this much less
// was measured to cost more (docs/quantization.md).
inline constexpr double kLeastGain = 0.10;

// The lowest cost that was found within `bytes`; none when nothing fits. When some of `known` fit, it is the best of
// these with single items exchanged for ones of lower cost, so that no item costs more than it does there, unless
// another selection is expected to cost less by the share kLeastGain. The same items in the same order give the same
// selection.
std::optional<Selection> select(const std::vector<BudgetItem>& items, std::uint64_t bytes,
                                const std::vector<Selection>& known);

}  // namespace deltavino::exporter
