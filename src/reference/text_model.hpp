// The text model, layer after layer, from the specification alone: no OpenVINO, no states, one whole prompt.
//
//   x = embed(ids)
//   for each layer:  x = x + mixer(norm(x));  x = x + feed_forward(norm(x))
//   logits = head(norm(x))
//
// Source: transformers `Qwen3_5ForCausalLM`, its `Moe` twin, `Qwen3NextForCausalLM`. Weights are read in blocks of
// rows when they are needed: memory is that of the activations and a few blocks, whatever the model's size.
#pragma once

#include "checkpoint/config.hpp"
#include "reference/layers.hpp"
#include "reference/rotary.hpp"

#include <cstdint>
#include <functional>
#include <span>

namespace deltavino::reference {

class TextModel {
public:
    // All must outlive the model. `tied_head`: the head is the embedding.
    TextModel(const checkpoint::TextConfig& config, bool tied_head, const WeightSource& weights, unsigned threads = 0);

    // [T, C]. Throws ErrorKind::Input for an id that the embedding has no row for.
    Matrix embed(std::span<const std::int64_t> ids) const;

    // The hidden states after the final norm, [T, C]. `on_layer`, when given, hears the output of each layer,
    // `on_mixer` that of its first half, the mixer with its residual; they may throw to stop.
    using LayerSink = std::function<void(std::uint64_t layer, ConstMatrixRef x)>;
    Matrix forward(Matrix x, const Positions& positions, const LayerSink& on_layer = {},
                   const LayerSink& on_mixer = {}) const;

    // [rows, vocab_size] for some rows of what forward() returned.
    Matrix logits(ConstMatrixRef hidden) const;

private:
    const checkpoint::TextConfig& config_;
    bool tied_head_;
    Context context_;
};

}  // namespace deltavino::reference
