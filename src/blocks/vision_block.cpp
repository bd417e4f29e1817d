#include "blocks/vision_block.hpp"

#include <openvino/op/gelu.hpp>
#include <openvino/op/mvn.hpp>
#include <openvino/op/scaled_dot_product_attention.hpp>

namespace deltavino::blocks {

using namespace graph;

namespace {

constexpr float kEps = 1e-6f;  // fixed in the source, not in the config

Value row_vector(const Scope& scope, const std::string& name) {
    const std::vector<double> values = scope.values(name);
    return floats({values.begin(), values.end()}, {1, values.size()});
}

// x [N, H, D] -> [N, H, D]. The rank-3 form of the fused rotary operation: no batch, tokens first.
Value rotate(const Value& x, std::int64_t D, const VisionRotary& rotary) {
    const Value first = slice(x, 0, D / 2, 2);
    const Value second = slice(x, D / 2, kEnd, 2);
    const Value rotated = concat({multiply(second, scalar(-1.0f)), first}, -1);
    return add(multiply(x, rotary.cos), multiply(rotated, rotary.sin));
}

Value attention(const Value& x, const Scope& scope, std::int64_t H, const VisionRotary& rotary, const Value& mask) {
    const std::int64_t D = x.get_partial_shape()[1].get_length() / H;
    const Value stacked = reshape(biased_linear(x, scope, "qkv"), {-1, 3, H, D});
    const std::vector<Value> qkv = split(stacked, 1, {1, 1, 1});
    const auto heads_first = [](const Value& v) {
        return transpose(v, {1, 0, 2});
    };  // [N, H, D] -> [H, N, D]
    const Value q = heads_first(rotate(reshape(qkv[0], {-1, H, D}), D, rotary));
    const Value k = heads_first(rotate(reshape(qkv[1], {-1, H, D}), D, rotary));
    // Not the third part of the split: where the GPU plugin takes attention apart (f32, narrow heads), its product
    // reads that part in place and transposed, and gives wrong numbers (tests/gpu/test_vision.py).
    const Value v = heads_first(gather(stacked, integer32(2), integer32(1)));  // [N, H, D] before
    // Rank 3, four inputs, and the mask parameter itself: only so the GPU plugin may replace the mask by
    // the lengths of the pictures. Without a fifth input the scale is 1 / sqrt(D).
    const Value attended =
        std::make_shared<ov::op::v13::ScaledDotProductAttention>(q, k, v, mask, false)->output(0);  // [H, N, D]
    return biased_linear(reshape(transpose(attended, {1, 0, 2}), {-1, H * D}), scope, "proj");
}

Value feed_forward(const Value& x, const Scope& scope) {
    const Value inner =
        std::make_shared<ov::op::v7::Gelu>(biased_linear(x, scope, "linear_fc1"), ov::op::GeluApproximationMode::TANH)
            ->output(0);
    return biased_linear(inner, scope, "linear_fc2");
}

}  // namespace

VisionRotary vision_rotary(const Value& angles) {
    const Value both = concat({angles, angles}, -1);  // [N, D]
    return {unsqueeze(graph::cos(both), integer(1)), unsqueeze(graph::sin(both), integer(1))};
}

Value biased_linear(const Value& x, const Scope& scope, const std::string& module) {
    const Value bias = row_vector(scope, module + ".bias");
    const std::string path = scope.path(module + ".weight");
    const ov::Shape shape{bias.get_shape()[1], static_cast<std::size_t>(x.get_partial_shape()[1].get_length())};
    const Value product = named(matmul(x, scope.matrix(module + ".weight", shape), false, true), path);
    return named(add(product, bias), path + "/bias");
}

Value layer_norm(const Value& x, const Scope& scope, const std::string& module) {
    const Value normed =
        std::make_shared<ov::op::v6::MVN>(x, ints({-1}), true, kEps, ov::op::MVNEpsMode::INSIDE_SQRT)->output(0);
    const Value scaled = multiply(normed, row_vector(scope, module + ".weight"));
    return named(add(scaled, row_vector(scope, module + ".bias")), scope.path(module + ".weight"));
}

Value gelu(const Value& x) {
    return std::make_shared<ov::op::v7::Gelu>(x, ov::op::GeluApproximationMode::ERF)->output(0);
}

Value vision_block(const Value& x, const Scope& scope, std::int64_t heads, const VisionRotary& rotary,
                   const Value& mask) {
    const Value attended = add(x, attention(layer_norm(x, scope, "norm1"), scope / "attn", heads, rotary, mask));
    return add(attended, feed_forward(layer_norm(attended, scope, "norm2"), scope / "mlp"));
}

}  // namespace deltavino::blocks
