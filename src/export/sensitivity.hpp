// How much 4 bit would hurt each weight: what --ratio chooses by.
#pragma once

#include "checkpoint/checkpoint.hpp"
#include "export/recipe.hpp"
#include "models/plan.hpp"

#include <span>
#include <vector>

namespace deltavino::exporter {

// --ratio below 1: builds the graph once to see the weights, measures from a sample of rows what 4 bit would
// do to each, and tells the recipe.
void measure_sensitivities(const checkpoint::Checkpoint& checkpoint, const models::Plan& plan, Recipe& recipe);

// Relative error of a weight in each of some storages, from rows spread over all of it.
std::vector<double> sampled_errors(const graph::WeightJob& job, std::span<const quant::Scheme> schemes,
                                   quant::Search search);

}  // namespace deltavino::exporter
