#include "graph/tensor_table.hpp"

#include "base/error.hpp"
#include "base/text.hpp"

#include <algorithm>

namespace deltavino::graph {
namespace {

// What a tensor that is not in the table most likely is.
std::string unexpected_hint(const std::string& name) {
    if (name.find("lora_") != std::string::npos) {
        return ": a LoRA leftover; merge the adapter into the model first";
    }
    for (const char* suffix : {".SCB", "_scale_inv", ".weight_scale", ".weight_packed", ".qweight", ".qzeros",
                               ".scales", ".input_scale", ".absmax", ".quant_state"}) {
        if (name.find(suffix) != std::string::npos) {
            return ": the checkpoint is quantized already; use the original one in bfloat16 or float16";
        }
    }
    if (name.find(".mlp.experts.") != std::string::npos) {
        return ": config.json has fewer experts or none (num_experts), or the layer stores its experts in two ways";
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
    index_[name] = rows_.size();
    rows_.push_back({std::move(name), std::move(shape), role});
}

void TensorTable::assemble(std::string name, std::vector<std::uint64_t> shape, Role role, std::vector<Part> parts) {
    std::string key = name;
    assemblies_[std::move(key)] = {std::move(name), std::move(shape), role, std::move(parts)};
}

void TensorTable::leave_out(std::string prefix, std::string why) {
    left_out_.emplace_back(std::move(prefix), std::move(why));
}

const TensorRow& TensorTable::require(const std::string& name) const {
    const auto found = index_.find(name);
    if (found == index_.end()) {
        fail(ErrorKind::Internal, "tensor '{}' is used but not in the model's table", name);
    }
    return rows_[found->second];
}

const Assembly* TensorTable::find_assembly(const std::string& name) const {
    const auto found = assemblies_.find(name);
    return found == assemblies_.end() ? nullptr : &found->second;
}

std::vector<TensorTable::LeftOut> TensorTable::check(const checkpoint::Checkpoint& checkpoint) const {
    Problems problems;
    std::vector<std::string> present;
    for (const auto& [name, tensor] : checkpoint.tensors()) {
        if (!index_.contains(name)) {
            present.push_back(name);
        }
    }
    for (const TensorRow& row : rows_) {
        const checkpoint::Tensor* tensor = checkpoint.find(row.name);
        if (tensor == nullptr) {
            const auto& absent = checkpoint.promised_but_absent();
            const bool promised = std::any_of(absent.begin(), absent.end(), [&](const std::string& name) {
                return checkpoint::canonical_name(name) == row.name;
            });
            const std::string near = closest(row.name, present);
            problems.add(fmt::format("tensor '{}' {} is missing{}{}", row.name, shape_text(row.shape),
                                     promised ? ": the index names a file that does not hold it" : "",
                                     near.empty() ? "" : fmt::format(" (the nearest other name is '{}')", near)));
            continue;
        }
        const checkpoint::TensorInfo& info = tensor->info;
        if (info.shape != row.shape) {
            problems.add(fmt::format("tensor '{}' in '{}' has shape {}, expected {}", info.name,
                                     tensor->file->path().filename().string(), shape_text(info.shape),
                                     shape_text(row.shape)));
        } else if (!checkpoint::is_plain_float(info.dtype)) {
            problems.add(
                fmt::format("tensor '{}' in '{}' has type {}, expected F32, F16 or BF16 (the checkpoint is quantized "
                            "already? use the original one)",
                            info.name, tensor->file->path().filename().string(), checkpoint::dtype_name(info.dtype)));
        }
    }
    std::vector<LeftOut> left_out(left_out_.size());
    for (const std::string& name : present) {
        const checkpoint::Tensor& tensor = checkpoint.require(name);
        const auto rule =
            std::find_if(left_out_.begin(), left_out_.end(), [&](const auto& r) { return name.starts_with(r.first); });
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
    std::erase_if(left_out, [](const LeftOut& entry) { return entry.tensors == 0; });
    return left_out;
}

}  // namespace deltavino::graph
