// Sources of truth: see quant/packed.cpp for the packings; transformers 5.2 `integrations/finegrained_fp8.py`
// and compressed-tensors 0.20 `quantization/lifecycle/forward.py` for the scales of 8-bit floats.
#include "checkpoint/rows/row_source.hpp"

#include "base/checked.hpp"
#include "base/error.hpp"

#include <algorithm>
#include <cstring>

namespace deltavino::checkpoint {
namespace {

using quant::Packing;
using Shape = std::vector<std::uint64_t>;

constexpr std::string_view kWeight = ".weight";

std::string module_of(const std::string& name) {
    return name.ends_with(kWeight) ? name.substr(0, name.size() - kWeight.size()) : name;
}

std::string file_of(const Tensor& tensor) {
    return tensor.file->path().filename().string();
}

// Collects the tensors of one weight and what is wrong with them.
class Finder {
public:
    Finder(const Checkpoint& checkpoint, const std::optional<Quantization>& quantization, const std::string& name,
           const Shape& shape)
        : checkpoint_(checkpoint), quantization_(quantization), name_(name), module_(module_of(name)), shape_(shape) {}

    RowLookup find() {
        const Tensor* tensor = checkpoint_.find(name_);
        if (tensor != nullptr && is_float8(tensor->info.dtype)) {
            float8(*tensor);
        } else if (tensor != nullptr && tensor->info.dtype == DType::I8 && checkpoint_.find(name_ + "_scale")) {
            signed_bytes(*tensor);
        } else if (tensor != nullptr) {
            plain(*tensor);
        } else if (checkpoint_.find(module_ + ".qweight") != nullptr) {
            across();
        } else if (checkpoint_.find(module_ + ".weight_packed") != nullptr) {
            packed_rows();
        } else if (checkpoint_.find(name_ + "_blocks") != nullptr) {
            lookup_.used = {name_ + "_blocks", name_ + "_scales"};
            refuse("'{}' is stored as MXFP4, which is not read", name_);
        }
        if (source_.codes != nullptr && lookup_.problems.empty() && lookup_.unsupported.empty()) {
            lookup_.source = std::make_shared<RowSource>(source_);
        }
        return std::move(lookup_);
    }

private:
    static bool is_float8(DType type) { return type == DType::F8E4M3 || type == DType::F8E5M2; }

    template <typename... Args>
    void problem(fmt::format_string<Args...> text, Args&&... args) {
        lookup_.problems.push_back(fmt::format(text, std::forward<Args>(args)...));
    }
    template <typename... Args>
    void refuse(fmt::format_string<Args...> text, Args&&... args) {
        lookup_.unsupported.push_back(fmt::format(text, std::forward<Args>(args)...));
    }

    const Tensor* take(const std::string& name) {
        const Tensor* tensor = checkpoint_.find(name);
        if (tensor != nullptr) {
            lookup_.used.push_back(name);
        }
        return tensor;
    }

    const Tensor* take_required(const std::string& name, std::string_view what) {
        const Tensor* tensor = take(name);
        if (tensor == nullptr) {
            problem("tensor '{}' is missing: without {} '{}' cannot be read", name, what, source_.codes->info.name);
        }
        return tensor;
    }

    void ignore_activation_scales() {
        for (const char* end : {".input_scale", ".activation_scale", ".input_zero_point", ".output_scale",
                                ".activation_scale_inv", ".input_global_scale"}) {
            if (checkpoint_.find(module_ + end) != nullptr) {
                lookup_.ignored.push_back(module_ + end);
            }
        }
        for (const char* end : {"_activation_scale", "_input_scale"}) {
            if (checkpoint_.find(name_ + end) != nullptr) {
                lookup_.ignored.push_back(name_ + end);
            }
        }
    }

    bool has_shape(const Tensor& tensor, const Shape& shape) {
        if (tensor.info.shape != shape) {
            problem("tensor '{}' in '{}' has shape {}, expected {}", tensor.info.name, file_of(tensor),
                    shape_text(tensor.info.shape), shape_text(shape));
        }
        return tensor.info.shape == shape;
    }

