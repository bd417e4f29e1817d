#include "runtime/token_model.hpp"

#include "base/error.hpp"
#include "graph/names.hpp"

#include <algorithm>

namespace deltavino::runtime {

void require_tokens(const ov::Model& model, const std::filesystem::path& directory) {
    namespace names = graph::names;
    const auto inputs = model.inputs();
    const auto outputs = model.outputs();
    const bool takes_beams = std::any_of(inputs.begin(), inputs.end(),
                                         [](const auto& input) { return input.get_names().contains(names::kBeamIdx); });
    const bool tells_texts = std::any_of(outputs.begin(), outputs.end(), [](const auto& output) {
        return output.get_names().contains(names::kLastHiddenState) ||
               (output.get_names().contains(names::kLogits) && output.get_partial_shape().rank() == 2);
    });
    if (!takes_beams && tells_texts) {
        fail(ErrorKind::Unsupported,
             "cannot run '{}': its model makes no tokens; it was exported for feature-extraction or "
             "text-classification, which openvino_genai's pipelines for embeddings and reranking run",
             directory.string());
    }
}

}  // namespace deltavino::runtime
