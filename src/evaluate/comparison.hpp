// Judging two sets of logits or hidden states, and the verdict over all of them.
#pragma once

#include "evaluate/directory_model.hpp"

#include <deltavino/check.hpp>

#include <string>
#include <vector>

namespace deltavino::evaluation {

// What float32 may differ in hidden states, over the norm of the truth: engines sum in other orders.
inline constexpr double kHiddenStates = 1e-3;

// The positions that are compared: all up to `whole` tokens; of a longer text the named ones, where public failures
// begin (1, 20, 64, 65, 80, 128, 300), some evenly spread, and the last.
std::vector<std::size_t> compared_positions(std::size_t tokens, std::size_t whole);

Matrix rows_of(const Matrix& matrix, const std::vector<std::size_t>& rows);

// One row of each for every one of `positions`.
Divergence compare(std::string name, std::string means, const Matrix& truth, const Matrix& judged,
                   const std::vector<std::size_t>& positions);

// norm(a - b) / norm(a); infinite for other shapes or values that are not finite.
double relative_distance(reference::ConstMatrixRef truth, reference::ConstMatrixRef judged);

// "; the first place to go wrong is layer 3, mixer (1.2e-01 of its values)"; empty when nothing is known by name.
std::string first_difference(const LayerOutputs& truth, const LayerOutputs& judged);

// Whether another form gives the logits of the whole prompt, as an item.
CheckItem form_item(const std::string& form, const Matrix& whole, const Matrix& other);

// Sets `good`, `verdict` and what belongs to it from what the report holds.
void conclude(CheckReport& report);

}  // namespace deltavino::evaluation
