#include "checkpoint/safetensors.hpp"

#include "base/checked.hpp"
#include "base/error.hpp"
#include "json/document.hpp"
#include "json/reader.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace deltavino::checkpoint {
namespace {

struct DTypeRow {
    DType dtype;
    std::string_view name;
    std::uint64_t bits;
};

constexpr std::array kDTypes{
    DTypeRow{DType::Bool, "BOOL", 8},      DTypeRow{DType::U8, "U8", 8},          DTypeRow{DType::I8, "I8", 8},
    DTypeRow{DType::U16, "U16", 16},       DTypeRow{DType::I16, "I16", 16},       DTypeRow{DType::U32, "U32", 32},
    DTypeRow{DType::I32, "I32", 32},       DTypeRow{DType::U64, "U64", 64},       DTypeRow{DType::I64, "I64", 64},
    DTypeRow{DType::F16, "F16", 16},       DTypeRow{DType::BF16, "BF16", 16},     DTypeRow{DType::F32, "F32", 32},
    DTypeRow{DType::F64, "F64", 64},       DTypeRow{DType::F8E4M3, "F8_E4M3", 8}, DTypeRow{DType::F8E5M2, "F8_E5M2", 8},
    DTypeRow{DType::F8E8M0, "F8_E8M0", 8}, DTypeRow{DType::F4, "F4", 4},
};

const DTypeRow& row_of(DType dtype) {
    for (const DTypeRow& row : kDTypes) {
        if (row.dtype == dtype) {
            return row;
        }
    }
    fail(ErrorKind::Internal, "unknown tensor type {}", static_cast<int>(dtype));
}

// The limit of the reference implementation.
constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;

std::uint64_t require_unsigned(const Json& value, std::string_view what, const std::string& where) {
    if (!value.is_number_unsigned()) {
        fail(ErrorKind::Input, "{}: {} is {}, expected a non-negative whole number", where, what, shown(value));
    }
    return value.get<std::uint64_t>();
}

// One header entry; offsets in the result still count from the start of the data.
TensorInfo parse_entry(const std::string& name, const Json& entry, const std::string& file) {
    const std::string where = fmt::format("cannot read tensor '{}' in '{}'", name, file);
    if (!entry.is_object() || entry.size() != 3 || !entry.contains("dtype") || !entry.contains("shape") ||
        !entry.contains("data_offsets")) {
        fail(ErrorKind::Input, "{}: expected an object with dtype, shape and data_offsets", where);
    }
    TensorInfo info;
    info.name = name;
    const Json& dtype = entry["dtype"];
    const auto row = std::find_if(kDTypes.begin(), kDTypes.end(), [&](const DTypeRow& r) {
        return dtype.is_string() && dtype.get_ref<const std::string&>() == r.name;
    });
    if (row == kDTypes.end()) {
        fail(ErrorKind::Input, "{}: unknown dtype {}", where, shown(dtype));
    }
    info.dtype = row->dtype;
    if (!entry["shape"].is_array()) {
        fail(ErrorKind::Input, "{}: shape is {}, expected a list", where, shown(entry["shape"]));
    }
    std::uint64_t bits = row->bits;
    for (const Json& dim : entry["shape"]) {
        info.shape.push_back(require_unsigned(dim, "a dimension", where));
        if (!multiply_fits(bits, info.shape.back(), bits)) {
            fail(ErrorKind::Input, "{}: shape {} does not fit 64 bits", where, shape_text(info.shape));
        }
    }
    const Json& offsets = entry["data_offsets"];
    if (!offsets.is_array() || offsets.size() != 2) {
        fail(ErrorKind::Input, "{}: data_offsets is {}, expected two numbers", where, shown(offsets));
    }
    const std::uint64_t begin = require_unsigned(offsets[0], "a data offset", where);
    const std::uint64_t end = require_unsigned(offsets[1], "a data offset", where);
    if (end < begin || bits % 8 != 0 || end - begin != bits / 8) {
        fail(ErrorKind::Input, "{}: data_offsets [{}, {}] do not hold shape {} of {}", where, begin, end,
             shape_text(info.shape), row->name);
    }
    info.offset = begin;
    info.bytes = end - begin;
    return info;
}

std::map<std::string, std::string> parse_metadata(const Json& entry, const std::string& file) {
    if (!entry.is_object()) {
        fail(ErrorKind::Input, "cannot read '{}': __metadata__ is not an object", file);
    }
    std::map<std::string, std::string> metadata;
    for (const auto& [key, value] : entry.items()) {
        if (!value.is_string()) {
            fail(ErrorKind::Input, "cannot read '{}': __metadata__ '{}' is not a string", file, key);
        }
        metadata[key] = value.get<std::string>();
    }
    return metadata;
}

// The tensors must cover the data exactly: no hole, no overlap, no tail.
void check_coverage(const std::vector<TensorInfo>& tensors, std::uint64_t data_bytes, const std::string& file) {
    std::uint64_t position = 0;
    for (const TensorInfo& tensor : tensors) {
        if (tensor.offset != position) {
            fail(ErrorKind::Input, "cannot read '{}': tensor '{}' starts at data byte {}, expected {}", file,
                 tensor.name, tensor.offset, position);
        }
        position += tensor.bytes;  // end offsets were checked not to wrap
    }
    if (position != data_bytes) {
        fail(ErrorKind::Input,
             "cannot read '{}': its tensors need {} bytes of data, found {} (an incomplete download?)", file, position,
             data_bytes);
    }
}

}  // namespace

