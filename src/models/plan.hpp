// What a checkpoint becomes: the decisions that export and inspect share.
#pragma once

#include "checkpoint/checkpoint.hpp"
#include "checkpoint/config.hpp"
#include "graph/tensor_table.hpp"
#include "models/registry.hpp"

#include <string>
#include <vector>

namespace deltavino::models {

struct Plan {
    checkpoint::ModelConfig config;
    Task task = Task::TextGeneration;
    bool tied_head = false;
    bool mtp = false;  // the multi-token-prediction layer is built, too
    graph::TensorTable table;
    std::vector<std::string> notes;  // one sentence each
};

struct PlanOptions {
    std::string task = "auto";
    bool assume_tied_head = false;
    bool mtp = true;  // build the multi-token-prediction layer when the checkpoint has it
};

// Throws ErrorKind::Unsupported or ErrorKind::Input for what the configuration alone shows to be
// wrong; the tensors are checked by plan.table.check().
Plan make_plan(const checkpoint::Checkpoint& checkpoint, const PlanOptions& options = {});

}  // namespace deltavino::models
