// Weights in the graph: each becomes one or more constants plus the operations that widen them to
// float32. The bytes of the large ones are not read here; a WeightJob says how to make them later.
#pragma once

#include "checkpoint/checkpoint.hpp"
#include "checkpoint/rows/row_reader.hpp"
#include "graph/ops.hpp"
#include "graph/tensor_table.hpp"
#include "quant/scheme.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_set>
#include <vector>

namespace deltavino::graph {

// Some rows of a tensor that is seen as [rows, columns]; of a quantized weight when `source` is set, which then
// says how they come to be.
struct RowSlice {
    const checkpoint::Tensor* tensor = nullptr;  // of a quantized weight: its codes
    std::uint64_t first_row = 0;
    std::uint64_t rows = 0;
    std::shared_ptr<const checkpoint::RowSource> source = {};

    // The codes are of one weight only, so the source need not be compared.
    bool operator==(const RowSlice& other) const {
        return tensor == other.tensor && first_row == other.first_row && rows == other.rows;
    }
    checkpoint::DType type() const;                        // of the floats
    std::uint64_t row_bytes(std::uint64_t columns) const;  // of a plain tensor
    std::uint64_t bytes(std::uint64_t columns) const;      // that are read for all rows
    // Whether the values are the tensor's own, not those that codes stand for or to which an adapter adds.
    bool is_plain() const { return !source && tensor->added == nullptr; }
    // Reads rows of the tensor, for their floats.
    void load(checkpoint::RowReader& reader, std::uint64_t columns, std::uint64_t first, std::uint64_t count) const;
};

// The plain float types F32, F16 and BF16 as OpenVINO names them.
ov::element::Type element_type(checkpoint::DType dtype);

// How a weight is kept in the file.
struct Storage {
    ov::element::Type type = ov::element::f32;  // f32, f16 or bf16, when there is no scheme
    std::optional<quant::Scheme> scheme;        // compressed
    std::string reason;                         // for the report
    bool imported = false;                      // the scheme is that of the checkpoint: its codes are kept

    // "bf16", "u4 in groups of 128"
    std::string text() const;
};

// One weight to be streamed: the rows of `sources`, in order, seen as [rows, columns] and stored as
// `storage` says, become the bytes of the constants.
struct WeightJob {
    std::string name;  // as the checkpoint spells it, when it is one tensor
    std::string canonical_name;
    Role role = Role::Vector;
    std::uint64_t rows = 0;
    std::uint64_t columns = 0;
    std::vector<RowSlice> sources;
    Storage storage;
    std::shared_ptr<ov::op::v0::Constant> values;
    std::shared_ptr<ov::op::v0::Constant> zero_points;  // null without
    std::shared_ptr<ov::op::v0::Constant> scales;       // null when not compressed

    std::uint64_t stored_bytes() const;
    // Whether the bytes of the constants are the same: sources, shape and storage are.
    bool makes_same_bytes(const WeightJob& other) const;
};

// What a quantized weight is in the checkpoint.
struct QuantizedOrigin {
    std::string text;  // "gptq 4 bit in groups of 128", with "..." for parts that differ
    // In which its codes and scales can be kept; none for 8-bit floats and for what OpenVINO has no form of.
    std::optional<quant::Scheme> scheme;
    // Scales that are rounded to float16 when they are kept, of how many, and the largest change.
    std::uint64_t inexact_scales = 0;
    std::uint64_t scales = 0;
    double largest_change = 0.0;
};

// What a storage policy decides from.
struct WeightRequest {
    std::string name;  // canonical
    Role role = Role::Vector;
    std::uint64_t rows = 0;
    std::uint64_t columns = 0;
    checkpoint::DType stored = checkpoint::DType::F32;  // the type in the checkpoint, or of what it becomes
    std::optional<QuantizedOrigin> origin = {};         // of a weight that is quantized in the checkpoint
};

using StoragePolicy = std::function<Storage(const WeightRequest& request)>;

class Weights {
public:
    Weights(const checkpoint::Checkpoint& checkpoint, const TensorTable& table, StoragePolicy policy);

    // A tensor or an assembly of the table as a float32 value of its own shape.
    Value matrix(const std::string& name);
    // The values of a tensor under another shape, for example a convolution kernel.
    Value matrix(const std::string& name, const ov::Shape& shape);
    // Values of a small tensor, for folding on the spot. Throws ErrorKind::Input for NaN or infinity.
    std::vector<double> values(const std::string& name);
    // 'model.language_model.layers.0.mlp.up_proj': the module path as the checkpoint spells it, or would
    // spell it for an assembly.
    std::string module_path(const std::string& name) const;

    const std::vector<WeightJob>& jobs() const { return jobs_; }
    // What values() was asked for: canonical names, each once.
    const std::set<std::string>& folded() const { return folded_; }
    std::unordered_set<const ov::Node*> streamed() const;
    const std::unordered_set<const ov::Node*>& decompressions() const { return decompressions_; }
    const TensorTable& table() const { return table_; }

private:
    // The last dimension of `shape` is the number of columns.
    Value assembled(const std::string& name, Role role, const ov::Shape& shape, const std::vector<Part>& parts);
    RowSlice slice_of(const Part& part, std::uint64_t columns);
    std::string stored_name(const std::string& name) const;
    std::shared_ptr<ov::op::v0::Constant> placeholder(ov::element::Type type, const ov::Shape& shape,
                                                      const std::string& name);
    Value plain(WeightJob& job, const ov::Shape& shape);
    Value compressed(WeightJob& job, const ov::Shape& shape);

    const checkpoint::Checkpoint& checkpoint_;
    const TensorTable& table_;
    StoragePolicy policy_;
    std::vector<WeightJob> jobs_;
    std::set<std::string> folded_;
    std::map<std::string, Value> made_;  // a tied weight is one set of nodes
    std::unordered_set<const ov::Node*> decompressions_;
    std::shared_ptr<void> zero_range_;
    std::map<std::string, std::shared_ptr<const checkpoint::RowSource>> sources_;  // of quantized weights, by name
};

// The weights below one module, by their short names.
class Scope {
public:
    Scope(Weights& weights, std::string prefix) : weights_(&weights), prefix_(std::move(prefix)) {}

    Scope operator/(const std::string& child) const { return {*weights_, prefix_ + child + "."}; }
    Value matrix(const std::string& name) const { return weights_->matrix(prefix_ + name); }
    Value matrix(const std::string& name, const ov::Shape& shape) const {
        return weights_->matrix(prefix_ + name, shape);
    }
    std::vector<double> values(const std::string& name) const { return weights_->values(prefix_ + name); }
    std::string path(const std::string& name) const { return weights_->module_path(prefix_ + name); }

    // y = x W^T, named after the module.
    Value linear(const Value& x, const std::string& module) const;

private:
    Weights* weights_;
    std::string prefix_;
};

}  // namespace deltavino::graph
