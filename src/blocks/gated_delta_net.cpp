// Written for OpenVINO's matchers: GatedDeltaNetFusion (compile time) and the paged fusions
// PagedCausalConv1D and PagedGatedDeltaNet. The internal operations themselves cannot stand in a file.
#include "blocks/gated_delta_net.hpp"

#include "blocks/norm.hpp"
#include "graph/names.hpp"

#include <openvino/core/model.hpp>
#include <openvino/op/group_conv.hpp>
#include <openvino/op/loop.hpp>
#include <openvino/op/result.hpp>
#include <openvino/op/scatter_update.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

namespace deltavino::blocks {

using namespace graph;

namespace {

struct Heads {
    std::int64_t H_k, H_v, K, V;
};

// [B, S, C] <-> [B, C, S]. As a rank-4 move because the CPU plugin runs this order as a fast reorder and
// the rank-3 transpose as a generic permutation. It must be Reshape, not Unsqueeze and Squeeze.
Value swap_tokens_and_channels(const Value& x, std::int64_t last) {
    return reshape(transpose(reshape(x, {0, 0, 1, last}), {0, 3, 1, 2}), {0, 0, -1});
}

// Depthwise causal convolution over the state and the new tokens: x [B, S, C] -> silu(conv) [B, S, C].
// The state keeps as many columns as the kernel is wide (one more than needed: the matcher wants it).
Value short_convolution(const Value& x, const Scope& scope, std::int64_t C, std::int64_t width, std::uint64_t index,
                        States& states) {
    const Value columns = swap_tokens_and_channels(x, C);  // [B, C, S]
    const State past =
        states.read(names::kConvState, index, {static_cast<std::uint64_t>(C), static_cast<std::uint64_t>(width)});
    const Value joined = concat({past.past, columns}, -1);  // [B, C, width + S]; the axis must be written as -1
    states.write(past, slice(joined, -width, kEnd, 2));
    const Value kernel =
        scope.matrix("conv1d.weight", {static_cast<std::size_t>(C), 1, 1, static_cast<std::size_t>(width)});
    const Value convolved =
        std::make_shared<ov::op::v1::GroupConvolution>(joined, kernel, ov::Strides{1}, ov::CoordinateDiff{0},
                                                       ov::CoordinateDiff{0}, ov::Strides{1})
            ->output(0);
    const Value length = dimension(columns, 2);
    const Value newest = slice(convolved, multiply(length, ints({-1})), ints({kEnd}), 2);  // [B, C, S]
    // Swish after the way back: in paged mode it is many times faster there.
    return swish(swap_tokens_and_channels(newest, -1));  // [B, S, C]
}

// x / sqrt(sum(x^2) + 1e-6) over the last axis; the 1e-6 is fixed in the source, not rms_norm_eps.
Value l2_norm(const Value& x) {
    const Value sum = reduce_sum(multiply(x, x), ints({-1}), true);
    return multiply(x, divide(scalar(1.0f), graph::sqrt(add(sum, scalar(1e-6f)))));
}

// [B, S, H_k, K] -> [B, S, H_v, K], each key head H_v / H_k times in a row.
Value repeat_key_heads(const Value& x, const Heads& heads) {
    if (heads.H_k == heads.H_v) {
        return x;
    }
    Ints source;
    for (std::int64_t h = 0; h < heads.H_v; ++h) {
        source.push_back(h / (heads.H_v / heads.H_k));
    }
    return gather(x, ints(source), integer(2));
}

struct Rule {
    Value output;  // [B, H_v, S, V]
    Value state;   // [B, H_v, K, V]
};

// One step of the rule, as the body of the loop. Results in the order that the fusion needs:
// condition, state, outputs.
struct Body {
    std::shared_ptr<ov::op::v0::Parameter> step, q, k, v, g, beta, state, outputs;
    Value next_state, next_outputs;
    std::shared_ptr<ov::Model> model;
};

Body rule_body() {
    const auto f32 = ov::element::f32;
    const auto any = ov::Dimension::dynamic();
    const auto make = [](ov::element::Type type, const ov::PartialShape& shape) {
        return std::make_shared<ov::op::v0::Parameter>(type, shape);
    };
    Body body;
    body.step = make(ov::element::i32, ov::PartialShape{});
    body.q = make(f32, {any, any, 1, any});          // [B, H, 1, K]
    body.k = make(f32, {any, any, 1, any});          // [B, H, 1, K]
    body.v = make(f32, {any, any, 1, any});          // [B, H, 1, V]
    body.g = make(f32, {any, any, 1});               // [B, H, 1]
    body.beta = make(f32, {any, any, 1});            // [B, H, 1]
    body.state = make(f32, {any, any, any, any});    // [B, H, K, V]
    body.outputs = make(f32, {any, any, any, any});  // [B, H, S, V]

    const Value last = integer32(-1);
    const Value rows = integer32(-2);
    const Value time = integer32(2);
    const Value q = unsqueeze(squeeze(body.q, time), last);  // [B, H, K, 1]
    const Value k = unsqueeze(squeeze(body.k, time), last);  // [B, H, K, 1]
    const Value v = squeeze(body.v, time);                   // [B, H, V]
    const Value decayed = multiply(body.state, unsqueeze(graph::exp(body.g), last));
    const Value recalled = reduce_sum(multiply(decayed, k), rows, false);       // [B, H, V]
    const Value correction = multiply(subtract(v, recalled), body.beta);        // [B, H, V]
    body.next_state = add(decayed, multiply(k, unsqueeze(correction, rows)));   // [B, H, K, V]
    const Value output = reduce_sum(multiply(body.next_state, q), rows, true);  // [B, H, 1, V]
    body.next_outputs =
        std::make_shared<ov::op::v3::ScatterUpdate>(body.outputs, unsqueeze(body.step, integer32(0)), output, time)
            ->output(0);
    const Value go_on = std::make_shared<ov::op::v0::Constant>(ov::element::boolean, ov::Shape{1}, true)->output(0);
    body.model = std::make_shared<ov::Model>(
        ov::OutputVector{go_on, body.next_state, body.next_outputs},
        ov::ParameterVector{body.step, body.q, body.k, body.v, body.g, body.beta, body.state, body.outputs},
        "delta_rule_step");
    return body;
}

// q, k [B, H_v, S, K], v [B, H_v, S, V], g, beta [B, H_v, S], state [B, H_v, K, V].
Rule delta_rule(const Value& q, const Value& k, const Value& v, const Value& g, const Value& beta, const Value& state) {
    const Body body = rule_body();
    const Value v_shape = shape_of(v);
    const Value steps = convert(gather(v_shape, integer(2), integer(0)), ov::element::i32);
    const Value always = std::make_shared<ov::op::v0::Constant>(ov::element::boolean, ov::Shape{}, true)->output(0);
    const auto loop = std::make_shared<ov::op::v5::Loop>(steps, always);
    loop->set_function(body.model);
    constexpr std::int64_t kTime = 2;
    loop->set_sliced_input(body.q, q, 0, 1, 1, -1, kTime);
    loop->set_sliced_input(body.k, k, 0, 1, 1, -1, kTime);
    loop->set_sliced_input(body.v, v, 0, 1, 1, -1, kTime);
    loop->set_sliced_input(body.g, g, 0, 1, 1, -1, kTime);
    loop->set_sliced_input(body.beta, beta, 0, 1, 1, -1, kTime);
    loop->set_merged_input(body.state, state, body.next_state);
    loop->set_merged_input(body.outputs, broadcast(scalar(0.0f), v_shape), body.next_outputs);
    loop->set_special_body_ports({0, 0});
    const Value output = loop->get_iter_value(body.next_outputs, -1);
    const Value next_state = loop->get_iter_value(body.next_state, -1);
    loop->validate_and_infer_types();
    return {output, next_state};
}

// g = -exp(A_log) * softplus(W_a x + dt_bias), [B, S, H_v]; -exp is folded in double.
Value log_decay(const Value& x, const Scope& scope, const Heads& heads) {
    std::vector<float> negative_rate;
    for (double a_log : scope.values("A_log")) {
        // Infinite, it would make NaN of a softplus that is 0.
        constexpr double kMost = std::numeric_limits<float>::max();
        negative_rate.push_back(static_cast<float>(-std::min(std::exp(a_log), kMost)));
    }
    const std::vector<double> dt_bias = scope.values("dt_bias");
    const ov::Shape per_head{1, 1, static_cast<std::size_t>(heads.H_v)};
    const Value shifted = add(scope.linear(x, "in_proj_a"), floats({dt_bias.begin(), dt_bias.end()}, per_head));
    return multiply(softplus(shifted), floats(negative_rate, per_head));
}

}  // namespace

Value padding_gate(const Value& attention_mask, const Value& tokens) {
    const Value length = dimension(tokens, 1);
    const Value newest = slice(attention_mask, multiply(length, ints({-1})), ints({kEnd}), 1);  // [B, S]
    return convert(unsqueeze(newest, integer(2)), ov::element::f32);
}

Value gated_delta_net(const Value& x, const Scope& scope, const checkpoint::TextConfig& config, std::uint64_t index,
                      States& states) {
    const Heads heads{static_cast<std::int64_t>(config.linear_num_key_heads),
                      static_cast<std::int64_t>(config.linear_num_value_heads),
                      static_cast<std::int64_t>(config.linear_key_head_dim),
                      static_cast<std::int64_t>(config.linear_value_head_dim)};
    const std::int64_t keys = heads.H_k * heads.K;
    const std::int64_t values = heads.H_v * heads.V;

    const Value mixed = short_convolution(scope.linear(x, "in_proj_qkv"), scope, 2 * keys + values,
                                          static_cast<std::int64_t>(config.linear_conv_kernel_dim), index, states);
    const std::vector<Value> qkv = split(mixed, -1, {keys, keys, values});
    // Repeat before the norm: only in this order are both absorbed by the fused operation.
    Value q = l2_norm(repeat_key_heads(reshape(qkv[0], {0, 0, heads.H_k, heads.K}), heads));  // [B, S, H_v, K]
    Value k = l2_norm(repeat_key_heads(reshape(qkv[1], {0, 0, heads.H_k, heads.K}), heads));
    Value v = reshape(qkv[2], {0, 0, heads.H_v, heads.V});  // [B, S, H_v, V]
    q = transpose(q, {0, 2, 1, 3});                         // [B, H_v, S, K]
    k = transpose(k, {0, 2, 1, 3});
    v = transpose(v, {0, 2, 1, 3});
    // The scale must be computed from the shape: a constant is not matched.
    const Value head_size = convert(gather(shape_of(q), integer(3), integer(0)), ov::element::f32);
    q = divide(q, power(head_size, scalar(0.5f)));

    const Value g = transpose(log_decay(x, scope, heads), {0, 2, 1});                // [B, H_v, S]
    const Value beta = transpose(sigmoid(scope.linear(x, "in_proj_b")), {0, 2, 1});  // [B, H_v, S]
    const State past =
        states.read(names::kRecurrentState, index,
                    {config.linear_num_value_heads, config.linear_key_head_dim, config.linear_value_head_dim});
    const Rule rule = delta_rule(q, k, v, g, beta, past.past);
    states.write(past, rule.state);

    // Straight to rank 2: with fewer key than value heads the paged fusion gets a rank-4 norm wrong.
    const Value o = reshape(transpose(rule.output, {0, 2, 1, 3}), {-1, heads.V});  // [B * S * H_v, V]
    const Value z = reshape(scope.linear(x, "in_proj_z"), {-1, heads.V});
    const Value normed = gated_norm(o, z, scope, "norm", config.rms_norm_eps, config.output_gate);
    const Value batch_and_length = gather(shape_of(x), ints({0, 1}), integer(0));
    const Value merged = reshape_to(normed, concat({batch_and_length, ints({values})}, 0));  // [B, S, H_v * V]
    return scope.linear(merged, "out_proj");
}

}  // namespace deltavino::blocks
