#include "runtime/linear/operation.hpp"

#include <openvino/core/attribute_visitor.hpp>

#include <tbb/blocked_range.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

#include <algorithm>
#include <new>
#include <utility>
#include <vector>

namespace deltavino::runtime {
namespace {

// The quantized activations of a thread's newest product, kept for the next one.
struct Scratch {
    std::vector<std::int8_t> codes;
    std::vector<float> scales;
    std::vector<std::int32_t> sums;

    QuantizedTokens of(std::size_t tokens, const PackedShape& shape) {
        codes.resize(std::max(codes.size(), tokens * shape.columns));
        scales.resize(std::max(scales.size(), tokens * shape.groups()));
        sums.resize(std::max(sums.size(), tokens * shape.groups()));
        return {codes.data(), scales.data(), sums.data()};
    }
};

void multiply(const PackedMatrix& matrix, Gate gate, const ov::TensorVector& inputs, ov::Tensor& y) {
    thread_local Scratch scratch;
    const ov::Tensor& x = inputs[0];
    const PackedShape& shape = matrix.shape;
    const LinearKernel& kernel = *linear_kernel();
    const std::size_t tokens = x.get_size() / shape.columns;
    const auto type = x.get_element_type() == ov::element::bf16 ? quant::SourceType::BF16 : quant::SourceType::F32;
    const QuantizedTokens rows = scratch.of(tokens, shape);
    auto* to = static_cast<std::byte*>(y.data());
    const auto quantize = [&](std::size_t token) {
        const std::size_t begin = token * shape.columns * x.get_element_type().size();
        const auto from = [&](const ov::Tensor& tensor) {
            return static_cast<const std::byte*>(tensor.data()) + begin;
        };
        kernel.quantize({type, gate, from(x), gate == Gate::None ? nullptr : from(inputs[1])}, shape,
                        rows.codes + token * shape.columns, rows.scales + token * shape.groups(),
                        rows.sums + token * shape.groups());
    };
    if (tokens == 1) {
        quantize(0);
    } else {
        tbb::parallel_for(std::size_t{0}, tokens, quantize);
    }
    constexpr std::size_t kGrain = 4;  // blocks; of even number, the kernels take two together
    tbb::parallel_for(tbb::blocked_range<std::size_t>(0, (shape.blocks() + kGrain - 1) / kGrain),
                      [&](const tbb::blocked_range<std::size_t>& range) {
                          kernel.multiply(shape, matrix.bytes.get(), rows, tokens, range.begin() * kGrain,
                                          std::min(range.end() * kGrain, shape.blocks()), type, to);
                      });
}

}  // namespace

CompressedLinear::CompressedLinear(const ov::OutputVector& inputs, Gate gate,
                                   std::shared_ptr<const PackedMatrix> matrix)
    : Op(inputs),
      matrix_(std::move(matrix)),
      key_(matrix_->key),
      rows_(static_cast<std::int64_t>(matrix_->shape.rows)),
      gate_(static_cast<std::int64_t>(gate)) {
    constructor_validate_and_infer_types();
}

void CompressedLinear::validate_and_infer_types() {
    ov::PartialShape shape = get_input_partial_shape(0);
    NODE_VALIDATION_CHECK(this, gate_ >= 0 && gate_ <= 2 && get_input_size() == (gate_ == 0 ? 1u : 2u) &&
                                    shape.rank().is_static() && shape.size() > 0);
    shape[shape.size() - 1] = rows_;
    set_output_type(0, get_input_element_type(0), shape);
}

std::shared_ptr<ov::Node> CompressedLinear::clone_with_new_inputs(const ov::OutputVector& inputs) const {
    check_new_args_count(this, inputs);
    return std::make_shared<CompressedLinear>(inputs, static_cast<Gate>(gate_), matrix_);
}

bool CompressedLinear::visit_attributes(ov::AttributeVisitor& visitor) {
    visitor.on_attribute("key", key_);
    visitor.on_attribute("rows", rows_);
    visitor.on_attribute("gate", gate_);
    if (!matrix_) {
        matrix_ = find_packed(key_);
        OPENVINO_ASSERT(matrix_ != nullptr, "the weights '", key_, "' are not in memory");
    }
    return true;
}

bool CompressedLinear::evaluate(ov::TensorVector& outputs, const ov::TensorVector& inputs) const {
    ov::Shape shape = inputs[0].get_shape();
    if (!matrix_ || linear_kernel() == nullptr || shape.empty() || shape.back() != matrix_->shape.columns ||
        (inputs.size() > 1 && inputs[1].get_size() != inputs[0].get_size())) {
        return false;
    }
    shape.back() = matrix_->shape.rows;
    outputs[0].set_shape(shape);
    try {
        if (outputs[0].get_size() > 0) {
            // Or a thread that waits for others could begin another product, in the same scratch.
            tbb::this_task_arena::isolate([&]() { multiply(*matrix_, static_cast<Gate>(gate_), inputs, outputs[0]); });
        }
    } catch (const std::bad_alloc&) {
        return false;
    }
    return true;
}

}  // namespace deltavino::runtime
