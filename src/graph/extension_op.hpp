// An operation that this program can write into a file but not run: its implementation lives in an
// extension library (openvino_tokenizers) that the reader loads.
#pragma once

#include "graph/ops.hpp"

#include <openvino/op/op.hpp>

#include <string>
#include <utility>
#include <vector>

namespace deltavino::graph {

// Attributes in the order in which they are written to the file.
using ExtensionAttributes = std::vector<std::pair<std::string, std::string>>;
using ExtensionOutputs = std::vector<std::pair<ov::element::Type, ov::PartialShape>>;

class ExtensionOp : public ov::op::Op {
public:
    // `type` is the operation's name in the library, for example "BPETokenizer"; the file says
    // version="extension".
    ExtensionOp(std::string type, const ov::OutputVector& inputs, ExtensionAttributes attributes,
                ExtensionOutputs outputs);

    const ov::DiscreteTypeInfo& get_type_info() const override { return type_info_; }
    void validate_and_infer_types() override;
    std::shared_ptr<ov::Node> clone_with_new_inputs(const ov::OutputVector& inputs) const override;
    bool visit_attributes(ov::AttributeVisitor& visitor) override;

private:
    std::string type_;
    ov::DiscreteTypeInfo type_info_;
    ExtensionAttributes attributes_;
    ExtensionOutputs outputs_;
};

}  // namespace deltavino::graph
