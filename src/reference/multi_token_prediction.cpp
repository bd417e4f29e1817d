#include "reference/multi_token_prediction.hpp"

#include "base/error.hpp"
#include "reference/decoder_layer.hpp"

namespace deltavino::reference {

Matrix multi_token_prediction(ConstMatrixRef embedded, ConstMatrixRef hidden, const Positions& positions,
                              const checkpoint::TextConfig& config, const Context& context, const StageSink& on_stage) {
    if (config.mtp_num_hidden_layers > 1) {
        fail(ErrorKind::Unsupported, "cannot run {} multi-token-prediction layers, expected 1 (mtp_num_hidden_layers)",
             config.mtp_num_hidden_layers);
    }
    Matrix joined(hidden.rows(), 2 * hidden.cols());
    joined << hidden_norm(embedded, context, "mtp.pre_fc_norm_embedding.weight", config),
        hidden_norm(hidden, context, "mtp.pre_fc_norm_hidden.weight", config);
    Matrix x = linear(joined, context, "mtp.fc.weight", 0, config.hidden_size);
    const auto tell = [&](std::size_t stage, ConstMatrixRef at) {
        if (on_stage) {
            on_stage(kPredictionStages.at(stage), at);
        }
    };
    tell(0, x);
    x = decoder_layer(std::move(x), context, "mtp.layers.0.", checkpoint::LayerKind::FullAttention, config,
                      Rotary(config.rope, positions), [&](ConstMatrixRef half) { tell(1, half); });
    tell(2, x);
    return hidden_norm(x, context, "mtp.norm.weight", config);
}

}  // namespace deltavino::reference
