#include "reference/text_model.hpp"

#include "base/error.hpp"
#include "reference/attention.hpp"
#include "reference/gated_delta_net.hpp"
#include "reference/mixture_of_experts.hpp"

namespace deltavino::reference {

using checkpoint::LayerKind;

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
    const auto norm = [&](ConstMatrixRef in, const std::string& name) {
        return zero_centred_norm(in, context_.weights.vector(name, config_.hidden_size), config_.rms_norm_eps);
    };
    for (std::uint64_t i = 0; i < config_.num_hidden_layers; ++i) {
        const std::string layer = "model.layers." + std::to_string(i) + ".";
        const Matrix mixed = norm(x, layer + "input_layernorm.weight");
        x += config_.layer_types[i] == LayerKind::LinearAttention
                 ? gated_delta_net(mixed, context_, layer + "linear_attn.", config_)
                 : gated_attention(mixed, context_, layer + "self_attn.", config_, rotary);
        if (on_mixer) {
            on_mixer(i, x);
        }
        const Matrix normed = norm(x, layer + "post_attention_layernorm.weight");
        x += config_.moe ? mixture_of_experts(normed, context_, layer + "mlp.", config_)
                         : swiglu(normed, context_, layer + "mlp.", config_.intermediate_size);
        if (on_layer) {
            on_layer(i, x);
        }
    }
    return norm(x, "model.norm.weight");
}

Matrix TextModel::logits(ConstMatrixRef hidden) const {
    return linear(hidden, context_, tied_head_ ? "model.embed_tokens.weight" : "lm_head.weight", 0, config_.vocab_size);
}

}  // namespace deltavino::reference
