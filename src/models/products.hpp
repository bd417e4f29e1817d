// The model files of an exported directory: one row each.
//
// A row says when a file is written, how its model is built, how much its weights may be compressed, and
// what consumers lack without it. Found by deleting each file in turn under openvino_genai 2026.4.1 and
// optimum-intel 2.2.0.
#pragma once

#include "graph/ir_writer.hpp"
#include "graph/weights.hpp"
#include "models/plan.hpp"

#include <openvino/core/model.hpp>

#include <memory>
#include <optional>
#include <vector>

namespace deltavino::models {

// The part of a model that a file holds: only the language model, and the layer that drafts for it, get 4 bit.
enum class ModelPart { Language, Other };

struct BuiltModel {
    std::shared_ptr<ov::Model> model;
    graph::RuntimeInfo runtime_info;  // what only the builder knows
};

struct Product {
    const char* name;  // of the file, without extension
    ModelPart part;
    std::optional<Task> task;  // the file is written for this task; empty: for all
    // The products of its matrices can leave the range of float16: plugins must scale activations down.
    bool wide_activations;
    const char* consequence;  // of its absence
    BuiltModel (*build)(const Plan& plan, graph::Weights& weights);
    // Whether the plan has it, of a file that consumers run without; null: it must be there.
    bool (*optional)(const Plan& plan) = nullptr;

    bool is_for(Task wanted) const { return !task || *task == wanted; }
    bool is_for(const Plan& plan) const { return is_for(plan.task) && (optional == nullptr || optional(plan)); }
};

const std::vector<Product>& products();

}  // namespace deltavino::models
