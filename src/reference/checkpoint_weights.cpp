#include "reference/checkpoint_weights.hpp"

#include "base/checked.hpp"
#include "base/error.hpp"
#include "checkpoint/families.hpp"
#include "checkpoint/rows/row_reader.hpp"

#include <algorithm>
#include <limits>
#include <vector>

namespace deltavino::reference {
namespace {

void require_floats(const checkpoint::Tensor& tensor) {
    if (!checkpoint::is_plain_float(tensor.info.dtype)) {
        fail(ErrorKind::Unsupported, "cannot read tensor '{}' in '{}' as numbers: its type is {}", tensor.info.name,
             tensor.file->path().string(), checkpoint::dtype_name(tensor.info.dtype));
    }
}

std::uint64_t rows_of(const checkpoint::Tensor& tensor, std::uint64_t columns) {
    return columns == 0 ? 0 : checked_product(tensor.info.shape) / columns;
}

constexpr std::uint64_t kToTheEnd = std::numeric_limits<std::uint64_t>::max();

// [rows, columns] of the weight that these codes hold.
std::vector<std::uint64_t> shape_of(const checkpoint::Tensor& codes, std::uint64_t columns,
                                    const std::optional<checkpoint::Quantization>& quantization) {
    const std::vector<std::uint64_t>& stored = codes.info.shape;
    if (stored.size() == 2 && codes.info.name.ends_with(".weight_packed")) {
        return {stored[0], columns};
    }
    if (stored.size() == 2 && codes.info.name.ends_with(".qweight")) {
        const bool awq = quantization && quantization->packing == quant::Packing::Awq;
        return {awq ? checked_multiply(stored[1], 8) : stored[1], columns};
    }
    return stored;
}

}  // namespace

CheckpointWeights::CheckpointWeights(const checkpoint::Checkpoint& checkpoint, const checkpoint::TextConfig& config)
    : checkpoint_(checkpoint),
      config_(config),
      quantization_(checkpoint::read_quantization(checkpoint.config_text(), checkpoint.directory())) {}

CheckpointWeights::Place CheckpointWeights::locate_interleaved(const std::string& module, const std::string& projection,
                                                               std::uint64_t row) const {
    const std::uint64_t r = config_.linear_num_value_heads / config_.linear_num_key_heads;
    const std::uint64_t keys = config_.linear_key_head_dim;
    const std::uint64_t values = r * config_.linear_value_head_dim;  // of one key head
    const std::uint64_t all_keys = config_.linear_num_key_heads * keys;
    // Part of `size` rows, `offset` into the `share` rows of each key head.
    const auto part = [&](const char* tensor, std::uint64_t share, std::uint64_t offset, std::uint64_t size,
                          std::uint64_t at) -> Place {
        return {module + tensor, at / size * share + offset + at % size, size - at % size};
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
    const std::string own = module + std::to_string(expert) + "." + projection;
    if (checkpoint::find_codes(checkpoint_, own) != nullptr) {
        return {own, at, rows - at};
    }
    if (down) {
        return {module + "down_proj", row, rows - at};
    }
    const std::uint64_t first = projection == "gate_proj.weight" ? 0 : inner;
    return {module + "gate_up_proj", expert * 2 * inner + first + at, rows - at};
}

CheckpointWeights::Place CheckpointWeights::locate(const std::string& name, std::uint64_t row) const {
    if (checkpoint::find_codes(checkpoint_, name) != nullptr) {
        return {name, row, kToTheEnd};
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
    return {name, row, kToTheEnd};
}

const checkpoint::RowLookup& CheckpointWeights::lookup(const std::string& weight, std::uint64_t columns) const {
    const std::lock_guard lock(mutex_);
    const auto known = lookups_.find(weight);
    if (known != lookups_.end()) {
        return known->second;
    }
    const checkpoint::Tensor* codes = checkpoint::find_codes(checkpoint_, weight);
    if (codes == nullptr) {
        checkpoint_.require(weight);  // throws: it is not there
    }
    checkpoint::RowLookup found =
        checkpoint::find_rows(checkpoint_, quantization_, weight, shape_of(*codes, columns, quantization_));
    if (found.plain == nullptr && !found.source) {
        fail(found.unsupported.empty() ? ErrorKind::Input : ErrorKind::Unsupported, "cannot read weight '{}': {}",
             weight, fmt::join(found.problems.empty() ? found.unsupported : found.problems, "; "));
    }
    return lookups_.emplace(weight, std::move(found)).first->second;
}

void CheckpointWeights::read_rows(const std::string& name, std::uint64_t first, MatrixRef out) const {
    const auto columns = static_cast<std::uint64_t>(out.cols());
    for (std::uint64_t done = 0; done < static_cast<std::uint64_t>(out.rows());) {
        const Place place = locate(name, first + done);
        const std::uint64_t rows = std::min(place.run, static_cast<std::uint64_t>(out.rows()) - done);
        const checkpoint::RowLookup& found = lookup(place.weight, columns);
        const std::uint64_t all = found.source ? found.source->rows : rows_of(*found.plain, columns);
        if (rows == 0 || rows > all || place.row > all - rows || (found.source && found.source->columns != columns)) {
            fail(ErrorKind::Input, "cannot read row {} of '{}': weight '{}' has {} rows, wanted are rows of {}",
                 first + done, name, place.weight, all, columns);
        }
        checkpoint::RowReader reader;
        if (found.source) {
            reader.load(*found.source, place.row, rows);
        } else {
            require_floats(*found.plain);
            reader.load(*found.plain, columns, place.row, rows);
        }
        // Rows of `out` are as far apart as its owner made them.
        for (std::uint64_t i = 0; i < rows; ++i) {
            reader.floats(i, {&out(static_cast<Index>(done + i), 0), static_cast<std::size_t>(columns)});
        }
        done += rows;
    }
}

}  // namespace deltavino::reference
