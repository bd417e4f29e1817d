// OpenVINO operations as functions from values to values.
//
// Thin on purpose: a block is written with these and reads like its equations. They emit exactly the
// operation versions that OpenVINO's fusions expect (for example Swish with one input).
#pragma once

#include <openvino/core/model.hpp>
#include <openvino/core/node.hpp>
#include <openvino/core/partial_shape.hpp>
#include <openvino/op/constant.hpp>
#include <openvino/op/parameter.hpp>

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

namespace deltavino::graph {

using Value = ov::Output<ov::Node>;
using Ints = std::vector<std::int64_t>;

inline constexpr std::int64_t kEnd = std::numeric_limits<std::int64_t>::max();

// Gives the node that makes `value` a friendly name; returns the value.
Value named(const Value& value, const std::string& name);
// Marks the node that makes `value`: devices that compute in f16 compute it in f32. Returns the value.
Value precise(const Value& value);
bool is_precise(const ov::Node& node);

std::shared_ptr<ov::op::v0::Parameter> parameter(ov::element::Type type, const ov::PartialShape& shape,
                                                 const std::string& name);
// A model with one output, called `output` as tensor and as node.
std::shared_ptr<ov::Model> single_output_model(const Value& value, const char* output,
                                               const ov::ParameterVector& inputs, const char* name,
                                               const ov::SinkVector& sinks = {});

Value ints(const Ints& values);       // i64, rank 1
Value integer(std::int64_t value);    // i64, scalar
Value integer32(std::int32_t value);  // i32, scalar
Value scalar(float value);            // f32, scalar
Value floats(const std::vector<float>& values, const ov::Shape& shape);

Value add(const Value& a, const Value& b);
Value subtract(const Value& a, const Value& b);
Value multiply(const Value& a, const Value& b);
Value divide(const Value& a, const Value& b);
Value power(const Value& a, const Value& b);
Value sqrt(const Value& x);
Value exp(const Value& x);
Value sin(const Value& x);
Value cos(const Value& x);
Value sigmoid(const Value& x);
Value softplus(const Value& x);
Value swish(const Value& x);
Value convert(const Value& x, ov::element::Type type);

Value matmul(const Value& a, const Value& b, bool transpose_a, bool transpose_b);
Value reduce_sum(const Value& x, const Value& axis, bool keep_dims);
Value reduce_mean(const Value& x, const Value& axis, bool keep_dims);

Value shape_of(const Value& x);                      // i64
Value dimension(const Value& x, std::int64_t axis);  // i64, rank 1: [dim]
Value gather(const Value& x, const Value& indices, const Value& axis);
Value reshape(const Value& x, const Ints& shape);      // 0 keeps the input's dimension, -1 is inferred
Value reshape_to(const Value& x, const Value& shape);  // to a computed shape
Value transpose(const Value& x, const Ints& order);
Value squeeze(const Value& x, const Value& axis);
Value unsqueeze(const Value& x, const Value& axis);
Value concat(const std::vector<Value>& parts, std::int64_t axis);
// x[start:stop] along one axis, step 1.
Value slice(const Value& x, const Value& start, const Value& stop, std::int64_t axis);
Value slice(const Value& x, std::int64_t start, std::int64_t stop, std::int64_t axis);
std::vector<Value> split(const Value& x, std::int64_t axis, const Ints& lengths);
Value broadcast(const Value& x, const Value& shape);  // numpy rules
Value broadcast_bidirectional(const Value& x, const Value& shape);
Value range(const Value& start, const Value& stop);  // i64 scalars, step 1
Value less_equal(const Value& a, const Value& b);
Value logical_and(const Value& a, const Value& b);
Value select(const Value& condition, const Value& then, const Value& otherwise);

}  // namespace deltavino::graph
