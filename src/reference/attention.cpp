#include "reference/attention.hpp"

#include "reference/parallel.hpp"

#include <cmath>

namespace deltavino::reference {

Matrix attend(ConstMatrixRef q, ConstMatrixRef k, ConstMatrixRef v, double scale, bool causal) {
    Matrix y(q.rows(), v.cols());
    for (Index t = 0; t < q.rows(); ++t) {
        const Index seen = causal ? t + 1 : k.rows();
        Eigen::VectorXd weights = (k.topRows(seen) * q.row(t).transpose()).cast<double>() * scale;
        weights = (weights.array() - weights.maxCoeff()).exp();
        weights /= weights.sum();
        y.row(t).noalias() = weights.cast<float>().transpose() * v.topRows(seen);
    }
    return y;
}

Matrix gated_attention(ConstMatrixRef x, const Context& context, const std::string& module,
                       const checkpoint::TextConfig& config, const Rotary& rotary) {
    const std::uint64_t H = config.num_attention_heads;
    const std::uint64_t G = config.num_key_value_heads;
    const auto D = static_cast<Index>(config.head_dim);
    const Matrix both = linear(x, context, module + "q_proj.weight", 0, 2 * H * config.head_dim);
    Matrix q(x.rows(), static_cast<Index>(H) * D);
    Matrix gate(x.rows(), static_cast<Index>(H) * D);
    for (Index h = 0; h < static_cast<Index>(H); ++h) {
        q.middleCols(h * D, D) = both.middleCols(2 * h * D, D);
        gate.middleCols(h * D, D) = both.middleCols((2 * h + 1) * D, D);
    }
    Matrix k = linear(x, context, module + "k_proj.weight", 0, G * config.head_dim);
    const Matrix v = linear(x, context, module + "v_proj.weight", 0, G * config.head_dim);
    const auto norm = [&](ConstMatrixRef heads, const char* name) {
        return zero_centred_norm(heads, context.weights.vector(module + name, config.head_dim), config.rms_norm_eps);
    };
    q = norm(q, "q_norm.weight");
    k = norm(k, "k_norm.weight");
    rotary.apply(q, H);
    rotary.apply(k, G);

    Matrix attended(x.rows(), q.cols());
    parallel_for(H, context.threads, [&](std::uint64_t head) {
        const Index h = static_cast<Index>(head) * D;
        const Index g = static_cast<Index>(head / (H / G)) * D;
        const Matrix own = q.middleCols(h, D);  // in one piece: the products below run along its rows
        const Matrix keys = k.middleCols(g, D);
        const Matrix values = v.middleCols(g, D);
        attended.middleCols(h, D) = attend(own, keys, values, 1.0 / std::sqrt(static_cast<double>(D)), true);
    });
    for (Index t = 0; t < x.rows(); ++t) {
        for (Index i = 0; i < attended.cols(); ++i) {
            attended(t, i) = static_cast<float>(attended(t, i) * sigmoid(gate(t, i)));
        }
    }
    return linear(attended, context, module + "o_proj.weight", 0, config.hidden_size);
}

}  // namespace deltavino::reference
