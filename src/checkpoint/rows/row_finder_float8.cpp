// Sources of truth: transformers 5.2 `integrations/finegrained_fp8.py` and compressed-tensors 0.20
// `quantization/lifecycle/forward.py`.
#include "checkpoint/rows/row_finder.hpp"

#include "base/checked.hpp"
#include "base/error.hpp"

#include <algorithm>

namespace deltavino::checkpoint {
void RowFinder::float8(const Tensor& tensor) {
    lookup_.used.push_back(name_);
    if (shape_.size() < 2 || shape_.size() > 3) {
        problem("tensor '{}' in '{}' has type {}, expected F32, F16 or BF16", tensor.info.name, file_of(tensor),
                dtype_name(tensor.info.dtype));
        return;
    }
    begin(tensor, "fp8");
    source_.float8 = tensor.info.dtype == DType::F8E4M3 ? quant::Float8::E4M3 : quant::Float8::E5M2;
    has_shape(tensor, shape_);
    const Tensor* inverse = take(name_ + "_scale_inv");
    const Tensor* scale = take(name_ + "_scale");
    if (inverse != nullptr && scale != nullptr) {
        problem("tensor '{}' in '{}' has two scales, '{}' and '{}'", tensor.info.name, file_of(tensor),
                inverse->info.name, scale->info.name);
    } else if (inverse == nullptr && scale == nullptr) {
        problem("tensor '{}' in '{}' is {} and has no scale ('{}_scale_inv' or '{}_scale')", tensor.info.name,
                file_of(tensor), dtype_name(tensor.info.dtype), tensor.info.name, tensor.info.name);
    } else {
        source_.scales = inverse != nullptr ? inverse : scale;
        if (has_type(*source_.scales, {DType::F32, DType::BF16, DType::F16, DType::F8E8M0})) {
            float8_blocks(*source_.scales);
        }
    }
}

void RowFinder::set_blocks(std::uint64_t matrix_rows, std::uint64_t row_block, std::uint64_t column_block) {
    source_.matrix_rows = matrix_rows;
    source_.row_block = row_block;
    source_.column_block = column_block;
}

void RowFinder::float8_blocks(const Tensor& scales) {
    const Shape& found = scales.info.shape;
    const std::uint64_t rows = source_.matrix_rows;
    const std::uint64_t columns = source_.columns;
    const Shape lead(shape_.begin(), shape_.end() - 2);
    const auto with = [&](std::initializer_list<std::uint64_t> end) {
        Shape shape = lead;
        shape.insert(shape.end(), end);
        return shape;
    };
    if (checked_product(found) == 1) {
        set_blocks(source_.rows, source_.rows, columns);
        return;
    }
    if (!lead.empty() && (found == lead || found == with({1}) || found == with({1, 1}))) {
        set_blocks(rows, rows, columns);
        return;
    }
    if (found == with({rows}) || found == with({rows, 1})) {
        set_blocks(rows, 1, columns);
        return;
    }
    std::vector<std::array<std::uint64_t, 2>> sizes;
    std::vector<std::string> expected{"one number", shape_text(with({rows, 1}))};
    for (const auto& [a, b] : block_sizes()) {
        const Shape shape = with({divide_up(rows, a), divide_up(columns, b)});
        expected.push_back(fmt::format("{} (blocks of {} x {})", shape_text(shape), a, b));
        if (found == shape) {
            sizes.push_back({a, b});
        }
    }
    if (sizes.size() == 1) {
        set_blocks(rows, sizes[0][0], sizes[0][1]);
        return;
    }
    problem("tensor '{}' in '{}' has shape {}, expected {}{}", scales.info.name, file_of(scales), shape_text(found),
            fmt::join(expected, " or "),
            sizes.size() > 1        ? ": more than one block size fits"
            : block_sizes().empty() ? ": config.json names no block size (weight_block_size)"
                                    : "");
}

std::vector<std::array<std::uint64_t, 2>> RowFinder::block_sizes() const {
    std::vector<std::array<std::uint64_t, 2>> sizes;
    if (quantization_) {
        sizes = quantization_->block_sizes;
        for (const std::uint64_t group : quantization_->group_sizes) {
            if (group > 0) {
                sizes.push_back({1, group});
            }
        }
    }
    return sizes;
}

}  // namespace deltavino::checkpoint
