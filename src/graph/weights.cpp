// Compressed weights use the chain that nncf writes, the only one whose consumers were all checked:
// low-bit constant -> Convert f16 -> [Subtract zero point] -> Multiply scale -> [Reshape] -> Convert f32.
#include "graph/weights.hpp"

#include "base/checked.hpp"
#include "base/error.hpp"
#include "base/file.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace deltavino::graph {
namespace {

ov::element::Type element_type(quant::Format format) {
    switch (format) {
        case quant::Format::U8: return ov::element::u8;
        case quant::Format::I8: return ov::element::i8;
        case quant::Format::U4: return ov::element::u4;
        case quant::Format::I4: return ov::element::i4;
        case quant::Format::NF4: return ov::element::nf4;
        case quant::Format::MXFP4: return ov::element::f4e2m1;
    }
    fail(ErrorKind::Internal, "unknown weight format {}", static_cast<int>(format));
}

ov::element::Type scale_type(quant::Format format) {
    return quant::traits(format).scale_type == quant::ScaleType::F8E8M0 ? ov::element::f8e8m0 : ov::element::f16;
}

Ints to_ints(const ov::Shape& shape) {
    return {shape.begin(), shape.end()};
}

// Whether 4-bit zero points of some part would begin in the middle of a byte.
bool splits_bytes(const quant::Scheme& scheme, const WeightJob& job) {
    return scheme.format == quant::Format::U4 && quant::groups_per_row(scheme, job.columns) % 2 == 1 &&
           std::any_of(job.sources.begin(), job.sources.end() - 1,
                       [](const RowSlice& slice) { return slice.rows % 2 == 1; });
}

// What the parts of a weight have in common; nothing when all are plain.
std::optional<QuantizedOrigin> origin_of(const WeightJob& job) {
    const RowSlice& first = job.sources.front();
    if (std::none_of(job.sources.begin(), job.sources.end(), [](const RowSlice& slice) { return slice.source; })) {
        return std::nullopt;
    }
    const auto like_first = [&](const RowSlice& slice) {
        return slice.source && first.source && slice.source->text() == first.source->text();
    };
    QuantizedOrigin origin;
    if (!std::all_of(job.sources.begin(), job.sources.end(), like_first)) {
        origin.text = "parts that are quantized in different ways";
        return origin;
    }
    const checkpoint::RowSource& source = *first.source;
    origin.text = source.text();
    const bool merged = std::any_of(job.sources.begin(), job.sources.end(),
                                    [](const RowSlice& slice) { return slice.tensor->added != nullptr; });
    if (merged) {
        origin.text += ", with an adapter merged in";
    }
    if (source.float8 || merged) {
        return origin;  // no codes of the checkpoint hold the sum
    }
    bool symmetric = true;
    bool overflow = false;
    std::unordered_set<const checkpoint::RowSource*> seen;
    for (const RowSlice& slice : job.sources) {
        if (!seen.insert(slice.source.get()).second) {
            continue;
        }
        const checkpoint::CodeFacts facts = checkpoint::inspect_codes(*slice.source);
        symmetric &= facts.symmetric;
        overflow |= facts.scales_overflow;
        origin.scales += facts.scales;
        origin.inexact_scales += facts.inexact_scales;
        origin.largest_change = std::max(origin.largest_change, facts.largest_change);
    }
    const quant::Format format = source.bits == 4 ? (symmetric ? quant::Format::I4 : quant::Format::U4)
                                                  : (symmetric ? quant::Format::I8 : quant::Format::U8);
    const quant::Scheme scheme{format, source.group == source.columns ? 0 : source.group};
    if (!overflow && quant::why_unfit(scheme, job.columns).empty() && !splits_bytes(scheme, job)) {
        origin.scheme = scheme;
    }
    return origin;
}

}  // namespace

checkpoint::DType RowSlice::type() const {
    return source ? source->float_type() : tensor->info.dtype;
}

std::uint64_t RowSlice::row_bytes(std::uint64_t columns) const {
    return checked_multiply(columns, checkpoint::dtype_bits(tensor->info.dtype)) / 8;
}

std::uint64_t RowSlice::bytes(std::uint64_t columns) const {
    return source ? source->bytes(rows) : checked_multiply(rows, row_bytes(columns));
}

void RowSlice::load(checkpoint::RowReader& reader, std::uint64_t columns, std::uint64_t first,
                    std::uint64_t count) const {
    source ? reader.load(*source, first, count) : reader.load(*tensor, columns, first, count);
}

ov::element::Type element_type(checkpoint::DType dtype) {
    return dtype == checkpoint::DType::F32   ? ov::element::f32
           : dtype == checkpoint::DType::F16 ? ov::element::f16
                                             : ov::element::bf16;
}

