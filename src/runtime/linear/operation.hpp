// A product with a compressed matrix as an operation that the CPU plugin calls.
#pragma once

#include "runtime/linear/packed.hpp"

#include <openvino/op/op.hpp>

#include <cstdint>
#include <memory>
#include <string>

namespace deltavino::runtime {

// Inputs x and, with a gate, z, [..., columns] each; output [..., rows]; all f32 or all bf16. kernel.hpp says what is
// computed.
class CompressedLinear : public ov::op::Op {
public:
    OPENVINO_OP("CompressedLinear", "deltavino");

    CompressedLinear() = default;
    CompressedLinear(const ov::OutputVector& inputs, Gate gate, std::shared_ptr<const PackedMatrix> matrix);

    void validate_and_infer_types() override;
    std::shared_ptr<ov::Node> clone_with_new_inputs(const ov::OutputVector& inputs) const override;
    // The matrix by its key; the shape of the output must be known without it.
    bool visit_attributes(ov::AttributeVisitor& visitor) override;
    bool has_evaluate() const override { return true; }
    bool evaluate(ov::TensorVector& outputs, const ov::TensorVector& inputs) const override;

private:
    std::shared_ptr<const PackedMatrix> matrix_;
    std::string key_;
    std::int64_t rows_ = 0;
    std::int64_t gate_ = 0;
};

}  // namespace deltavino::runtime
