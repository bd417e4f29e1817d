#include "checkpoint/rows/row_finder.hpp"

#include "base/checked.hpp"
#include "base/error.hpp"

#include <algorithm>

namespace deltavino::checkpoint {
namespace {

bool is_float8(DType type) {
    return type == DType::F8E4M3 || type == DType::F8E5M2;
}

}  // namespace

std::string module_of(const std::string& name) {
    return name.ends_with(kWeightEnd) ? name.substr(0, name.size() - kWeightEnd.size()) : name;
}

std::string file_of(const Tensor& tensor) {
    return tensor.file->path().filename().string();
}

RowLookup RowFinder::find() {
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

const Tensor* RowFinder::take(const std::string& name) {
    const Tensor* tensor = checkpoint_.find(name);
    if (tensor != nullptr) {
        lookup_.used.push_back(name);
    }
    return tensor;
}

const Tensor* RowFinder::take_required(const std::string& name, std::string_view what) {
    const Tensor* tensor = take(name);
    if (tensor == nullptr) {
        problem("tensor '{}' is missing: without {} '{}' cannot be read", name, what, source_.codes->info.name);
    }
    return tensor;
}

void RowFinder::ignore_activation_scales() {
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

bool RowFinder::has_shape(const Tensor& tensor, const Shape& shape) {
    if (tensor.info.shape != shape) {
        problem("tensor '{}' in '{}' has shape {}, expected {}", tensor.info.name, file_of(tensor),
                shape_text(tensor.info.shape), shape_text(shape));
    }
    return tensor.info.shape == shape;
}

bool RowFinder::has_type(const Tensor& tensor, std::initializer_list<DType> types) {
    const bool found = std::find(types.begin(), types.end(), tensor.info.dtype) != types.end();
    if (!found) {
        std::vector<std::string_view> names;
        std::transform(types.begin(), types.end(), std::back_inserter(names), dtype_name);
        problem("tensor '{}' in '{}' has type {}, expected {}", tensor.info.name, file_of(tensor),
                dtype_name(tensor.info.dtype), fmt::join(names, ", "));
    }
    return found;
}

bool RowFinder::is_matrix(const Tensor& tensor) {
    if (shape_.size() != 2) {
        problem("tensor '{}' in '{}' is quantized, but '{}' {} is not a matrix", tensor.info.name, file_of(tensor),
                name_, shape_text(shape_));
    }
    return shape_.size() == 2;
}

void RowFinder::begin(const Tensor& codes, std::string_view method) {
    source_.method = quantization_ ? quantization_->method : method;
    source_.codes = &codes;
    source_.columns = shape_.back();
    source_.matrix_rows = shape_[shape_.size() - 2];
    source_.rows = checked_product(Shape(shape_.begin(), shape_.end() - 1));
    ignore_activation_scales();
}

void RowFinder::plain(const Tensor& tensor) {
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
        refuse("'{}' is {} with a scale '{}', which is not read (NVFP4?)", tensor.info.name, type, scale->info.name);
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

}  // namespace deltavino::checkpoint
