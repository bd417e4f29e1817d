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

Matrix decoder_layer(Matrix x, const Context& context, const std::string& layer, LayerKind kind,
                     const TextConfig& config, const Rotary& rotary,
                     const std::function<void(ConstMatrixRef)>& on_mixer) {
    const Matrix mixed = hidden_norm(x, context, layer + "input_layernorm.weight", config);
    x += kind == LayerKind::LinearAttention ? gated_delta_net(mixed, context, layer + "linear_attn.", config)
                                            : gated_attention(mixed, context, layer + "self_attn.", config, rotary);
    if (on_mixer) {
        on_mixer(x);
    }
    const Matrix normed = hidden_norm(x, context, layer + "post_attention_layernorm.weight", config);
    x += config.moe ? mixture_of_experts(normed, context, layer + "mlp.", config)
                    : swiglu(normed, context, layer + "mlp.", config.intermediate_size);
    return x;
}

}  // namespace deltavino::reference
