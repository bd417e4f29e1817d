// Every stored weight of an export, dequantized, against the checkpoint's.
#pragma once

#include "evaluate/ir_weights.hpp"

#include <deltavino/check.hpp>

#include <vector>

namespace deltavino::evaluation {

// One entry per stored weight. Adds an item for each that is worse than its storage or its role explains, and one
// for all that are right.
std::vector<WeightDivergence> compare_weights(const IrWeights& exported, const reference::WeightSource& truth,
                                              std::vector<CheckItem>& items);

}  // namespace deltavino::evaluation
