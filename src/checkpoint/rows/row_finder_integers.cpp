// Sources of truth: see quant/packed.cpp for the packings.
#include "checkpoint/rows/row_finder.hpp"

#include "base/checked.hpp"
#include "base/error.hpp"

#include <algorithm>
#include <cstring>

namespace deltavino::checkpoint {
namespace {

using quant::Packing;

}  // namespace

void RowFinder::set_group(std::uint64_t groups, const Tensor& scales) {
    const std::uint64_t columns = source_.columns;
    std::vector<std::uint64_t> sizes;
    const auto try_size = [&](std::uint64_t size) {
        if (size > 0 && divide_up(columns, size) == groups &&
            std::find(sizes.begin(), sizes.end(), size) == sizes.end()) {
            sizes.push_back(size);
        }
    };
    if (groups == 1) {
        sizes.push_back(columns);
    } else if (quantization_ && !quantization_->group_sizes.empty()) {
        std::for_each(quantization_->group_sizes.begin(), quantization_->group_sizes.end(), try_size);
    } else {
        for (std::uint64_t size = 16; size < columns; size *= 2) {
            try_size(size);
        }
    }
    if (sizes.size() == 1) {
        source_.group = sizes[0];
        return;
    }
    problem("tensor '{}' in '{}' has shape {}: {} scales for each row of {} columns {} the group_size of config.json",
            scales.info.name, file_of(scales), shape_text(scales.info.shape), groups, columns,
            sizes.empty() ? "do not fit" : "fit more than once");
}

void RowFinder::across() {
    const Tensor& codes = *take(module_ + ".qweight");
    if (!is_matrix(codes)) {
        return;
    }
    begin(codes, "packed");
    const Tensor* scales = take_required(module_ + ".scales", "scales");
    source_.zero_points = take_required(module_ + ".qzeros", "zero points");
    source_.scales = scales;
    source_.group_index = take(module_ + ".g_idx");
    if (!quantization_ || !quantization_->packing) {
        problem("tensor '{}' in '{}' is packed, and config.json has no quantization_config that says how",
                codes.info.name, file_of(codes));
        return;
    }
    source_.packing = *quantization_->packing;
    source_.zero_points_less_one = quantization_->zero_points_less_one;
    has_type(codes, {DType::I32});
    if (scales == nullptr || source_.zero_points == nullptr || !set_bits_across(codes)) {
        return;
    }
    has_type(*source_.zero_points, {DType::I32});
    has_type(*scales, {DType::F16, DType::BF16, DType::F32});
    if (scales->info.shape.size() != 2 || scales->info.shape[0] == 0 || scales->info.shape[1] != source_.rows) {
        problem("tensor '{}' in '{}' has shape {}, expected [groups, {}]", scales->info.name, file_of(*scales),
                shape_text(scales->info.shape), source_.rows);
        return;
    }
    const std::uint64_t groups = scales->info.shape[0];
    has_shape(*source_.zero_points, {groups, source_.rows / (32 / source_.bits)});
    set_group(groups, *scales);
    check_group_order(quantization_->desc_act);
}

bool RowFinder::set_bits_across(const Tensor& codes) {
    const bool gptq = source_.packing == Packing::Gptq;
    for (const unsigned bits : {4u, 8u}) {
        const std::uint64_t per_word = 32 / bits;
        const Shape expected =
            gptq ? Shape{source_.columns / per_word, source_.rows} : Shape{source_.columns, source_.rows / per_word};
        if (codes.info.shape != expected || source_.rows % per_word != 0 || (gptq && source_.columns % per_word != 0)) {
            continue;
        }
        if (!gptq && bits != 4) {
            refuse("'{}' is packed by AWQ in {} bits, read are 4", codes.info.name, bits);
            return false;
        }
        source_.bits = bits;
        return true;
    }
    problem("tensor '{}' in '{}' has shape {}, which does not hold '{}' {} in 4 or 8 bits", codes.info.name,
            file_of(codes), shape_text(codes.info.shape), name_, shape_text(shape_));
    return false;
}

void RowFinder::check_group_order(bool desc_act) {
    const Tensor* index = source_.group_index;
    if (index == nullptr) {
        if (desc_act) {
            refuse("'{}' has its columns in the order of activations (desc_act), which is not read",
                   source_.codes->info.name);
        }
        return;
    }
    if (!has_type(*index, {DType::I32}) || !has_shape(*index, {source_.columns}) || source_.group == 0) {
        return;
    }
    std::vector<std::int32_t> groups(static_cast<std::size_t>(source_.columns));
    index->file->read(index->info.offset, std::as_writable_bytes(std::span(groups)));
    if (std::all_of(groups.begin(), groups.end(), [](std::int32_t group) { return group == -1; })) {
        return;  // compressed-tensors: not set
    }
    const auto count = static_cast<std::int64_t>(divide_up(source_.columns, source_.group));
    bool ordered = true;
    for (std::uint64_t column = 0; column < source_.columns; ++column) {
        const std::int64_t group = groups[column];
        if (group < 0 || group >= count) {
            problem("tensor '{}' in '{}' puts column {} into group {}, there are {}", index->info.name, file_of(*index),
                    column, group, count);
            return;
        }
        ordered &= static_cast<std::uint64_t>(group) == column / source_.group;
    }
    if (!ordered) {
        refuse("'{}' has its columns in the order of activations ('{}', desc_act or actorder), which is not read",
               source_.codes->info.name, index->info.name);
    }
}

void RowFinder::scales_along(const Tensor& scales) {
    const Shape& found = scales.info.shape;
    has_type(scales, {DType::F16, DType::BF16, DType::F32});
    if (checked_product(found) == 1 && source_.rows > 1) {
        source_.one_scale = true;
        source_.group = source_.columns;
    } else if (found == Shape{source_.rows}) {
        source_.group = source_.columns;
    } else if (found.size() == 2 && found[0] == source_.rows && found[1] > 0) {
        set_group(found[1], scales);
    } else {
        problem("tensor '{}' in '{}' has shape {}, expected [{}, groups] or one number", scales.info.name,
                file_of(scales), shape_text(found), source_.rows);
    }
}

void RowFinder::zero_points_along() {
    const Tensor* zeros = take(module_ + ".weight_zero_point");
    if (zeros == nullptr || source_.group == 0) {
        return;
    }
    source_.zero_points = zeros;
    const std::uint64_t groups = divide_up(source_.columns, source_.group);
    source_.plain_zero_points = zeros->info.dtype == DType::I8;
    if (source_.packing == Packing::Bytes || source_.plain_zero_points) {
        has_type(*zeros, {DType::I8}) && has_shape(*zeros, {source_.rows, groups});
    } else {
        has_type(*zeros, {DType::I32}) && has_shape(*zeros, {divide_up(source_.rows, 32 / source_.bits), groups});
    }
}

void RowFinder::signed_bytes(const Tensor& codes) {
    lookup_.used.push_back(name_);
    if (!is_matrix(codes)) {
        return;
    }
    begin(codes, "compressed-tensors");
    source_.packing = Packing::Bytes;
    source_.bits = 8;
    source_.scales = take(name_ + "_scale");
    has_shape(codes, shape_);
    scales_along(*source_.scales);
    zero_points_along();
}

void RowFinder::packed_rows() {
    const Tensor& codes = *take(module_ + ".weight_packed");
    const Tensor* global = take(module_ + ".weight_global_scale");
    source_.shape = take(module_ + ".weight_shape");
    source_.group_index = take(module_ + ".weight_g_idx");
    if (global != nullptr || codes.info.dtype == DType::U8) {
        take(module_ + ".weight_scale");
        ignore_activation_scales();
        refuse("'{}' is stored as {}, which is not read", codes.info.name, global != nullptr ? "NVFP4" : "MXFP4");
        return;
    }
    if (!is_matrix(codes)) {
        return;
    }
    begin(codes, "compressed-tensors");
    source_.packing = Packing::Rows;
    source_.scales = take_required(module_ + ".weight_scale", "scales");
    has_type(codes, {DType::I32});
    for (const unsigned bits : {4u, 8u}) {
        if (codes.info.shape == Shape{source_.rows, divide_up(source_.columns, 32 / bits)}) {
            source_.bits = bits;
            break;
        }
    }
    if (source_.bits == 0) {
        problem("tensor '{}' in '{}' has shape {}, which does not hold '{}' {} in 4 or 8 bits", codes.info.name,
                file_of(codes), shape_text(codes.info.shape), name_, shape_text(shape_));
    }
    if (source_.scales == nullptr || source_.bits == 0) {
        return;
    }
    scales_along(*source_.scales);
    zero_points_along();
    check_weight_shape();
    check_group_order(false);
}

void RowFinder::check_weight_shape() {
    if (source_.shape == nullptr || !has_type(*source_.shape, {DType::I64, DType::I32}) ||
        !has_shape(*source_.shape, {2})) {
        return;
    }
    const std::size_t width = dtype_bits(source_.shape->info.dtype) / 8;
    std::vector<std::byte> bytes(2 * width);
    source_.shape->file->read(source_.shape->info.offset, bytes);
    Shape said(2, 0);
    std::memcpy(&said[0], bytes.data(), width);
    std::memcpy(&said[1], bytes.data() + width, width);
    if (said != shape_) {
        problem("tensor '{}' in '{}' says that the shape is {}, expected {}", source_.shape->info.name,
                file_of(*source_.shape), shape_text(said), shape_text(shape_));
    }
}

}  // namespace deltavino::checkpoint
