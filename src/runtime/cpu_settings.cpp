#include "runtime/cpu_settings.hpp"

#include "runtime/delta_rule/operation.hpp"
#include "runtime/delta_rule/replace.hpp"
#include "runtime/linear/operation.hpp"
#include "runtime/linear/replace.hpp"

#include <openvino/core/extension.hpp>
#include <openvino/core/op_extension.hpp>
#include <openvino/op/constant.hpp>

#include <numeric>

namespace deltavino::runtime {
namespace {

constexpr const char* kFileOptions = "runtime_options";

bool file_says(const ov::Model& model, const std::string& property) {
    return model.has_rt_info(kFileOptions, property);
}

// What the plugin stores values in between operations. Only what is sure to be bf16 counts as that: values of f32 are
// converted where they are not, and the other way round they would be rounded.
ov::element::Type stored_type(ov::Core& core, const ov::Model& model, const DeviceSettings& settings) {
    const bool left_alone =
        !file_says(model, ov::hint::inference_precision.name()) && !file_says(model, ov::hint::execution_mode.name());
    const bool wanted = settings.precision.empty() ? left_alone : settings.precision == "bf16";
    const auto of_device = core.get_property(settings.device, ov::hint::inference_precision);
    return wanted && of_device == ov::element::bf16 ? ov::element::bf16 : ov::element::f32;
}

}  // namespace

std::uint64_t activation_group(const ov::Model& model) {
    std::size_t common = 0;
    for (const auto& node : model.get_ops()) {
        const auto* constant = dynamic_cast<const ov::op::v0::Constant*>(node.get());
        if (constant == nullptr || constant->get_element_type().bitwidth() != 4 || constant->get_shape().size() < 3) {
            continue;
        }
        const std::size_t group = constant->get_shape().back();  // [rows, groups, group], experts before rows
        common = group > 1 ? std::gcd(common, group) : common;   // zero points have 1
    }
    for (const std::size_t group : {128, 64}) {
        if (common != 0 && common % group == 0) {
            return group;
        }
    }
    return 0;
}

bool reads_long_pieces(const DeviceSettings& settings) {
    return settings.device == "CPU" &&
           (settings.plugin_only || (settings.precision != "f32" && linear_kernel() != nullptr));
}

ov::AnyMap prepare_for_cpu(ov::Core& core, const std::shared_ptr<ov::Model>& model, const DeviceSettings& settings) {
    ov::AnyMap properties;
    if (settings.device != "CPU" || settings.plugin_only) {
        return properties;
    }
    const ov::element::Type type = stored_type(core, *model, settings);
    const bool may_quantize =
        settings.precision != "f32" && !file_says(*model, ov::hint::dynamic_quantization_group_size.name());
    const std::uint64_t group = activation_group(*model);
    // Extensions are for models from the cache of compiled ones.
    if (use_own_delta_rule(model, type) > 0) {
        core.add_extension<DeltaRule>();
    }
    if (may_quantize && use_own_products(model, type) > 0) {
        core.add_extension<CompressedLinear>();
    }
    if (group > 0 && may_quantize) {
        properties.emplace(ov::hint::dynamic_quantization_group_size(group));
    }
    return properties;
}

}  // namespace deltavino::runtime
