#include "graph/read_ir.hpp"

#include "base/file.hpp"

#include <openvino/core/extension.hpp>
#include <openvino/core/op_extension.hpp>
#include <openvino/op/assign.hpp>
#include <openvino/op/read_value.hpp>
#include <openvino/op/util/variable.hpp>

#include <string>
#include <vector>

namespace deltavino::graph {
namespace {

// Reads the runtime's own Op as the runtime does, but for a state without a name: there the runtime (2026.4)
// follows a null pointer. The reader asks the core's extensions before its own operations.
template <class Op>
class NamedState : public ov::BaseOpExtension {
public:
    const ov::DiscreteTypeInfo& get_type_info() const override { return Op::get_type_info_static(); }

    ov::OutputVector create(const ov::OutputVector& inputs, ov::AttributeVisitor& attributes) const override {
        std::shared_ptr<ov::op::util::Variable> state;
        attributes.on_attribute("variable_id", state);
        OPENVINO_ASSERT(state != nullptr, "an operation ", get_type_info().name, " has no variable_id");
        const auto op = std::make_shared<Op>();
        op->set_arguments(inputs);
        if (op->visit_attributes(attributes)) {
            op->constructor_validate_and_infer_types();
        }
        return op->outputs();
    }

    std::vector<ov::Extension::Ptr> get_attached_extensions() const override { return {}; }
};

}  // namespace

std::shared_ptr<ov::Model> read_ir(ov::Core& core, const std::filesystem::path& xml) {
    require_readable_model(xml);
    static const std::vector<ov::Extension::Ptr> named_states = {
        std::make_shared<NamedState<ov::op::v6::ReadValue>>(),
        std::make_shared<NamedState<ov::op::v6::Assign>>(),
    };
    core.add_extension(named_states);
    return core.read_model(xml);
}

}  // namespace deltavino::graph
