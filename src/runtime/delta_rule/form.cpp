#include "runtime/delta_rule/form.hpp"

#include <openvino/op/constant.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <vector>

namespace deltavino::runtime {
namespace {

std::string constant_text(const ov::op::v0::Constant& constant) {
    constexpr std::size_t kMost = 8;
    const std::size_t count = ov::shape_size(constant.get_shape());
    return count == 0 || count > kMost ? "_" : fmt::format("{:.6g}", fmt::join(constant.cast_vector<double>(), " "));
}

std::string form_of(const ov::Output<ov::Node>& value, const FormNames& names, std::size_t depth) {
    if (const auto found = names.find(value); found != names.end()) {
        return found->second;
    }
    const ov::Node* node = value.get_node();
    if (const auto* constant = dynamic_cast<const ov::op::v0::Constant*>(node)) {
        return constant_text(*constant);
    }
    if (depth == 0) {
        return "...";
    }
    std::vector<std::string> inputs;
    for (const ov::Output<ov::Node>& input : node->input_values()) {
        inputs.push_back(form_of(input, names, depth - 1));
    }
    return fmt::format("{}({})", node->get_type_name(), fmt::join(inputs, ", "));
}

}  // namespace

std::string form_of(const ov::Output<ov::Node>& value, const FormNames& names) {
    constexpr std::size_t kMostInARow = 32;
    return form_of(value, names, kMostInARow);
}

}  // namespace deltavino::runtime
