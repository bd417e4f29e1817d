// How a checkpoint says that its weights are quantized: `quantization_config` of config.json, or ModelOpt's
// hf_quant_config.json.
//
// Which weight is quantized is decided by the tensors that are there (row_source.hpp). From here come only
// the facts that tensors cannot tell: the packing, what a stored zero point means, sizes of groups and blocks.
#pragma once

#include "quant/packed.hpp"

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace deltavino::checkpoint {

struct Quantization {
    std::string method;  // as messages name it: "fp8", "gptq", "awq", "compressed-tensors", "auto-round", "modelopt"
    std::string where;   // the file and key that say so
    // Of integers in `qweight`; tensors named `weight_packed` say it by their name.
    std::optional<quant::Packing> packing;
    bool zero_points_less_one = false;  // the first GPTQ format
    bool desc_act = false;              // columns were quantized in the order of their importance
    // Every size that is mentioned, each once: columns of a group (0: a whole row), [rows, columns] of a block.
    std::vector<std::uint64_t> group_sizes;
    std::vector<std::array<std::uint64_t, 2>> block_sizes;
    // Modules that stay plain, as the file spells them; empty when the file gives patterns that only its own
    // tool can match.
    std::vector<std::string> plain_modules;
    bool plain_modules_known = true;
};

// Nothing for a checkpoint that does not say that it is quantized. Throws ErrorKind::Unsupported, by name and
// with what to do, for methods that are not read (bitsandbytes, MLX, HQQ, NVFP4, MXFP4, other bits, ...), and
// ErrorKind::Input with every key that is wrong.
std::optional<Quantization> read_quantization(const std::string& config_text, const std::filesystem::path& directory);

}  // namespace deltavino::checkpoint