    bool has_type(const Tensor& tensor, std::initializer_list<DType> types) {
        const bool found = std::find(types.begin(), types.end(), tensor.info.dtype) != types.end();
        if (!found) {
            std::vector<std::string_view> names;
            std::transform(types.begin(), types.end(), std::back_inserter(names), dtype_name);
            problem("tensor '{}' in '{}' has type {}, expected {}", tensor.info.name, file_of(tensor),
                    dtype_name(tensor.info.dtype), fmt::join(names, ", "));
        }
        return found;
    }

    // Of [..., out, in].
    bool is_matrix(const Tensor& tensor) {
        if (shape_.size() != 2) {
            problem("tensor '{}' in '{}' is quantized, but '{}' {} is not a matrix", tensor.info.name, file_of(tensor),
                    name_, shape_text(shape_));
        }
        return shape_.size() == 2;
    }

    void begin(const Tensor& codes, std::string_view method) {
        source_.method = quantization_ ? quantization_->method : method;
        source_.codes = &codes;
        source_.columns = shape_.back();
        source_.matrix_rows = shape_[shape_.size() - 2];
        source_.rows = checked_product(Shape(shape_.begin(), shape_.end() - 1));
        ignore_activation_scales();
    }

    void plain(const Tensor& tensor) {
        lookup_.used.push_back(name_);
        lookup_.plain = &tensor;
        const Tensor* scale = nullptr;
        for (const char* end : {"_scale_inv", "_scale", "_scale_2"}) {
            const Tensor* found = take(name_ + end);
            scale = scale == nullptr ? found : scale;
        }
        const std::string_view type = dtype_name(tensor.info.dtype);
        if (scale != nullptr && is_plain_float(tensor.info.dtype)) {
            problem("tensor '{}' in '{}' is {} and has a scale '{}': were its codes widened without the scale?",
                    tensor.info.name, file_of(tensor), type, scale->info.name);
        } else if (scale != nullptr) {
            lookup_.plain = nullptr;
            ignore_activation_scales();
            refuse("'{}' is {} with a scale '{}', which is not read (NVFP4?)", tensor.info.name, type,
                   scale->info.name);
        }
        if (checkpoint_.find(name_ + ".absmax") != nullptr || checkpoint_.find(module_ + ".SCB") != nullptr) {
            lookup_.plain = nullptr;
            refuse("'{}' was quantized by bitsandbytes, which is not read", tensor.info.name);
            // What stands beside it is part of that, and no surplus.
            for (const char* name : {".SCB", ".weight_format"}) {
                lookup_.used.push_back(module_ + name);
            }
            const std::string inside = name_ + '.';
            const auto& tensors = checkpoint_.tensors();
            for (auto at = tensors.lower_bound(inside); at != tensors.end() && at->first.starts_with(inside); ++at) {
                lookup_.used.push_back(at->first);
            }
        }
    }