std::string_view dtype_name(DType dtype) {
    return row_of(dtype).name;
}

std::uint64_t dtype_bits(DType dtype) {
    return row_of(dtype).bits;
}

bool is_plain_float(DType dtype) {
    return dtype == DType::F16 || dtype == DType::BF16 || dtype == DType::F32;
}

quant::SourceType source_type(DType dtype) {
    switch (dtype) {
        case DType::F32: return quant::SourceType::F32;
        case DType::F16: return quant::SourceType::F16;
        case DType::BF16: return quant::SourceType::BF16;
        default: fail(ErrorKind::Internal, "{} is no plain float type", dtype_name(dtype));
    }
}

SafetensorsTable read_safetensors_table(const InputFile& file) {
    const std::string path = file.path().string();
    if (file.size() < 8) {
        fail(ErrorKind::Input, "cannot read '{}': it has {} bytes, a safetensors file has at least 8", path,
             file.size());
    }
    std::array<std::byte, 8> length_bytes{};
    file.read(0, length_bytes);
    std::uint64_t header_bytes = 0;
    for (int i = 7; i >= 0; --i) {
        header_bytes = header_bytes << 8 | std::to_integer<std::uint64_t>(length_bytes[static_cast<std::size_t>(i)]);
    }
    if (header_bytes > kMaxHeaderBytes || header_bytes > file.size() - 8) {
        fail(ErrorKind::Input,
             "cannot read '{}': its header would have {} bytes, the file has {} (not a safetensors file, a git-lfs "
             "pointer, or an incomplete download?)",
             path, header_bytes, file.size());
    }
    std::string header(static_cast<std::size_t>(header_bytes), '\0');
    file.read(8, std::as_writable_bytes(std::span(header)));
    SafetensorsTable table;
    const bool is_object = visit_members(header, path, [&](const std::string& name, Json& entry) {
        if (name == "__metadata__") {
            table.metadata = parse_metadata(entry, path);
        } else {
            table.tensors.push_back(parse_entry(name, entry, path));
        }
    });
    if (!is_object || header.front() != '{') {
        fail(ErrorKind::Input, "cannot read '{}': its header is not a JSON object", path);
    }
    std::sort(table.tensors.begin(), table.tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
        return std::pair(a.offset, a.offset + a.bytes) < std::pair(b.offset, b.offset + b.bytes);
    });
    check_coverage(table.tensors, file.size() - 8 - header_bytes, path);
    for (TensorInfo& tensor : table.tensors) {
        tensor.offset += 8 + header_bytes;
    }
    return table;
}

}  // namespace deltavino::checkpoint
