#include "runtime/delta_rule/operation.hpp"

#include "runtime/delta_rule/kernel.hpp"

#include <openvino/core/attribute_visitor.hpp>

#include <tbb/parallel_for.h>

#include <algorithm>
#include <atomic>
#include <new>
#include <vector>

namespace deltavino::runtime {
namespace {

// Of this thread, kept for the next layer; null: there is not enough memory.
float* scratch_of(std::size_t floats) {
    thread_local std::vector<float> scratch;
    try {
        scratch.resize(std::max(scratch.size(), floats));
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
    return scratch.data();
}

const std::byte* sequence(const ov::Tensor& tensor, std::size_t index, std::size_t batch) {
    return static_cast<const std::byte*>(tensor.data()) + index * (tensor.get_byte_size() / batch);
}

std::byte* sequence(ov::Tensor& tensor, std::size_t index, std::size_t batch) {
    return static_cast<std::byte*>(tensor.data()) + index * (tensor.get_byte_size() / batch);
}

}  // namespace

DeltaRule::DeltaRule(const ov::OutputVector& inputs, std::int64_t key_heads) : Op(inputs), key_heads_(key_heads) {
    constructor_validate_and_infer_types();
}

void DeltaRule::validate_and_infer_types() {
    const ov::PartialShape& x = get_input_partial_shape(0);
    const ov::PartialShape& state = get_input_partial_shape(3);
    NODE_VALIDATION_CHECK(this, get_input_size() == 6 && x.rank() == 3 && state.rank() == 4);
    set_output_type(0, get_input_element_type(0), {x[0], x[1], state[1], state[3]});
    set_output_type(1, get_input_element_type(0), {x[0], state[1], state[2], state[3]});
    set_output_type(2, get_input_element_type(0), {x[0], get_input_partial_shape(4)[1], x[2]});
}

std::shared_ptr<ov::Node> DeltaRule::clone_with_new_inputs(const ov::OutputVector& inputs) const {
    return std::make_shared<DeltaRule>(inputs, key_heads_);
}

bool DeltaRule::visit_attributes(ov::AttributeVisitor& visitor) {
    visitor.on_attribute("key_heads", key_heads_);
    return true;
}

bool DeltaRule::evaluate(ov::TensorVector& outputs, const ov::TensorVector& inputs) const {
    const ov::Shape& x = inputs[0].get_shape();
    const ov::Shape& state = inputs[3].get_shape();
    const ov::Shape& columns = inputs[4].get_shape();
    const std::size_t batch = x[0];
    DeltaRuleCall call;
    call.tokens = x[1];
    call.key_heads = static_cast<std::size_t>(key_heads_);
    call.value_heads = state[1];
    call.key_size = state[2];
    call.value_size = state[3];
    call.width = columns[1];
    call.type = inputs[0].get_element_type() == ov::element::bf16 ? quant::SourceType::BF16 : quant::SourceType::F32;
    call.taps = inputs[5].data<const float>();
    outputs[0].set_shape({batch, call.tokens, call.value_heads, call.value_size});
    outputs[1].set_shape(state);
    outputs[2].set_shape(columns);
    if (batch == 0 || state[0] != batch || columns[0] != batch) {
        return batch == 0;
    }
    const DeltaRuleHead head = delta_rule_head(quant::best_isa());
    std::atomic<bool> complete = true;
    const std::size_t scratch_floats = delta_rule_scratch_floats(call);
    tbb::parallel_for(std::size_t{0}, batch * call.key_heads, [&](std::size_t i) {
        const std::size_t b = i / call.key_heads;
        DeltaRuleCall one = call;
        one.x = sequence(inputs[0], b, batch);
        one.g = sequence(inputs[1], b, batch);
        one.beta = sequence(inputs[2], b, batch);
        one.past_state = sequence(inputs[3], b, batch);
        one.past_columns = sequence(inputs[4], b, batch);
        one.output = sequence(outputs[0], b, batch);
        one.state = sequence(outputs[1], b, batch);
        one.columns = sequence(outputs[2], b, batch);
        if (float* scratch = scratch_of(scratch_floats)) {
            head(one, i % call.key_heads, scratch);
        } else {
            complete = false;
        }
    });
    return complete;
}

}  // namespace deltavino::runtime
