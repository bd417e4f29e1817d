#include "export/preparation.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "export/directory/side_files.hpp"
#include "export/gpu_notes.hpp"
#include "export/sensitivity.hpp"
#include "export/target_size.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace deltavino::exporter {

// A wrong option shows before any file is read: the recipe is the first member.
Preparation::Preparation(const ExportOptions& options, ProgressSink& progress)
    : model_(options.model),
      recipe_(options.compression),
      checkpoint_(options.model, options.lora),
      plan_(models::make_plan(checkpoint_, {options.task, options.assume_tied_head, options.mtp})) {
    note_all(progress, plan_.notes);
    std::vector<std::string> quantization_notes;
    for (const auto& left_out : plan_.table.check(checkpoint_, &quantization_notes)) {
        progress.note(
            fmt::format("left out: {}, {} tensors, {}", left_out.why, left_out.tensors, human_bytes(left_out.bytes)));
    }
    note_all(progress, quantization_notes);
    describe_adapter(progress);
    const checkpoint::TextConfig& text = plan_.config.text;
    const ExpertSizes experts =
        text.moe ? ExpertSizes{text.hidden_size, text.moe->moe_intermediate_size} : ExpertSizes{};
    recipe_.set_architecture(text.moe.has_value(), plan_.tied_head, experts);
    model_type_ = vision() ? vision_model_type(plan_.config) : text.model_type;
}

void Preparation::describe_adapter(ProgressSink& progress) {
    const checkpoint::Adapter* adapter = checkpoint_.adapter();
    if (adapter == nullptr) {
        return;
    }
    adapter_.emplace(MergedAdapter{source_of(adapter->directory()), adapter->text(), 0, 0});
    for (const graph::TensorRow& row : plan_.table.rows()) {
        adapter_->weights += adapter->products().contains(row.name) ? 1 : 0;
        adapter_->replaced += adapter->replacements().contains(row.name) ? 1 : 0;
    }
    const std::size_t used = adapter_->weights + adapter_->replaced;
    const std::size_t all = adapter->products().size() + adapter->replacements().size();
    if (used == 0) {
        fail(ErrorKind::Input,
             "cannot merge adapter '{}': all of its {} weights are of parts that this export leaves out",
             adapter->directory().string(), all);
    }
    progress.note(fmt::format("adapter '{}': merged into {} weights{}, {} tensors replaced{}", adapter_->source.name,
                              adapter_->weights, adapter_->text.empty() ? "" : " (" + adapter_->text + ")",
                              adapter_->replaced,
                              used == all ? "" : fmt::format("; {} of parts that are left out", all - used)));
}

void Preparation::build(ProgressSink& progress) {
    if (recipe_.needs_sensitivities()) {
        measure_sensitivities(checkpoint_, plan_, recipe_);
    }
    origin_.emplace(source_of(model_), adapter_, model_type_, models::task_name(plan_.task), recipe_);
    if (recipe_.has_target()) {
        choose_for_target(checkpoint_, plan_, recipe_, *origin_, progress);
    }
    artifacts_ = make_artifacts(checkpoint_, plan_, recipe_, *origin_);
    recipe_.check_all_used();
    plan_.table.check_all_used();
    note_all(progress, recipe_.fallbacks());
    note_all(progress, gpu_notes(artifacts_));
    std::for_each(artifacts_.begin(), artifacts_.end(), lay_out);
}

}  // namespace deltavino::exporter
