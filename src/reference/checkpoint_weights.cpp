#include "reference/checkpoint_weights.hpp"

#include "base/checked.hpp"
#include "base/error.hpp"
#include "checkpoint/families.hpp"
#include "quant/convert.hpp"

#include <algorithm>
#include <vector>

namespace deltavino::reference {
namespace {

quant::SourceType source_type(const checkpoint::Tensor& tensor) {
    switch (tensor.info.dtype) {
        case checkpoint::DType::F32: return quant::SourceType::F32;
        case checkpoint::DType::F16: return quant::SourceType::F16;
        case checkpoint::DType::BF16: return quant::SourceType::BF16;
        default:
            fail(ErrorKind::Unsupported, "cannot read tensor '{}' in '{}' as numbers: its type is {}", tensor.info.name,
                 tensor.file->path().string(), checkpoint::dtype_name(tensor.info.dtype));
    }
}

std::uint64_t rows_of(const checkpoint::Tensor& tensor, std::uint64_t columns) {
    return columns == 0 ? 0 : checked_product(tensor.info.shape) / columns;
}

}  // namespace

CheckpointWeights::Place CheckpointWeights::locate_interleaved(const std::string& module, const std::string& projection,
                                                               std::uint64_t row) const {
    const std::uint64_t r = config_.linear_num_value_heads / config_.linear_num_key_heads;
    const std::uint64_t keys = config_.linear_key_head_dim;
    const std::uint64_t values = r * config_.linear_value_head_dim;  // of one key head
    const std::uint64_t all_keys = config_.linear_num_key_heads * keys;
    // Part of `size` rows, `offset` into the `share` rows of each key head.
    const auto part = [&](const char* tensor, std::uint64_t share, std::uint64_t offset, std::uint64_t size,
                          std::uint64_t at) -> Place {
        return {&checkpoint_.require(module + tensor), at / size * share + offset + at % size, size - at % size};
    };
    const std::uint64_t share = 2 * keys + 2 * values;
    if (projection == "in_proj_z.weight") {
        return part("in_proj_qkvz.weight", share, 2 * keys + values, values, row);
    }
    if (projection == "in_proj_qkv.weight") {
        return row < all_keys       ? part("in_proj_qkvz.weight", share, 0, keys, row)
               : row < 2 * all_keys ? part("in_proj_qkvz.weight", share, keys, keys, row - all_keys)
                                    : part("in_proj_qkvz.weight", share, 2 * keys, values, row - 2 * all_keys);
    }
    return part("in_proj_ba.weight", 2 * r, projection == "in_proj_b.weight" ? 0 : r, r, row);
}

CheckpointWeights::Place CheckpointWeights::locate_expert(const std::string& module, const std::string& projection,
                                                          std::uint64_t row) const {
    const bool down = projection == "down_proj.weight";
    const std::uint64_t inner = config_.moe->moe_intermediate_size;
    const std::uint64_t rows = down ? config_.hidden_size : inner;  // of one expert
    const std::uint64_t expert = row / rows;
    const std::uint64_t at = row % rows;
    const checkpoint::Tensor* own = checkpoint_.find(module + std::to_string(expert) + "." + projection);
    if (own != nullptr) {
        return {own, at, rows - at};
    }
    if (down) {
        return {&checkpoint_.require(module + "down_proj"), row, rows - at};
    }
    const std::uint64_t first = projection == "gate_proj.weight" ? 0 : inner;
    return {&checkpoint_.require(module + "gate_up_proj"), expert * 2 * inner + first + at, rows - at};
}

CheckpointWeights::Place CheckpointWeights::locate(const std::string& name, std::uint64_t row,
                                                   std::uint64_t columns) const {
    if (const checkpoint::Tensor* tensor = checkpoint_.find(name)) {
        const std::uint64_t rows = rows_of(*tensor, columns);
        return {tensor, row, row < rows ? rows - row : 0};
    }
    const auto split = [&](std::string_view module) {
        const std::size_t end = name.find(module) + module.size();
        return std::pair(name.substr(0, end), name.substr(end));
    };
    if (config_.moe && name.find(".mlp.experts.") != std::string::npos) {
        const auto [module, projection] = split(".mlp.experts.");
        return locate_expert(module, projection, row);
    }
    if (name.find(".linear_attn.in_proj_") != std::string::npos &&
        checkpoint::require_family(config_.model_type).interleaved_projections) {
        const auto [module, projection] = split(".linear_attn.");
        return locate_interleaved(module, projection, row);
    }
    return {&checkpoint_.require(name), row, 0};  // throws: it is not there
}

void CheckpointWeights::read_rows(const std::string& name, std::uint64_t first, MatrixRef out) const {
    const auto columns = static_cast<std::uint64_t>(out.cols());
    std::vector<std::byte> bytes;
    for (std::uint64_t done = 0; done < static_cast<std::uint64_t>(out.rows());) {
        const Place place = locate(name, first + done, columns);
        const std::uint64_t rows = std::min(place.run, static_cast<std::uint64_t>(out.rows()) - done);
        if (rows == 0 || place.row + rows > rows_of(*place.tensor, columns)) {
            fail(ErrorKind::Input, "cannot read row {} of '{}': tensor '{}' has {} rows of {}", first + done, name,
                 place.tensor->info.name, rows_of(*place.tensor, columns), columns);
        }
        const quant::SourceType type = source_type(*place.tensor);
        const std::uint64_t row_bytes = checked_multiply(columns, quant::source_bytes(type));
        bytes.resize(static_cast<std::size_t>(rows * row_bytes));
        place.tensor->file->read(place.tensor->info.offset + place.row * row_bytes, bytes);
        // Rows of `out` are as far apart as its owner made them.
        for (std::uint64_t i = 0; i < rows; ++i) {
            const auto row =
                std::span(bytes).subspan(static_cast<std::size_t>(i * row_bytes), static_cast<std::size_t>(row_bytes));
            quant::widen(type, row, {&out(static_cast<Index>(done + i), 0), static_cast<std::size_t>(columns)});
        }
        done += rows;
    }
}

}  // namespace deltavino::reference
