// The convolution and the delta rule of a linear attention layer as one operation that the CPU plugin calls.
#pragma once

#include <openvino/op/op.hpp>

#include <cstdint>
#include <memory>

namespace deltavino::runtime {

// Inputs, of one type T, f32 or bf16, but for the last:
//   x [B, S, C], g [B, S, H_v], beta [B, S, H_v], state [B, H_v, K, V], columns [B, width, C], taps f32 [width, C]
// Outputs of T: o [B, S, H_v, V], state, columns. kernel.hpp says what they are.
class DeltaRule : public ov::op::Op {
public:
    OPENVINO_OP("DeltaRule", "deltavino");

    DeltaRule() = default;
    DeltaRule(const ov::OutputVector& inputs, std::int64_t key_heads);

    void validate_and_infer_types() override;
    std::shared_ptr<ov::Node> clone_with_new_inputs(const ov::OutputVector& inputs) const override;
    bool visit_attributes(ov::AttributeVisitor& visitor) override;
    bool has_evaluate() const override { return true; }
    bool evaluate(ov::TensorVector& outputs, const ov::TensorVector& inputs) const override;

private:
    std::int64_t key_heads_ = 0;
};

}  // namespace deltavino::runtime
