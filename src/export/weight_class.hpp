// The kinds of weights that recipes and sizes tell apart: finer than roles.
#pragma once

#include "graph/weights.hpp"

#include <string_view>

namespace deltavino::exporter {

enum class WeightClass {
    Delta,        // in_proj_qkv
    DeltaGate,    // in_proj_z
    DeltaOutput,  // out_proj
    Attention,    // q_proj, k_proj, v_proj
    AttentionOutput,
    FeedForward,  // gate_proj, up_proj
    FeedForwardOutput,
    Experts,  // gate_proj, up_proj
    ExpertsOutput,
    SharedExpert,  // all three
    Embedding,     // with a head of its own
    Head,
    TiedTable,  // embedding and head in one
    Other,
};

struct WeightClassRow {
    WeightClass value;
    graph::Role role;
    std::string_view end;   // of the module's name; empty: any
    std::string_view name;  // for people
    // KL divergence of the model for each unit of the class's squared relative error; see docs/quantization.md.
    double cost;
};

// How much dearer a weight of the first layer is than the same one further on.
inline constexpr double kFirstLayerCost = 2.0;

// Of `role` and canonical `name`. `tied`: the embedding is the head, too.
const WeightClassRow& weight_class(graph::Role role, std::string_view name, bool tied);

std::string_view weight_class_name(WeightClass value);
bool is_table(WeightClass value);         // embedding, head
bool is_of_experts(WeightClass value);    // routed or shared
bool is_feed_forward(WeightClass value);  // of a dense layer

}  // namespace deltavino::exporter
