#include "calibration/quantized_weights.hpp"

#include <algorithm>
#include <utility>
#include <vector>

namespace deltavino::calibration {
namespace {

using Blocks = std::map<std::uint64_t, quant::CodeRows>;

// The block that holds the row; end() when none does.
Blocks::const_iterator block_of(const Blocks& blocks, std::uint64_t row) {
    auto block = blocks.upper_bound(row);
    if (block == blocks.begin()) {
        return blocks.end();
    }
    --block;
    return row < block->first + block->second.rows ? block : blocks.end();
}

}  // namespace

void QuantizedWeights::add(const std::string& name, std::uint64_t first, quant::CodeRows codes) {
    done_[name].insert_or_assign(first, std::move(codes));
}

bool QuantizedWeights::has(const std::string& name, std::uint64_t row) const {
    const auto blocks = done_.find(name);
    return blocks != done_.end() && block_of(blocks->second, row) != blocks->second.end();
}

void QuantizedWeights::read_rows(const std::string& name, std::uint64_t first, reference::MatrixRef out) const {
    const auto known = done_.find(name);
    if (known == done_.end()) {
        return others_.read_rows(name, first, out);
    }
    const auto columns = static_cast<std::uint64_t>(out.cols());
    const auto rows = static_cast<std::uint64_t>(out.rows());
    std::vector<float> values;
    for (std::uint64_t done = 0; done < rows;) {
        const std::uint64_t row = first + done;
        const auto block = block_of(known->second, row);
        if (block == known->second.end()) {
            const auto next = known->second.upper_bound(row);
            const std::uint64_t count =
                next == known->second.end() ? rows - done : std::min(rows - done, next->first - row);
            others_.read_rows(
                name, row, out.middleRows(static_cast<reference::Index>(done), static_cast<reference::Index>(count)));
            done += count;
            continue;
        }
        const std::uint64_t count = std::min(rows - done, block->first + block->second.rows - row);
        values.resize(static_cast<std::size_t>(count * columns));
        quant::dequantize_codes(block->second, row - block->first, values);
        out.middleRows(static_cast<reference::Index>(done), static_cast<reference::Index>(count)) =
            Eigen::Map<const reference::Matrix>(values.data(), static_cast<reference::Index>(count), out.cols());
        done += count;
    }
}

}  // namespace deltavino::calibration
