#include "checkpoint/rows/row_source.hpp"

#include "base/error.hpp"
#include "checkpoint/rows/row_finder.hpp"

namespace deltavino::checkpoint {

RowLookup find_rows(const Checkpoint& checkpoint, const std::optional<Quantization>& quantization,
                    const std::string& name, const std::vector<std::uint64_t>& shape) {
    return RowFinder(checkpoint, quantization, name, shape).find();
}

std::vector<std::string> stored_forms(const std::string& name) {
    return {name, module_of(name) + ".qweight", module_of(name) + ".weight_packed"};
}

const Tensor* find_codes(const Checkpoint& checkpoint, const std::string& name) {
    for (const std::string& stored : stored_forms(name)) {
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
            return stored.substr(0, stored.size() - end.size()).append(kWeightEnd);
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

bool RowSource::stored_across() const {
    return !float8 && (packing == quant::Packing::Gptq || packing == quant::Packing::Awq);
}

std::uint64_t RowSource::row_alignment() const {
    return stored_across() || (!float8 && zero_points != nullptr) ? 8 : 2;
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
