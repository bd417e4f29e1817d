#include "graph/ops.hpp"

#include <openvino/op/ops.hpp>

namespace deltavino::graph {
namespace {

template <typename Op, typename... Args>
Value make(Args&&... args) {
    return std::make_shared<Op>(std::forward<Args>(args)...)->output(0);
}

}  // namespace

Value named(const Value& value, const std::string& name) {
    value.get_node()->set_friendly_name(name);
    return value;
}

namespace {
constexpr const char* kPrecise = "precise";
}

Value precise(const Value& value) {
    value.get_node()->get_rt_info()[kPrecise] = true;
    return value;
}

bool is_precise(const ov::Node& node) {
    return node.get_rt_info().contains(kPrecise);
}

std::shared_ptr<ov::op::v0::Parameter> parameter(ov::element::Type type, const ov::PartialShape& shape,
                                                 const std::string& name) {
    auto node = std::make_shared<ov::op::v0::Parameter>(type, shape);
    node->set_friendly_name(name);
    node->output(0).get_tensor().set_names({name});
    return node;
}

std::shared_ptr<ov::Model> single_output_model(const Value& value, const char* output,
                                               const ov::ParameterVector& inputs, const char* name,
                                               const ov::SinkVector& sinks) {
    value.get_tensor().set_names({output});
    const auto result = std::make_shared<ov::op::v0::Result>(value);
    result->set_friendly_name(output);
    return std::make_shared<ov::Model>(ov::ResultVector{result}, sinks, inputs, name);
}

Value ints(const Ints& values) {
    return make<ov::op::v0::Constant>(ov::element::i64, ov::Shape{values.size()}, values);
}
Value integer(std::int64_t value) {
    return make<ov::op::v0::Constant>(ov::element::i64, ov::Shape{}, value);
}
Value integer32(std::int32_t value) {
    return make<ov::op::v0::Constant>(ov::element::i32, ov::Shape{}, value);
}
Value scalar(float value) {
    return make<ov::op::v0::Constant>(ov::element::f32, ov::Shape{}, value);
}
Value floats(const std::vector<float>& values, const ov::Shape& shape) {
    return make<ov::op::v0::Constant>(ov::element::f32, shape, values);
}

Value add(const Value& a, const Value& b) {
    return make<ov::op::v1::Add>(a, b);
}
Value subtract(const Value& a, const Value& b) {
    return make<ov::op::v1::Subtract>(a, b);
}
Value multiply(const Value& a, const Value& b) {
    return make<ov::op::v1::Multiply>(a, b);
}
Value divide(const Value& a, const Value& b) {
    return make<ov::op::v1::Divide>(a, b);
}
Value power(const Value& a, const Value& b) {
    return make<ov::op::v1::Power>(a, b);
}
Value sqrt(const Value& x) {
    return make<ov::op::v0::Sqrt>(x);
}
Value exp(const Value& x) {
    return make<ov::op::v0::Exp>(x);
}
Value sin(const Value& x) {
    return make<ov::op::v0::Sin>(x);
}
Value cos(const Value& x) {
    return make<ov::op::v0::Cos>(x);
}
Value sigmoid(const Value& x) {
    return make<ov::op::v0::Sigmoid>(x);
}
Value softplus(const Value& x) {
    return make<ov::op::v4::SoftPlus>(x);
}
Value swish(const Value& x) {
    return make<ov::op::v4::Swish>(x);  // a second input (beta) would break the fusions
}
Value convert(const Value& x, ov::element::Type type) {
    return make<ov::op::v0::Convert>(x, type);
}

Value matmul(const Value& a, const Value& b, bool transpose_a, bool transpose_b) {
    return make<ov::op::v0::MatMul>(a, b, transpose_a, transpose_b);
}
Value reduce_sum(const Value& x, const Value& axis, bool keep_dims) {
    return make<ov::op::v1::ReduceSum>(x, axis, keep_dims);
}
Value reduce_mean(const Value& x, const Value& axis, bool keep_dims) {
    return make<ov::op::v1::ReduceMean>(x, axis, keep_dims);
}

Value shape_of(const Value& x) {
    return make<ov::op::v3::ShapeOf>(x, ov::element::i64);
}
Value dimension(const Value& x, std::int64_t axis) {
    return gather(shape_of(x), ints({axis}), integer(0));
}
Value gather(const Value& x, const Value& indices, const Value& axis) {
    return make<ov::op::v8::Gather>(x, indices, axis);
}
Value reshape(const Value& x, const Ints& shape) {
    return make<ov::op::v1::Reshape>(x, ints(shape), true);
}
Value reshape_to(const Value& x, const Value& shape) {
    return make<ov::op::v1::Reshape>(x, shape, false);
}
Value transpose(const Value& x, const Ints& order) {
    return make<ov::op::v1::Transpose>(x, ints(order));
}
Value squeeze(const Value& x, const Value& axis) {
    return make<ov::op::v0::Squeeze>(x, axis);
}
Value unsqueeze(const Value& x, const Value& axis) {
    return make<ov::op::v0::Unsqueeze>(x, axis);
}
Value concat(const std::vector<Value>& parts, std::int64_t axis) {
    return make<ov::op::v0::Concat>(ov::OutputVector(parts.begin(), parts.end()), axis);
}
Value slice(const Value& x, const Value& start, const Value& stop, std::int64_t axis) {
    return make<ov::op::v8::Slice>(x, start, stop, ints({1}), ints({axis}));
}
Value slice(const Value& x, std::int64_t start, std::int64_t stop, std::int64_t axis) {
    return slice(x, ints({start}), ints({stop}), axis);
}
std::vector<Value> split(const Value& x, std::int64_t axis, const Ints& lengths) {
    auto node = std::make_shared<ov::op::v1::VariadicSplit>(x, integer(axis), ints(lengths));
    const ov::OutputVector outputs = node->outputs();
    return {outputs.begin(), outputs.end()};
}
Value broadcast(const Value& x, const Value& shape) {
    return make<ov::op::v3::Broadcast>(x, shape);
}
Value broadcast_bidirectional(const Value& x, const Value& shape) {
    return make<ov::op::v3::Broadcast>(x, shape, ov::op::BroadcastType::BIDIRECTIONAL);
}
Value range(const Value& start, const Value& stop) {
    return make<ov::op::v4::Range>(start, stop, integer(1), ov::element::i64);
}
Value less_equal(const Value& a, const Value& b) {
    return make<ov::op::v1::LessEqual>(a, b);
}
Value logical_and(const Value& a, const Value& b) {
    return make<ov::op::v1::LogicalAnd>(a, b);
}
Value select(const Value& condition, const Value& then, const Value& otherwise) {
    return make<ov::op::v1::Select>(condition, then, otherwise);
}

}  // namespace deltavino::graph
