// Written as if every expert saw every token, with zero weight for those that were not chosen: the form
// that OpenVINO's ConvertTiledMoeBlockToGatherMatmuls turns into three products over the chosen experts
// only, and that the GPU plugin fuses further (MoeOpFusion, FuseMoERouter, FuseMOESharedExpert). Unfused
// it gives the same numbers, E / k times slower.
#include "blocks/moe.hpp"

#include "blocks/mlp.hpp"

#include <openvino/op/scatter_elements_update.hpp>
#include <openvino/op/softmax.hpp>
#include <openvino/op/tile.hpp>
#include <openvino/op/topk.hpp>

namespace deltavino::blocks {

using namespace graph;

namespace {

struct Sizes {
    std::int64_t E, k, H;
};

struct Routing {
    Value experts;  // i32 [N, k]
    Value weights;  // f32 [N, k]
};

// tokens [N, H]. Softmax and Divide must have one consumer each, or the GPU's FuseMoERouter does not fire;
// without the Divide it does not either, which costs one kernel.
Routing route(const Value& tokens, const Scope& scope, const Sizes& sizes, bool normalise) {
    const auto probabilities = std::make_shared<ov::op::v8::Softmax>(scope.linear(tokens, "gate"), 1);  // [N, E]
    const auto top = std::make_shared<ov::op::v11::TopK>(probabilities, integer(sizes.k), -1, ov::op::TopKMode::MAX,
                                                         ov::op::TopKSortType::SORT_VALUES, ov::element::i32);
    const Value values = top->output(0);
    return {top->output(1), normalise ? divide(values, reduce_sum(values, ints({-1}), true)) : values};
}

// The weight of every expert for every token, [E, B, S, 1].
Value spread(const Routing& routing, const Value& tokens, const Value& batch, const Sizes& sizes) {
    const Value zeros = broadcast(scalar(0.0f), concat({dimension(tokens, 0), ints({sizes.E})}, 0));
    const Value scattered =
        std::make_shared<ov::op::v12::ScatterElementsUpdate>(zeros, routing.experts, routing.weights, integer(1))
            ->output(0);  // [N, E]
    const Value by_expert =
        reshape_to(transpose(scattered, {1, 0}), concat({ints({sizes.E}), batch, ints({-1})}, 0));  // [E, B, S]
    return unsqueeze(by_expert, integer(3));
}

}  // namespace

Value mixture_of_experts(const Value& x, const Scope& scope, const checkpoint::TextConfig& config) {
    const Sizes sizes{static_cast<std::int64_t>(config.moe->num_experts),
                      static_cast<std::int64_t>(config.moe->num_experts_per_tok),
                      static_cast<std::int64_t>(config.hidden_size)};
    const Value batch = dimension(x, 0);
    const Value tokens = reshape(x, {-1, sizes.H});  // [N, H], N = B S
    const Value weights = spread(route(tokens, scope, sizes, config.moe->norm_topk_prob), tokens, batch, sizes);

    const Value tiled = std::make_shared<ov::op::v0::Tile>(tokens, ints({sizes.E, 1}))->output(0);
    const Value outputs = swiglu(reshape(tiled, {sizes.E, -1, sizes.H}), scope / "experts");             // [E, N, H]
    const Value shaped = reshape_to(outputs, concat({ints({sizes.E}), batch, ints({-1, sizes.H})}, 0));  // [E, B, S, H]
    const Value chosen = reduce_sum(multiply(shaped, weights), ints({0}), false);                        // [B, S, H]

    const Value gated =
        multiply(sigmoid(scope.linear(tokens, "shared_expert_gate")), swiglu(tokens, scope / "shared_expert"));
    return add(reshape_to(gated, concat({batch, ints({-1, sizes.H})}, 0)), chosen);
}

}  // namespace deltavino::blocks