std::string Storage::text() const {
    return scheme ? quant::scheme_text(*scheme) : type.get_type_name();
}

std::uint64_t WeightJob::stored_bytes() const {
    std::uint64_t bytes = values->get_byte_size();
    bytes += zero_points ? zero_points->get_byte_size() : 0;
    return bytes + (scales ? scales->get_byte_size() : 0);
}

bool WeightJob::makes_same_bytes(const WeightJob& other) const {
    return rows == other.rows && columns == other.columns && sources == other.sources &&
           storage.type == other.storage.type && storage.scheme == other.storage.scheme;
}

Weights::Weights(const checkpoint::Checkpoint& checkpoint, const TensorTable& table, StoragePolicy policy)
    : checkpoint_(checkpoint), table_(table), policy_(std::move(policy)) {
    // No stored form is wider than float32 and no constant larger than all tensors together, so one
    // range serves as the stand-in bytes of every weight. It takes address space only.
    std::uint64_t values = 1;
    for (const TensorRow& row : table.rows()) {
        values = checked_add(values, checked_product(row.shape));
    }
    zero_range_ = reserve_zero_range(checked_multiply(values, sizeof(float)));
}

std::shared_ptr<ov::op::v0::Constant> Weights::placeholder(ov::element::Type type, const ov::Shape& shape,
                                                           const std::string& name) {
    auto constant = std::make_shared<ov::op::v0::Constant>(type, shape, zero_range_.get(), zero_range_);
    constant->set_friendly_name(name);
    return constant;
}

Value Weights::matrix(const std::string& name) {
    if (const Assembly* assembly = table_.find_assembly(name)) {
        return assembled(name, assembly->role, ov::Shape(assembly->shape.begin(), assembly->shape.end()),
                         assembly->parts);
    }
    const std::vector<std::uint64_t>& shape = table_.require(name).shape;
    return matrix(name, ov::Shape(shape.begin(), shape.end()));
}

Value Weights::matrix(const std::string& name, const ov::Shape& shape) {
    const TensorRow& row = table_.require(name);
    return assembled(name, row.role, shape, {Part{name, 0, checked_product(row.shape) / shape.back()}});
}

Value Weights::assembled(const std::string& name, Role role, const ov::Shape& shape, const std::vector<Part>& parts) {
    const auto made = made_.find(name);
    if (made != made_.end()) {
        return made->second;
    }
    WeightJob job;
    job.name = stored_name(name);
    job.canonical_name = name;
    job.role = role;
    job.columns = shape.back();
    for (const Part& part : parts) {
        job.sources.push_back(slice_of(part, job.columns));
        job.rows += part.rows;
    }
    if (job.rows * job.columns != ov::shape_size(shape)) {
        fail(ErrorKind::Internal, "weight '{}' has {} rows of {}, its shape says otherwise", name, job.rows,
             job.columns);
    }
    const checkpoint::DType first = job.sources.front().type();
    const bool alike = std::all_of(job.sources.begin(), job.sources.end(),
                                   [&](const RowSlice& slice) { return slice.type() == first; });
    job.storage = policy_({name, role, job.rows, job.columns, alike ? first : checkpoint::DType::F32, origin_of(job)});
    const Value value = job.storage.scheme ? compressed(job, shape) : plain(job, shape);
    jobs_.push_back(std::move(job));
    made_.emplace(name, value);
    return value;
}

RowSlice Weights::slice_of(const Part& part, std::uint64_t columns) {
    const TensorRow& row = table_.require(part.name);
    const checkpoint::Tensor* tensor = checkpoint::find_codes(checkpoint_, part.name);
    if (tensor != nullptr && tensor->added != nullptr && tensor->added->columns != columns) {
        fail(ErrorKind::Unsupported, "cannot merge '{}' into '{}': the model reads it as rows of {}",
             tensor->added->a.name, part.name, columns);
    }
    if (tensor != nullptr && checkpoint::is_plain_float(tensor->info.dtype)) {
        return {tensor, part.first_row, part.rows, nullptr};
    }
    std::shared_ptr<const checkpoint::RowSource>& source = sources_[part.name];
    if (!source) {
        source = checkpoint::find_rows(checkpoint_, table_.quantization(), row.name, row.shape).source;
    }
    if (!source || source->columns != columns) {
        fail(ErrorKind::Unsupported, "cannot read '{}' in '{}' as rows of {}: it is quantized", part.name,
             checkpoint_.directory().string(), columns);
    }
    return {source->codes, part.first_row, part.rows, source};
}

