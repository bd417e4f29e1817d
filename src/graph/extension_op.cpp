#include "graph/extension_op.hpp"

#include <openvino/core/attribute_visitor.hpp>

namespace deltavino::graph {

ExtensionOp::ExtensionOp(std::string type, const ov::OutputVector& inputs, ExtensionAttributes attributes,
                         ExtensionOutputs outputs)
    : ov::op::Op(inputs),
      type_(std::move(type)),
      type_info_(type_.c_str(), "extension"),
      attributes_(std::move(attributes)),
      outputs_(std::move(outputs)) {
    validate_and_infer_types();
}

void ExtensionOp::validate_and_infer_types() {
    set_output_size(outputs_.size());
    for (std::size_t i = 0; i < outputs_.size(); ++i) {
        set_output_type(i, outputs_[i].first, outputs_[i].second);
    }
}

std::shared_ptr<ov::Node> ExtensionOp::clone_with_new_inputs(const ov::OutputVector& inputs) const {
    return std::make_shared<ExtensionOp>(type_, inputs, attributes_, outputs_);
}

bool ExtensionOp::visit_attributes(ov::AttributeVisitor& visitor) {
    for (auto& [name, value] : attributes_) {
        visitor.on_attribute(name, value);
    }
    return true;
}

}  // namespace deltavino::graph
