#include "graph/weights.hpp"

#include "base/checked.hpp"
#include "base/error.hpp"
#include "base/file.hpp"

#include <algorithm>
#include <numeric>

namespace deltavino::graph {

Weights::Weights(const checkpoint::Checkpoint& checkpoint, const TensorTable& table, StoragePolicy policy)
    : checkpoint_(checkpoint), table_(table), policy_(std::move(policy)) {
    // No stored form is wider than float32, so one range serves as the stand-in bytes of every weight.
    std::uint64_t largest = 1;
    for (const TensorRow& row : table.rows()) {
        largest = std::max(largest, checked_multiply(checked_product(row.shape), sizeof(float)));
    }
    zero_range_ = reserve_zero_range(largest);
}

std::shared_ptr<ov::op::v0::Constant> Weights::placeholder(ov::element::Type type, const ov::Shape& shape) {
    return std::make_shared<ov::op::v0::Constant>(type, shape, zero_range_.get(), zero_range_);
}

Value Weights::matrix(const std::string& name) {
    const std::vector<std::uint64_t>& shape = table_.require(name).shape;
    return matrix(name, ov::Shape(shape.begin(), shape.end()));
}

Value Weights::matrix(const std::string& name, const ov::Shape& shape) {
    const auto made = made_.find(name);
    if (made != made_.end()) {
        return made->second;
    }
    const TensorRow& row = table_.require(name);
    const checkpoint::Tensor& tensor = checkpoint_.require(name);
    WeightJob job;
    job.name = tensor.info.name;
    job.role = row.role;
    job.rows = row.shape.empty() ? 1 : row.shape.front();
    job.columns = row.shape.empty() ? 1 : std::accumulate(row.shape.begin() + 1, row.shape.end(), std::uint64_t{1}, checked_multiply);
    job.sources = {RowSlice{&tensor, 0, job.rows}};
    job.storage = policy_(row, tensor.info.dtype);
    job.constant = placeholder(job.storage.type, shape);
    job.constant->set_friendly_name(tensor.info.name);

    Value value = job.constant->output(0);
    if (job.storage.type != ov::element::f32) {
        job.constant->set_friendly_name(tensor.info.name + "/stored");
        value = named(convert(value, ov::element::f32), tensor.info.name);
        decompressions_.insert(value.get_node());
    }
    jobs_.push_back(std::move(job));
    made_.emplace(name, value);
    return value;
}

std::vector<double> Weights::values(const std::string& name) const {
    table_.require(name);  // only what the table checked may be used
    const std::vector<float> stored = checkpoint_.read_floats(checkpoint_.require(name));
    return {stored.begin(), stored.end()};
}

std::string Weights::module_path(const std::string& name) const {
    std::string path = checkpoint_.require(name).info.name;
    if (path.ends_with(".weight")) {
        path.resize(path.size() - std::string_view(".weight").size());
    }
    return path;
}

std::unordered_set<const ov::Node*> Weights::streamed() const {
    std::unordered_set<const ov::Node*> nodes;
    for (const WeightJob& job : jobs_) {
        nodes.insert(job.constant.get());
    }
    return nodes;
}

Value Scope::linear(const Value& x, const std::string& module) const {
    const std::string name = module + ".weight";
    return named(matmul(x, matrix(name), false, true), path(name));
}

}  // namespace deltavino::graph