Value Weights::plain(WeightJob& job, const ov::Shape& shape) {
    if (job.storage.type == ov::element::f32) {
        job.values = placeholder(ov::element::f32, shape, job.name);
        return job.values->output(0);
    }
    job.values = placeholder(job.storage.type, shape, job.name + "/stored");
    const Value value = named(convert(job.values, ov::element::f32), job.name);
    decompressions_.insert(value.get_node());
    return value;
}

// shape [..., K]; per channel: values [..., K], scales [..., 1]; in groups: values [..., G, g], scales [..., G, 1].
Value Weights::compressed(WeightJob& job, const ov::Shape& shape) {
    const quant::Scheme& scheme = *job.storage.scheme;
    const std::string unfit = quant::why_unfit(scheme, job.columns);
    if (!unfit.empty()) {
        fail(ErrorKind::Internal, "cannot store '{}' as {}: {}", job.name, quant::scheme_text(scheme), unfit);
    }
    const std::uint64_t groups = quant::groups_per_row(scheme, job.columns);
    if (splits_bytes(scheme, job)) {
        fail(ErrorKind::Unsupported,
             "cannot store '{}' as {}: its parts have an odd number of rows; a symmetric format works", job.name,
             quant::scheme_text(scheme));
    }
    ov::Shape stored = shape;
    ov::Shape per_group = shape;
    per_group.back() = 1;
    if (scheme.group_size != 0) {
        stored.back() = groups;
        stored.push_back(scheme.group_size);
        per_group.back() = groups;
        per_group.push_back(1);
    }
    job.values = placeholder(element_type(scheme.format), stored, job.name);
    Value value = convert(job.values, ov::element::f16);
    if (quant::traits(scheme.format).zero_point) {
        job.zero_points = placeholder(element_type(scheme.format), per_group, job.name + "/zero_point");
        value = named(subtract(value, convert(job.zero_points, ov::element::f16)), job.name + "/zero_point/subtract");
    }
    job.scales = placeholder(scale_type(scheme.format), per_group, job.name + "/scale");
    const Value scale = job.scales->get_element_type() == ov::element::f16 ? job.scales->output(0)
                                                                           : convert(job.scales, ov::element::f16);
    value = named(multiply(value, scale), job.name + "/fq_weights_1");
    if (scheme.group_size != 0) {
        value = reshape_to(value, ints(to_ints(shape)));
    }
    return named(convert(value, ov::element::f32), job.name + "/fq_weights_1/convert");
}

std::vector<double> Weights::values(const std::string& name) {
    table_.require(name);  // only what the table checked may be used
    folded_.insert(name);
    const checkpoint::Tensor& tensor = checkpoint_.require(name);
    if (tensor.added != nullptr) {
        fail(ErrorKind::Unsupported, "cannot merge '{}' into '{}': the model holds its values as constants",
             tensor.added->a.name, name);
    }
    const std::vector<float> stored = checkpoint_.read_floats(tensor);
    if (!std::all_of(stored.begin(), stored.end(), [](float value) { return std::isfinite(value); })) {
        fail(ErrorKind::Input, "cannot use tensor '{}' in '{}': it holds NaN or infinity", tensor.info.name,
             tensor.file->path().string());
    }
    return {stored.begin(), stored.end()};
}

// The published name of a tensor; for an assembly, that of its first part with the assembly's own end.
std::string Weights::stored_name(const std::string& name) const {
    const Assembly* assembly = table_.find_assembly(name);
    if (assembly == nullptr) {
        return checkpoint::stored_weight_name(checkpoint_, name);
    }
    const std::string& part = assembly->parts.front().name;
    const auto differ = std::mismatch(part.begin(), part.end(), name.begin(), name.end());
    const std::size_t end = static_cast<std::size_t>(part.end() - differ.first);
    std::string stored = checkpoint::stored_weight_name(checkpoint_, part);
    if (stored.size() < end) {
        fail(ErrorKind::Internal, "weight '{}' has no name in common with its part '{}'", name, stored);
    }
    stored.resize(stored.size() - end);
    return stored.append(differ.second, name.end());
}

std::string Weights::module_path(const std::string& name) const {
    std::string path = stored_name(name);
    if (path.ends_with(".weight")) {
        path.resize(path.size() - std::string_view(".weight").size());
    }
    return path;
}

std::unordered_set<const ov::Node*> Weights::streamed() const {
    std::unordered_set<const ov::Node*> nodes;
    for (const WeightJob& job : jobs_) {
        nodes.insert({job.values.get(), job.zero_points.get(), job.scales.get()});
    }
    nodes.erase(nullptr);
    return nodes;
}

Value Scope::linear(const Value& x, const std::string& module) const {
    const std::string name = module + ".weight";
    return named(matmul(x, matrix(name), false, true), path(name));
}

}  // namespace deltavino::graph
