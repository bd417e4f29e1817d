#include "blocks/attention.hpp"

#include "blocks/norm.hpp"
#include "graph/names.hpp"

#include <openvino/op/scaled_dot_product_attention.hpp>

#include <cmath>

namespace deltavino::blocks {

using namespace graph;

namespace {

// [B, G, T, D] -> [B, H, T, D]: every key/value head serves H / G neighbouring query heads. The constant
// target is the form that the CPU, paged and GPU fusions all accept.
Value repeat_heads(const Value& x, std::int64_t H, std::int64_t G, std::int64_t D) {
    if (H == G) {
        return x;
    }
    return reshape(broadcast_bidirectional(unsqueeze(x, integer(2)), ints({1, 1, H / G, 1, 1})), {0, H, -1, D});
}

}  // namespace

KeyValueState read_key_value(States& states, std::uint64_t index, const checkpoint::TextConfig& config) {
    const std::vector<std::uint64_t> dims{config.num_key_value_heads, 0, config.head_dim};
    return {states.read(names::kKeyState, index, dims), states.read(names::kValueState, index, dims)};
}

Value causal_mask(const Value& attention_mask, const Value& tokens) {
    const Value keys = gather(shape_of(attention_mask), integer(1), integer(0));
    const Value queries = gather(shape_of(tokens), integer(1), integer(0));
    const Value key_index = unsqueeze(range(integer(0), keys), integer(0));                     // [1, T]
    const Value query_index = unsqueeze(range(subtract(keys, queries), keys), integer(1));      // [S, 1]
    const Value causal = unsqueeze(less_equal(key_index, query_index), ints({0, 1}));           // [1, 1, S, T]
    const Value real = unsqueeze(convert(attention_mask, ov::element::boolean), ints({1, 2}));  // [B, 1, 1, T]
    constexpr float kHidden = -65504.0f;  // the least float16: no plugin turns it into infinity
    return select(logical_and(causal, real), scalar(0.0f), scalar(kHidden));
}

Value gated_attention(const Value& x, const Scope& scope, const checkpoint::TextConfig& config, const Rotary& rotary,
                      const Value& mask, const KeyValueState& past, States& states) {
    const auto H = static_cast<std::int64_t>(config.num_attention_heads);
    const auto G = static_cast<std::int64_t>(config.num_key_value_heads);
    const auto D = static_cast<std::int64_t>(config.head_dim);

    const std::vector<Value> query_and_gate =
        split(reshape(scope.linear(x, "q_proj"), {0, 0, H, 2 * D}), -1, {D, D});  // [B, S, H, D] each
    const LeadingScale scale_of_rotated{rotary.dims, rotary.attention_factor};
    Value q = zero_centred_norm(query_and_gate[0], scope, "q_norm", config.rms_norm_eps, 4, scale_of_rotated);
    Value k = zero_centred_norm(reshape(scope.linear(x, "k_proj"), {0, 0, G, D}), scope, "k_norm", config.rms_norm_eps,
                                4, scale_of_rotated);
    Value v = reshape(scope.linear(x, "v_proj"), {0, 0, G, D});
    q = apply_rotary(transpose(q, {0, 2, 1, 3}), rotary);  // [B, H, S, D]
    k = apply_rotary(transpose(k, {0, 2, 1, 3}), rotary);  // [B, G, S, D]
    v = transpose(v, {0, 2, 1, 3});                        // [B, G, S, D]

    k = concat({past.key.past, k}, 2);  // [B, G, past + S, D]
    v = concat({past.value.past, v}, 2);
    states.write(past.key, k);
    states.write(past.value, v);

    const Value scale = scalar(static_cast<float>(1.0 / std::sqrt(static_cast<double>(D))));
    const Value attended = std::make_shared<ov::op::v13::ScaledDotProductAttention>(
                               q, repeat_heads(k, H, G, D), repeat_heads(v, H, G, D), mask, scale, false)
                               ->output(0);
    const Value merged = reshape(transpose(attended, {0, 2, 1, 3}), {0, 0, H * D});  // [B, S, H * D]
    const Value gate = reshape(query_and_gate[1], {0, 0, H * D});
    return scope.linear(multiply(merged, sigmoid(gate)), "o_proj");
}

}  // namespace deltavino::blocks
