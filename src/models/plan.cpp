#include "models/plan.hpp"

#include "base/error.hpp"
#include "models/geometry.hpp"
#include "models/qwen3_5_mtp.hpp"
#include "models/qwen3_5_text.hpp"
#include "models/qwen3_5_vision.hpp"
#include "models/source_format.hpp"

#include <algorithm>

namespace deltavino::models {

namespace {

using checkpoint::Checkpoint;
using checkpoint::Tensor;

bool same_bytes(const Tensor& a, const Tensor& b) {
    if (a.info.shape != b.info.shape || a.info.dtype != b.info.dtype) {
        return false;
    }
    std::vector<std::byte> left(1u << 20);
    std::vector<std::byte> right(left.size());
    for (std::uint64_t at = 0; at < a.info.bytes; at += left.size()) {
        const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(left.size(), a.info.bytes - at));
        a.file->read(a.info.offset + at, std::span(left).first(size));
        b.file->read(b.info.offset + at, std::span(right).first(size));
        if (!std::equal(left.begin(), left.begin() + static_cast<std::ptrdiff_t>(size), right.begin())) {
            return false;
        }
    }
    return true;
}

// Whether the head reads the embedding. transformers keeps a head that is in the checkpoint even when
// config.json says tied; one with the same bytes is stored once.
bool decide_tied_head(const Checkpoint& checkpoint, const checkpoint::ModelConfig& config, bool assume_tied_head,
                      std::vector<std::string>& notes) {
    const bool config_says_tied = config.text.tie_word_embeddings;
    const Tensor* head = checkpoint.find("lm_head.weight");
    if (head == nullptr && checkpoint::find_codes(checkpoint, "lm_head.weight") != nullptr) {
        return false;  // packed, as embeddings are not
    }
    if (head == nullptr && config.tie_flags_differ) {
        notes.push_back(fmt::format(
            "tie_word_embeddings is {} in /text_config and {} outside of it, and there is no tensor 'lm_head.weight': "
            "the embedding is taken as the head",
            config_says_tied, !config_says_tied));
        return true;
    }
    if (head == nullptr && !config_says_tied && !assume_tied_head) {
        fail(ErrorKind::Input,
             "cannot use '{}': config.json says that tie_word_embeddings is false, and there is no tensor "
             "'lm_head.weight' "
             "(--assume-tied-head takes the embedding as the head)",
             checkpoint.directory().string());
    }
    if (head == nullptr || !config_says_tied) {
        return head == nullptr;
    }
    const Tensor* embedding = checkpoint.find("model.embed_tokens.weight");
    // The scales of 8-bit floats would have to be the same, too.
    const bool same = embedding != nullptr && embedding->added == nullptr && head->added == nullptr &&
                      checkpoint::is_plain_float(head->info.dtype) && same_bytes(*embedding, *head);
    if (!same) {
        notes.push_back(
            "config.json says that the head is tied to the embedding, but 'lm_head.weight' has other values: it is "
            "kept, as transformers does");
    }
    return same;
}

// An adapter of the embedding changes the head, too, when they are one tensor.
void require_untied_adapter(const Checkpoint& checkpoint, bool tied_head) {
    const std::string name = "model.embed_tokens.weight";
    const checkpoint::Adapter* adapter = checkpoint.adapter();
    if (!tied_head || adapter == nullptr || adapter->keeps_tying() ||
        !(adapter->products().contains(name) || adapter->replacements().contains(name))) {
        return;
    }
    fail(
        ErrorKind::Unsupported,
        "cannot merge adapter '{}': it changes the embedding, which is the head of this model, too, and was trained as "
        "the embedding alone (ensure_weight_tying is not true)",
        adapter->directory().string());
}

// A task with pictures needs the tower.
void require_tower(const Checkpoint& checkpoint, const checkpoint::ModelConfig& config) {
    const std::string hint = fmt::format("--task {} exports the language model alone", task_name(Task::TextGeneration));
    const auto first = checkpoint.tensors().lower_bound("visual.");
    if (first == checkpoint.tensors().end() || !first->first.starts_with("visual.")) {
        fail(ErrorKind::Input,
             "cannot export '{}' for '{}': config.json has a vision_config, but the {} tensors in {} files hold no "
             "vision tower ('visual.'); {}",
             checkpoint.directory().string(), task_name(Task::ImageTextToText), checkpoint.tensors().size(),
             checkpoint.shard_count(), hint);
    }
    if (config.vision_refusal) {
        throw Error(config.vision_refusal->kind(), fmt::format("{}\n{}", config.vision_refusal->what(), hint));
    }
    if (!config.text.rope.mrope_interleaved) {
        fail(ErrorKind::Unsupported,
             "cannot export this model: mrope_interleaved is false, only interleaved multimodal positions are handled; "
             "{}",
             hint);
    }
}

// The multi-token-prediction layer, when the checkpoint has all of it; else one note.
void add_mtp(Plan& plan, const Checkpoint& checkpoint, const std::optional<checkpoint::Quantization>& quantization) {
    const MtpDecision decision = decide_mtp(checkpoint, plan.config.text, quantization);
    plan.mtp = decision.present;
    if (plan.mtp) {
        add_mtp_tensors(plan.table, plan.config.text, checkpoint);
    } else if (decision.has_tensors) {
        plan.table.leave_out("mtp.*", fmt::format("multi-token prediction ({})", decision.why_not));
    } else if (!decision.why_not.empty()) {
        plan.notes.push_back(fmt::format("exported without multi-token prediction: {}", decision.why_not));
    }
}

constexpr const char* kScore = "score.weight";

// What stands at the end of a model that makes no tokens.
void add_score(Plan& plan, const Checkpoint& checkpoint) {
    if (plan.task != Task::TextClassification) {
        plan.table.leave_out(kScore, "the classifier's score (the hidden states are exported)");
        return;
    }
    const Tensor* score = checkpoint.find(kScore);
    if (score == nullptr || score->info.shape.size() != 2) {
        fail(ErrorKind::Input,
             "cannot export '{}' for '{}': there is no tensor '{}' [labels, hidden_size], which the classifiers of "
             "transformers (...ForSequenceClassification) have; --task {} exports the hidden states",
             checkpoint.directory().string(), task_name(plan.task), kScore, task_name(Task::FeatureExtraction));
    }
    plan.table.add(kScore, {score->info.shape.front(), plan.config.text.hidden_size}, graph::Role::Head);
}

// What "auto" means for these tensors.
std::string wanted_task(const std::string& wanted, const Checkpoint& checkpoint) {
    const bool classifies = checkpoint.find(kScore) != nullptr && checkpoint.find("lm_head.weight") == nullptr;
    return wanted == "auto" && classifies ? task_name(Task::TextClassification) : wanted;
}

// Tensors that no task reads.
void leave_out_unread(graph::TensorTable& table, bool tied_head) {
    table.leave_out("mtp.*", "multi-token prediction");
    table.leave_out("*rotary_emb.inv_freq", "rotary frequencies (they are computed from config.json)");
    if (tied_head) {
        table.leave_out("lm_head.weight", "the head (it equals the embedding)");
    }
}

}  // namespace

