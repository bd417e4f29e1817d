// --target-size and --target-bits: the storage of each weight from what each costs the model.
#pragma once

#include "checkpoint/checkpoint.hpp"
#include "export/directory/origin.hpp"
#include "export/recipe.hpp"
#include "models/plan.hpp"

#include <deltavino/progress.hpp>

namespace deltavino::exporter {

// Builds the graphs to see the weights, measures from samples of them what each storage would do, and tells the recipe
// what to choose. Throws ErrorKind::Usage, naming the smallest and the largest, for a target that cannot be met.
void choose_for_target(const checkpoint::Checkpoint& checkpoint, const models::Plan& plan, Recipe& recipe,
                       const Origin& origin, ProgressSink& progress);

}  // namespace deltavino::exporter
