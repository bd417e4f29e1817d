#include "models/plan.hpp"

#include "base/error.hpp"
#include "models/qwen3_5_text.hpp"
#include "models/qwen3_5_vision.hpp"

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
bool decide_tied_head(const Checkpoint& checkpoint, bool config_says_tied, bool assume_tied_head,
                      std::vector<std::string>& notes) {
    const Tensor* head = checkpoint.find("lm_head.weight");
    if (head == nullptr && checkpoint::find_codes(checkpoint, "lm_head.weight") != nullptr) {
        return false;  // packed, as embeddings are not
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
    const bool same =
        embedding != nullptr && checkpoint::is_plain_float(head->info.dtype) && same_bytes(*embedding, *head);
    if (!same) {
        notes.push_back(
            "config.json says that the head is tied to the embedding, but 'lm_head.weight' has other values: it is "
            "kept, as transformers does");
    }
    return same;
}

}  // namespace

Plan make_plan(const Checkpoint& checkpoint, const std::string& task, bool assume_tied_head) {
    Plan plan;
    plan.config = checkpoint::read_config(checkpoint.config_text(), (checkpoint.directory() / "config.json").string());
    plan.notes = plan.config.notes;
    plan.task = choose_task(task, plan.config);
    if (plan.config.text.count(checkpoint::LayerKind::FullAttention) == 0) {
        fail(ErrorKind::Unsupported,
             "cannot export this model: it has no full-attention layer, from which positions are counted");
    }
    if (checkpoint.converted_for_mlx()) {
        fail(ErrorKind::Unsupported,
             "cannot export '{}': its files were converted for MLX, which stores norms and convolutions differently; "
             "use the original checkpoint",
             checkpoint.directory().string());
    }
    plan.table.set_quantization(checkpoint::read_quantization(checkpoint.config_text(), checkpoint.directory()));
    plan.tied_head = decide_tied_head(checkpoint, plan.config.text.tie_word_embeddings, assume_tied_head, plan.notes);
    add_text_tensors(plan.table, plan.config.text, plan.tied_head, checkpoint);
    if (plan.task == Task::ImageTextToText) {
        if (!plan.config.text.rope.mrope_interleaved) {
            fail(ErrorKind::Unsupported,
                 "cannot export this model: mrope_interleaved is false, only interleaved multimodal positions are "
                 "handled");
        }
        add_vision_tensors(plan.table, *plan.config.vision);
    } else {
        plan.table.leave_out("visual.", "the vision tower (this is a text-only export)");
    }
    plan.table.leave_out("mtp.", "multi-token prediction");
    if (plan.tied_head) {
        plan.table.leave_out("lm_head.weight", "the head (it equals the embedding)");
    }
    return plan;
}

}  // namespace deltavino::models