    void float8(const Tensor& tensor) {
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

    void set_blocks(std::uint64_t matrix_rows, std::uint64_t row_block, std::uint64_t column_block) {
        source_.matrix_rows = matrix_rows;
        source_.row_block = row_block;
        source_.column_block = column_block;
    }

    // What one scale covers, from the shape of the scales and from the sizes that config.json mentions.
    void float8_blocks(const Tensor& scales) {
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

    std::vector<std::array<std::uint64_t, 2>> block_sizes() const {
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

    // The columns of a group, from the number of groups in a row: by the sizes that config.json mentions, else
    // the power of two that fits.
    void set_group(std::uint64_t groups, const Tensor& scales) {
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
        problem(
            "tensor '{}' in '{}' has shape {}: {} scales for each row of {} columns {} the group_size of config.json",
            scales.info.name, file_of(scales), shape_text(scales.info.shape), groups, columns,
            sizes.empty() ? "do not fit" : "fit more than once");
    }

    // qweight, qzeros, scales: stored across, [in, out].
    void across() {
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

    // The bits follow from the sizes; whole words are needed in both directions.
    bool set_bits_across(const Tensor& codes) {
        const bool gptq = source_.packing == Packing::Gptq;
        for (const unsigned bits : {4u, 8u}) {
            const std::uint64_t per_word = 32 / bits;
            const Shape expected = gptq ? Shape{source_.columns / per_word, source_.rows}
                                        : Shape{source_.columns, source_.rows / per_word};
            if (codes.info.shape != expected || source_.rows % per_word != 0 ||
                (gptq && source_.columns % per_word != 0)) {
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

    void check_group_order(bool desc_act) {
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
                problem("tensor '{}' in '{}' puts column {} into group {}, there are {}", index->info.name,
                        file_of(*index), column, group, count);
                return;
            }
            ordered &= static_cast<std::uint64_t>(group) == column / source_.group;
        }
        if (!ordered) {
            refuse("'{}' has its columns in the order of activations ('{}', desc_act or actorder), which is not read",
                   source_.codes->info.name, index->info.name);
        }
    }

    // Scales [rows, groups] or one for all.
    void scales_along(const Tensor& scales) {
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

    void zero_points_along() {
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

    void signed_bytes(const Tensor& codes) {
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

    void packed_rows() {
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

    void check_weight_shape() {
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

    const Checkpoint& checkpoint_;
    const std::optional<Quantization>& quantization_;
    const std::string& name_;
    std::string module_;
    const Shape& shape_;
    RowSource source_;
    RowLookup lookup_;
};

}  // namespace

RowLookup find_rows(const Checkpoint& checkpoint, const std::optional<Quantization>& quantization,
                    const std::string& name, const std::vector<std::uint64_t>& shape) {
    return Finder(checkpoint, quantization, name, shape).find();
}

const Tensor* find_codes(const Checkpoint& checkpoint, const std::string& name) {
    for (const std::string& stored : {name, module_of(name) + ".qweight", module_of(name) + ".weight_packed"}) {
        if (const Tensor* tensor = checkpoint.find(stored)) {
            return tensor;
        }
    }
    return nullptr;
}

std::string stored_weight_name(const Checkpoint& checkpoint, const std::string& name) {
    const Tensor* codes = find_codes(checkpoint, name);
    const std::string stored = (codes != nullptr ? *codes : checkpoint.require(name)).published;
    for (const std::string_view end : {".qweight", ".weight_packed"}) {
        if (stored.ends_with(end)) {
            return stored.substr(0, stored.size() - end.size()).append(kWeight);
        }
    }
    return stored;
}

DType RowSource::float_type() const {
    return !float8 && scales->info.dtype == DType::F16 ? DType::F16 : DType::BF16;
}

std::uint64_t RowSource::bytes(std::uint64_t count) const {
    std::uint64_t total = codes->info.bytes;
    total += scales->info.bytes;
    total += zero_points != nullptr ? zero_points->info.bytes : 0;
    // The tables are in files, so their bytes together are far below 2^64 / rows only in sane checkpoints.
    return count >= rows ? total
                         : static_cast<std::uint64_t>(static_cast<double>(total) / static_cast<double>(rows) *
                                                      static_cast<double>(count));
}

std::uint64_t RowSource::row_alignment() const {
    return !float8 && (packing == Packing::Gptq || packing == Packing::Awq || zero_points != nullptr) ? 8 : 2;
}

std::string RowSource::text() const {
    if (float8) {
        const std::string_view type = *float8 == quant::Float8::E4M3 ? "e4m3" : "e5m2";
        const std::string scaled = row_block == 1 && column_block == columns ? "scaled by row"
                                   : row_block == matrix_rows && column_block == columns
                                       ? "with one scale"
                                       : fmt::format("in blocks of {} x {}", row_block, column_block);
        return fmt::format("{}{} {}", method == "fp8" ? "fp8 " : method + " fp8 ", type, scaled);
    }
    return group == columns ? fmt::format("{} {} bit per channel", method, bits)
                            : fmt::format("{} {} bit in groups of {}", method, bits, group);
}

}  // namespace deltavino::checkpoint