Plan make_plan(const Checkpoint& checkpoint, const PlanOptions& options) {
    Plan plan;
    plan.config = checkpoint::read_config(checkpoint.config_text(), (checkpoint.directory() / "config.json").string());
    plan.notes = checkpoint.notes();
    plan.notes.insert(plan.notes.end(), plan.config.notes.begin(), plan.config.notes.end());
    plan.task = choose_task(wanted_task(options.task, checkpoint), plan.config);
    if (plan.config.text.count(checkpoint::LayerKind::FullAttention) == 0) {
        fail(ErrorKind::Unsupported,
             "cannot export this model: it has no full-attention layer, from which positions are counted");
    }
    check_source_format(checkpoint, plan.config, plan.notes);
    if (plan.task == Task::ImageTextToText) {
        require_tower(checkpoint, plan.config);
    }
    check_geometry(checkpoint, plan.config, plan.task);
    const auto quantization = checkpoint::read_quantization(checkpoint.config_text(), checkpoint.directory());
    plan.table.set_quantization(quantization);
    if (generates(plan.task)) {
        plan.tied_head = decide_tied_head(checkpoint, plan.config, options.assume_tied_head, plan.notes);
        require_untied_adapter(checkpoint, plan.tied_head);
        add_text_tensors(plan.table, plan.config.text, plan.tied_head, checkpoint);
    } else {
        add_text_tensors(plan.table, plan.config.text, true, checkpoint);
        add_score(plan, checkpoint);
        plan.table.leave_out("lm_head.*", "the head (it makes tokens, and this model none)");
    }
    if (plan.task == Task::ImageTextToText) {
        add_vision_tensors(plan.table, *plan.config.vision);
    } else {
        plan.table.leave_out("visual.*", "the vision tower (this is a text-only export)");
    }
    if (options.mtp && generates(plan.task)) {
        add_mtp(plan, checkpoint, quantization);
    }
    leave_out_unread(plan.table, plan.tied_head);
    return plan;
}

}  // namespace deltavino::models
