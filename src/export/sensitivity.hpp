// How much 4 bit would hurt each weight: what --ratio chooses by.
#pragma once

#include "checkpoint/checkpoint.hpp"
#include "export/recipe.hpp"
#include "models/plan.hpp"

namespace deltavino::exporter {

// --ratio below 1: builds the graph once to see the weights, measures from a sample of rows what 4 bit would
// do to each, and tells the recipe.
void measure_sensitivities(const checkpoint::Checkpoint& checkpoint, const models::Plan& plan, Recipe& recipe);

}  // namespace deltavino::exporter
