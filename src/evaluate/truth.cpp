#include "evaluate/truth.hpp"

#include "base/error.hpp"
#include "checkpoint/rows/row_source.hpp"
#include "evaluate/comparison.hpp"

#include <utility>

namespace deltavino::evaluation {

Truth::Truth(const std::filesystem::path& checkpoint, const std::filesystem::path& adapter, unsigned threads,
             StopCheck stop)
    : checkpoint_(checkpoint, adapter),
      config_(checkpoint::read_config(checkpoint_.config_text(), (checkpoint / "config.json").string())),
      tied_head_(checkpoint::find_codes(checkpoint_, "lm_head.weight") == nullptr),
      weights_(checkpoint_, config_.text),
      threads_(threads),
      stop_(std::move(stop)) {}

std::uint64_t Truth::language_bytes() const {
    std::uint64_t bytes = 0;
    for (const auto& [name, tensor] : checkpoint_.tensors()) {
        bytes += name.starts_with("model.") || name.starts_with("lm_head.") ? tensor.info.bytes : 0;
    }
    return bytes;
}

reference::TextModel Truth::model_on(const reference::WeightSource& weights) const {
    return {config_.text, tied_head_ && !weights.has_own_head(), weights, threads_};
}

Matrix Truth::logits(std::span<const std::int64_t> ids, const std::vector<std::size_t>& wanted) const {
    const reference::TextModel model = model_on(weights_);
    const Matrix hidden = model.forward(model.embed(ids), reference::sequential_positions(ids.size()),
                                        [&](std::uint64_t, const auto&) { stop_if_asked(); });
    return model.logits(rows_of(hidden, wanted));
}

}  // namespace deltavino::evaluation
