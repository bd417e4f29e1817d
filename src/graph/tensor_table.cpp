#include "graph/tensor_table.hpp"

#include "base/error.hpp"
#include "base/text.hpp"

#include <algorithm>
#include <set>

namespace deltavino::graph {
namespace {

// What a tensor that is not in the table most likely is.
std::string unexpected_hint(const std::string& name) {
    for (const char* suffix : {".SCB", ".absmax", ".quant_map", ".quant_state"}) {
        if (name.find(suffix) != std::string::npos) {
            return ": the checkpoint was quantized by bitsandbytes; use the original one in bfloat16 or float16";
        }
    }
    for (const char* suffix : {"_scale_inv", "_scale", "_scale_2", ".weight_packed", ".weight_shape",
                               ".weight_zero_point", "g_idx", ".qweight", ".qzeros", ".scales"}) {
        if (name.ends_with(suffix)) {
            return ": no quantized weight of the model uses it";
        }
    }
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

// Scales of the key-value cache: OpenVINO chooses its own.
bool is_cache_scale(const std::string& name) {
    const std::size_t attention = name.find(".self_attn.");
    return attention != std::string::npos &&
           (name.ends_with(".k_scale") || name.ends_with(".v_scale") || name.ends_with(".q_scale") ||
            name.ends_with(".prob_scale") || name.ends_with(".kv_scale"));
}

// Whether a quantizer would take it unless told otherwise.
bool is_projection(Role role) {
    return role == Role::AttentionProjection || role == Role::DeltaProjection || role == Role::FeedForward ||
           role == Role::DraftProjection || role == Role::Expert || role == Role::SharedExpert;
}

// A checkpoint's list of plain modules: full names, or parts of paths.
class PlainModules {
public:
    explicit PlainModules(const std::vector<std::string>& modules) {
        for (const std::string& module : modules) {
            whole_.insert(checkpoint::canonical_name(module + "."));
        }
    }

    bool lists(const std::string& name) {
        // Whole modules and their parents, from the front; short names may stand anywhere.
        for (std::size_t end = name.find('.'); end != std::string::npos; end = name.find('.', end + 1)) {
            if (whole_.contains(name.substr(0, end + 1))) {
                return true;
            }
            for (std::size_t begin = end; begin != std::string::npos && begin > 0; begin = name.rfind('.', begin - 1)) {
                if (begin < end && whole_.contains(name.substr(begin + 1, end - begin))) {
                    return true;
                }
            }
        }
        return false;
    }

private:
    std::set<std::string> whole_;
};

}  // namespace

std::string_view role_name(Role role) {
    switch (role) {
        case Role::Embedding: return "embedding";
        case Role::Head: return "head";
        case Role::AttentionProjection: return "attention projection";
        case Role::DeltaProjection: return "delta projection";
        case Role::DecayProjection: return "decay projection";
        case Role::FeedForward: return "feed-forward";
        case Role::DraftProjection: return "draft projection";
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

void TensorTable::set_quantization(std::optional<checkpoint::Quantization> quantization) {
    quantization_ = std::move(quantization);
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

// What find_rows says of each row, and what that leaves.
struct TensorTable::Findings {
    std::vector<checkpoint::RowLookup> lookups;  // in the order of the rows
    std::vector<std::string> unsupported;
    std::vector<std::string> rest;  // tensors that feed no row
    LeftOut activations{"scales of activations and of the cache, which are not quantized here", 0, 0};
};

TensorTable::Findings TensorTable::find_all(const checkpoint::Checkpoint& checkpoint, Problems& problems) const {
    Findings found;
    std::set<std::string> used;
    const auto leave_out_scale = [&](const std::string& name) {
        found.activations.tensors += 1;
        found.activations.bytes += checkpoint.require(name).info.bytes;
    };
    for (const TensorRow& row : rows_) {
        found.lookups.push_back(checkpoint::find_rows(checkpoint, quantization_, row.name, row.shape));
        const checkpoint::RowLookup& lookup = found.lookups.back();
        used.insert(lookup.used.begin(), lookup.used.end());
        used.insert(lookup.ignored.begin(), lookup.ignored.end());
        std::for_each(lookup.ignored.begin(), lookup.ignored.end(), leave_out_scale);
        std::for_each(lookup.problems.begin(), lookup.problems.end(), [&](const auto& text) { problems.add(text); });
        found.unsupported.insert(found.unsupported.end(), lookup.unsupported.begin(), lookup.unsupported.end());
        if (row.role == Role::Vector && lookup.source) {
            problems.add(
                fmt::format("tensor '{}' is quantized, expected F32, F16 or BF16", lookup.source->codes->info.name));
        }
    }
    for (const auto& [name, tensor] : checkpoint.tensors()) {
        if (used.contains(name)) {
            continue;
        }
        if (quantization_ && is_cache_scale(name)) {
            leave_out_scale(name);
        } else {
            found.rest.push_back(name);
        }
    }
    return found;
}

void TensorTable::check_plain(const checkpoint::Checkpoint& checkpoint, const Findings& findings,
                              Problems& problems) const {
    constexpr std::size_t kShown = 10;  // the rest is only counted
    const std::vector<std::string> none;
    for (std::size_t i = 0; i < rows_.size(); ++i) {
        const checkpoint::RowLookup& lookup = findings.lookups[i];
        if (!lookup.found()) {
            problems.add(missing_problem(rows_[i], checkpoint, problems.size() < kShown ? findings.rest : none));
        } else if (lookup.plain != nullptr) {
            if (std::string problem = form_problem(*lookup.plain, rows_[i]); !problem.empty()) {
                problems.add(std::move(problem));
            }
        }
    }
}

std::vector<TensorTable::LeftOut> TensorTable::check_rest(const checkpoint::Checkpoint& checkpoint,
                                                          const std::vector<std::string>& rest,
                                                          Problems& problems) const {
    std::vector<LeftOut> left_out(left_out_.size());
    for (const std::string& name : rest) {
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
    return left_out;
}

std::vector<TensorTable::LeftOut> TensorTable::check(const checkpoint::Checkpoint& checkpoint,
                                                     std::vector<std::string>* notes) const {
    Problems problems;
    const Findings findings = find_all(checkpoint, problems);
    check_plain(checkpoint, findings, problems);
    std::vector<LeftOut> left_out = check_rest(checkpoint, findings.rest, problems);
    const ErrorKind kind = problems.empty() ? ErrorKind::Unsupported : ErrorKind::Input;
    for (const std::string& text : findings.unsupported) {
        problems.add(text + ": use the original checkpoint in bfloat16 or float16");
    }
    problems.throw_if_any(
        kind, fmt::format("cannot use the tensors of '{}' ({} tensors in {} files)", checkpoint.directory().string(),
                          checkpoint.tensors().size(), checkpoint.shard_count()));
    left_out.push_back(findings.activations);
    left_out.push_back({"what the index lists and no file holds", checkpoint.promised_but_absent().size(), 0});
    std::erase_if(left_out, [](const LeftOut& entry) { return entry.tensors == 0; });
    if (notes != nullptr) {
        *notes = quantization_notes(findings);
    }
    return left_out;
}

std::vector<std::string> TensorTable::quantization_notes(const Findings& findings) const {
    PlainModules plain(quantization_ ? quantization_->plain_modules : std::vector<std::string>{});
    const bool compare = quantization_ && quantization_->plain_modules_known;
    std::map<std::string, std::size_t> kinds;
    std::vector<std::string> unlisted;
    std::vector<std::string> listed;
    for (std::size_t i = 0; i < rows_.size(); ++i) {
        const bool quantized = findings.lookups[i].source != nullptr;
        if (quantized) {
            kinds[findings.lookups[i].source->text()] += 1;
        }
        if (!compare || quantized != plain.lists(rows_[i].name)) {
            continue;
        }
        if (quantized) {
            listed.push_back(rows_[i].name);
        } else if (is_projection(rows_[i].role)) {
            unlisted.push_back(rows_[i].name);
        }
    }
    std::vector<std::string> notes;
    for (const auto& [text, count] : kinds) {
        notes.push_back(fmt::format("quantized in the checkpoint: {} weights, {}", count, text));
    }
    if (!unlisted.empty()) {
        notes.push_back(fmt::format(
            "{} projections are plain in the checkpoint though its list of plain modules leaves them out, such as "
            "'{}': taken as they are",
            unlisted.size(), unlisted.front()));
    }
    if (!listed.empty()) {
        notes.push_back(
            fmt::format("{} weights are quantized in the checkpoint though it lists them as plain, such as '{}'",
                        listed.size(), listed.front()));
    }
    return notes;
}

}  // namespace deltavino::graph
