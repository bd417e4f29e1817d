#include "graph/tensor_table.hpp"

#include "base/error.hpp"
#include "base/text.hpp"

#include <algorithm>

namespace deltavino::graph {
namespace {

// What a tensor that is not in the table most likely is.
std::string unexpected_hint(const std::string& name) {
    if (name.find(".mlp.experts.") != std::string::npos) {
        return ": config.json has fewer experts or none (num_experts), or the layer stores its experts in two ways";
    }
    for (std::string_view head : {"score.", "classifier.", "v_head.", "value_head."}) {
        if (name.starts_with(head)) {
            return ": the head of a classifier or a reward model, which is not built";
        }
    }
    return {};
}

// What is wrong with the form of a tensor; empty when nothing is.
std::string form_problem(const checkpoint::Tensor& tensor, const TensorRow& row) {
    const checkpoint::TensorInfo& info = tensor.info;
    const std::string subject = fmt::format("tensor '{}' in '{}'", info.name, tensor.file->path().filename().string());
    if (info.shape != row.shape) {
        return fmt::format("{} has shape {}, expected {}{}", subject, shape_text(info.shape), shape_text(row.shape),
                           info.bytes == 0 ? " (saved under DeepSpeed ZeRO-3 without gathering the weights?)" : "");
    }
    if (!checkpoint::is_plain_float(info.dtype)) {
        return fmt::format("{} has type {}, expected F32, F16 or BF16", subject, checkpoint::dtype_name(info.dtype));
    }
    return {};
}

}  // namespace

std::string_view role_name(Role role) {
    switch (role) {
        case Role::Embedding: return "embedding";
        case Role::Head: return "head";
        case Role::AttentionProjection: return "attention projection";
        case Role::DeltaProjection: return "delta projection";
        case Role::DecayProjection: return "decay projection";
        case Role::FeedForward: return "feed-forward";
        case Role::Router: return "router";
        case Role::Expert: return "expert";
        case Role::SharedExpert: return "shared expert";
        case Role::SharedExpertGate: return "shared expert gate";
        case Role::Convolution: return "convolution";
        case Role::Vector: return "vector";
        case Role::VisionProjection: return "vision projection";
        case Role::VisionTable: return "vision positions";
    }
    return "tensor";
}

void TensorTable::add(std::string name, std::vector<std::uint64_t> shape, Role role) {
    if (!index_.emplace(name, rows_.size()).second || assemblies_.contains(name)) {
        fail(ErrorKind::Internal, "tensor '{}' is in the model's table twice", name);
    }
    rows_.push_back({std::move(name), std::move(shape), role});
    used_.push_back(false);
}

void TensorTable::assemble(std::string name, std::vector<std::uint64_t> shape, Role role, std::vector<Part> parts) {
    if (index_.contains(name) || assemblies_.contains(name)) {
        fail(ErrorKind::Internal, "tensor '{}' is in the model's table twice", name);
    }
    std::string key = name;
    assemblies_[std::move(key)] = {std::move(name), std::move(shape), role, std::move(parts)};
}

void TensorTable::leave_out(std::string pattern, std::string why) {
    left_out_.emplace_back(std::move(pattern), std::move(why));
}

const TensorRow& TensorTable::require(const std::string& name) const {
    const auto found = index_.find(name);
    if (found == index_.end()) {
        fail(ErrorKind::Internal, "tensor '{}' is used but not in the model's table", name);
    }
    used_[found->second] = true;
    return rows_[found->second];
}

void TensorTable::check_all_used() const {
    Problems problems;
    for (std::size_t i = 0; i < rows_.size(); ++i) {
        if (!used_[i]) {
            problems.add(fmt::format("tensor '{}' is in the model's table and nothing reads it", rows_[i].name));
        }
    }
    problems.throw_if_any(ErrorKind::Internal, "the model does not use all of its tensors");
}

const Assembly* TensorTable::find_assembly(const std::string& name) const {
    const auto found = assemblies_.find(name);
    return found == assemblies_.end() ? nullptr : &found->second;
}

std::string TensorTable::missing_problem(const TensorRow& row, const checkpoint::Checkpoint& checkpoint,
                                         const std::vector<std::string>& others) const {
    // A comparison with very many names takes long and helps nobody.
    constexpr std::size_t kFew = 2000;
    const std::string near = others.size() <= kFew ? closest(row.name, others) : std::string();
    return fmt::format(
        "tensor '{}' {} is missing{}{}", row.name, shape_text(row.shape),
        checkpoint.promised_but_absent().contains(row.name) ? ": the index names a file that does not hold it" : "",
        near.empty() ? "" : fmt::format(" (the nearest other name is '{}')", near));
}

std::vector<TensorTable::LeftOut> TensorTable::check(const checkpoint::Checkpoint& checkpoint) const {
    Problems problems;
    std::vector<std::string> others;
    for (const auto& [name, tensor] : checkpoint.tensors()) {
        if (!index_.contains(name)) {
            others.push_back(name);
        }
    }
    constexpr std::size_t kShown = 10;  // the rest is only counted
    const std::vector<std::string> none;
    for (const TensorRow& row : rows_) {
        const checkpoint::Tensor* tensor = checkpoint.find(row.name);
        if (tensor == nullptr) {
            problems.add(missing_problem(row, checkpoint, problems.size() < kShown ? others : none));
        } else if (std::string problem = form_problem(*tensor, row); !problem.empty()) {
            problems.add(std::move(problem));
        }
    }
    std::vector<LeftOut> left_out(left_out_.size());
    for (const std::string& name : others) {
        const checkpoint::Tensor& tensor = checkpoint.require(name);
        const auto rule = std::find_if(left_out_.begin(), left_out_.end(),
                                       [&](const auto& r) { return glob_matches(r.first, name); });
        if (rule == left_out_.end()) {
            problems.add(fmt::format("tensor '{}' {} in '{}' is unexpected{}", tensor.info.name,
                                     shape_text(tensor.info.shape), tensor.file->path().filename().string(),
                                     unexpected_hint(name)));
            continue;
        }
        LeftOut& entry = left_out[static_cast<std::size_t>(rule - left_out_.begin())];
        entry.why = rule->second;
        entry.tensors += 1;
        entry.bytes += tensor.info.bytes;
    }
    problems.throw_if_any(ErrorKind::Input, fmt::format("cannot use the tensors of '{}' ({} tensors in {} files)",
                                                        checkpoint.directory().string(), checkpoint.tensors().size(),
                                                        checkpoint.shard_count()));
    if (const std::size_t absent = checkpoint.promised_but_absent().size(); absent > 0) {
        left_out.push_back({"what the index lists and no file holds", absent, 0});
    }
    std::erase_if(left_out, [](const LeftOut& entry) { return entry.tensors == 0; });
    return left_out;
}

}  // namespace deltavino::graph
