#include "reference/text_model.hpp"

#include "base/error.hpp"
#include "reference/decoder_layer.hpp"

#include <utility>

namespace deltavino::reference {

TextModel::TextModel(const checkpoint::TextConfig& config, bool tied_head, const WeightSource& weights,
                     unsigned threads)
    : config_(config), tied_head_(tied_head), context_{weights, threads} {}

Matrix TextModel::embed(std::span<const std::int64_t> ids) const {
    Matrix x(static_cast<Index>(ids.size()), static_cast<Index>(config_.hidden_size));
    for (std::size_t t = 0; t < ids.size(); ++t) {
        if (ids[t] < 0 || static_cast<std::uint64_t>(ids[t]) >= config_.vocab_size) {
            fail(ErrorKind::Input, "cannot embed token id {}: expected 0 to {}", ids[t], config_.vocab_size - 1);
        }
        context_.weights.read_rows("model.embed_tokens.weight", static_cast<std::uint64_t>(ids[t]),
                                   x.middleRows(static_cast<Index>(t), 1));
    }
    return x;
}

Matrix TextModel::forward(Matrix x, const Positions& positions, const LayerSink& on_layer,
                          const LayerSink& on_mixer) const {
    const Rotary rotary(config_.rope, positions);
    for (std::uint64_t i = 0; i < config_.num_hidden_layers; ++i) {
        const auto half = [&](ConstMatrixRef mixed) {
            if (on_mixer) {
                on_mixer(i, mixed);
            }
        };
        x = decoder_layer(std::move(x), context_, "model.layers." + std::to_string(i) + ".", config_.layer_types[i],
                          config_, rotary, half);
        if (on_layer) {
            on_layer(i, x);
        }
    }
    return hidden_norm(x, context_, "model.norm.weight", config_);
}

Matrix TextModel::logits(ConstMatrixRef hidden) const {
    return linear(hidden, context_, tied_head_ ? "model.embed_tokens.weight" : "lm_head.weight", 0, config_.vocab_size);
}

}  // namespace deltavino::reference
