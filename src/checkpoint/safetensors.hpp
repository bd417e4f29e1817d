// Reads the table of a safetensors file: which tensor has which type, shape and bytes.
//
// Source of truth: the format's reference implementation (huggingface/safetensors, `tensor.rs`): the
// same headers are accepted and refused. Nothing is allocated from a size that was not checked.
#pragma once

#include "base/file.hpp"
#include "quant/convert.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace deltavino::checkpoint {

enum class DType { Bool, U8, I8, U16, I16, U32, I32, U64, I64, F16, BF16, F32, F64, F8E4M3, F8E5M2, F8E8M0, F4 };

// The name as the format writes it, for example "BF16".
std::string_view dtype_name(DType dtype);
std::uint64_t dtype_bits(DType dtype);
// Whether the values are plain floats that the exporter can read: F16, BF16, F32.
bool is_plain_float(DType dtype);
// The same type as the quantizer names it; of plain floats only.
quant::SourceType source_type(DType dtype);

struct TensorInfo {
    std::string name;
    DType dtype = DType::F32;
    std::vector<std::uint64_t> shape;
    std::uint64_t offset = 0;  // of the first byte, from the start of the file
    std::uint64_t bytes = 0;
};

struct SafetensorsTable {
    std::vector<TensorInfo> tensors;  // in file order
    std::map<std::string, std::string> metadata;
};

// Throws ErrorKind::Input with the file and tensor at fault.
SafetensorsTable read_safetensors_table(const InputFile& file);

}  // namespace deltavino::checkpoint
