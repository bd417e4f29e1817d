// Whether config.json speaks of the model whose tensors are there.
#pragma once

#include "checkpoint/checkpoint.hpp"
#include "checkpoint/config.hpp"
#include "models/registry.hpp"

namespace deltavino::models {

// Compares the counts of config.json (layers and their kinds, experts, heads, blocks of the tower) with the
// tensors, before a table of one row for each of them is made: a wrong count is one problem instead of one
// for every tensor, and memory is asked for in proportion to what the checkpoint holds. Throws
// ErrorKind::Input with all problems.
void check_geometry(const checkpoint::Checkpoint& checkpoint, const checkpoint::ModelConfig& config, Task task);

}  // namespace deltavino::models
