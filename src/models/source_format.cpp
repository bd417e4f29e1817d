#include "models/source_format.hpp"

#include "base/error.hpp"

#include <algorithm>
#include <array>
#include <string_view>

namespace deltavino::models {
namespace {

using checkpoint::Checkpoint;
using checkpoint::DType;
using checkpoint::Tensor;

// Ends of the names of what quantizers store beside, or instead of, a weight.
constexpr std::array<std::string_view, 15> kQuantizedEnds{
    ".SCB",          ".weight_scale_inv",  ".weight_scale", ".weight_scale_2", ".weight_packed",
    ".weight_shape", ".weight_zero_point", ".qweight",      ".qzeros",         ".scales",
    ".g_idx",        ".input_scale",       ".absmax",       ".quant_map",      ".weight_format"};

bool is_quantized(const std::string& name, const Tensor& tensor) {
    if (name.find(".quant_state.") != std::string::npos ||
        std::any_of(kQuantizedEnds.begin(), kQuantizedEnds.end(),
                    [&](std::string_view end) { return name.ends_with(end); })) {
        return true;
    }
    switch (tensor.info.dtype) {
        case DType::F8E4M3:
        case DType::F8E5M2:
        case DType::F8E8M0:
        case DType::F4: return true;
        case DType::U8:
        case DType::I8:
        case DType::U32:
        case DType::I32: return name.ends_with(".weight");
        default: return false;
    }
}

struct Found {
    std::string first;  // stored name and type of the first one
    std::size_t count = 0;

    void add(const Tensor& tensor) {
        if (count++ == 0) {
            first = fmt::format("'{}' ({})", tensor.info.name, checkpoint::dtype_name(tensor.info.dtype));
        }
    }
};

}  // namespace

void check_source_format(const Checkpoint& checkpoint, const checkpoint::ModelConfig& config,
                         std::vector<std::string>& notes) {
    const std::string directory = checkpoint.directory().string();
    Found adapter;
    Found quantized;
    for (const auto& [name, tensor] : checkpoint.tensors()) {
        if (name.find("lora_") != std::string::npos || name.find(".base_layer.") != std::string::npos ||
            name.find(".modules_to_save.") != std::string::npos) {
            adapter.add(tensor);
        } else if (is_quantized(name, tensor)) {
            quantized.add(tensor);
        }
    }
    if (checkpoint.converted_for_mlx() || (config.quantization.starts_with("mlx") && quantized.count > 0)) {
        fail(ErrorKind::Unsupported,
             "cannot export '{}': its files were converted for MLX, which stores norms and convolutions differently; "
             "use the original checkpoint",
             directory);
    }
    if (adapter.count > 0) {
        fail(ErrorKind::Unsupported,
             "cannot export '{}': {} tensors, the first is {}, belong to a LoRA adapter that is not merged; merge it "
             "into the model first (peft: merge_and_unload, then save_pretrained)",
             directory, adapter.count, adapter.first);
    }
    const std::string by_config =
        config.quantization.empty() ? std::string() : fmt::format(" as '{}'", config.quantization);
    if (!config.quantization.empty() && quantized.count == 0) {
        notes.push_back(
            fmt::format("config.json says that the weights are quantized{}, but all of them are plain floats: they are "
                        "read as they are, and the key is ignored",
                        by_config));
    }
}

}  // namespace deltavino::models
