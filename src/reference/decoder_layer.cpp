#include "reference/decoder_layer.hpp"

#include "reference/attention.hpp"
#include "reference/gated_delta_net.hpp"
#include "reference/mixture_of_experts.hpp"

namespace deltavino::reference {

using checkpoint::LayerKind;
using checkpoint::TextConfig;

Matrix hidden_norm(ConstMatrixRef x, const Context& context, const std::string& name, const TextConfig& config) {
    return zero_centred_norm(x, context.weights.vector(name, config.hidden_size), config.rms_norm_eps);
}

Matrix mixer(ConstMatrixRef normed, const Context& context, const std::string& layer, LayerKind kind,
             const TextConfig& config, const Rotary& rotary) {
    return kind == LayerKind::LinearAttention ? gated_delta_net(normed, context, layer + "linear_attn.", config)
                                              : gated_attention(normed, context, layer + "self_attn.", config, rotary);
}

Matrix feed_forward(ConstMatrixRef normed, const Context& context, const std::string& layer, const TextConfig& config) {
    return config.moe ? mixture_of_experts(normed, context, layer + "mlp.", config)
                      : swiglu(normed, context, layer + "mlp.", config.intermediate_size);
}

Matrix decoder_layer(Matrix x, const Context& context, const std::string& layer, LayerKind kind,
                     const TextConfig& config, const Rotary& rotary,
                     const std::function<void(ConstMatrixRef)>& on_mixer) {
    x += mixer(hidden_norm(x, context, layer + kMixerNorm, config), context, layer, kind, config, rotary);
    if (on_mixer) {
        on_mixer(x);
    }
    x += feed_forward(hidden_norm(x, context, layer + kFeedForwardNorm, config), context, layer, config);
    return x;
}

}  // namespace deltavino::reference
