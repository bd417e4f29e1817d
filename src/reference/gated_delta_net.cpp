#include "reference/gated_delta_net.hpp"

#include "reference/parallel.hpp"

#include <cmath>

namespace deltavino::reference {
namespace {

// silu of the depthwise convolution over the last `width` tokens; what is before the first token is zero.
Matrix short_convolution(ConstMatrixRef x, const Context& context, const std::string& name, std::uint64_t width) {
    // kernel [channels, width]: the last column weighs the newest token.
    Matrix kernel(x.cols(), static_cast<Index>(width));
    context.weights.read_rows(name, 0, kernel);
    Matrix y(x.rows(), x.cols());
    for (Index t = 0; t < x.rows(); ++t) {
        for (Index c = 0; c < x.cols(); ++c) {
            double sum = 0.0;
            for (Index back = 0; back < kernel.cols() && back <= t; ++back) {
                sum += static_cast<double>(x(t - back, c)) * kernel(c, kernel.cols() - 1 - back);
            }
            y(t, c) = static_cast<float>(silu(sum));
        }
    }
    return y;
}

// x / sqrt(sum(x^2) + 1e-6) * scale; the 1e-6 is fixed in the source, not rms_norm_eps.
Matrix l2_norm(ConstMatrixRef x, double scale) {
    Matrix y(x.rows(), x.cols());
    for (Index t = 0; t < x.rows(); ++t) {
        const double norm = std::sqrt(x.row(t).cast<double>().squaredNorm() + 1e-6);
        y.row(t) = (x.row(t).cast<double>() * (scale / norm)).cast<float>();
    }
    return y;
}

double softplus(double x) {
    return x > 20.0 ? x : std::log1p(std::exp(x));  // torch's threshold
}

// One value head: q, k [T, K], v [T, V], decay and beta [T] -> o [T, V].
Matrix recurrence(const Matrix& q, const Matrix& k, const Matrix& v, const Eigen::VectorXd& decay,
                  const Eigen::VectorXd& beta) {
    Matrix state = Matrix::Zero(k.cols(), v.cols());  // S [K, V]
    Matrix o(v.rows(), v.cols());
    for (Index t = 0; t < v.rows(); ++t) {
        state *= static_cast<float>(decay(t));
        const Eigen::RowVectorXf recalled = k.row(t) * state;
        const Eigen::RowVectorXf correction = (v.row(t) - recalled) * static_cast<float>(beta(t));
        state.noalias() += k.row(t).transpose() * correction;
        o.row(t).noalias() = q.row(t) * state;
    }
    return o;
}

// norm(o) * act(z), each of the heads of o by itself; act is silu or, by output_gate_type, the sigmoid.
Matrix gated_norm(const Matrix& o, const Matrix& z, const Vector& weight, const checkpoint::TextConfig& config) {
    const bool plain = config.output_gate == checkpoint::GateActivation::Sigmoid;
    Matrix y(o.rows(), o.cols());
    const Index V = weight.size();
    for (Index t = 0; t < o.rows(); ++t) {
        for (Index begin = 0; begin < o.cols(); begin += V) {
            const double mean = o.row(t).segment(begin, V).cast<double>().squaredNorm() / static_cast<double>(V);
            const double scale = 1.0 / std::sqrt(mean + config.rms_norm_eps);
            for (Index i = begin; i < begin + V; ++i) {
                y(t, i) = static_cast<float>(o(t, i) * scale * weight(i - begin) *
                                             (plain ? sigmoid(z(t, i)) : silu(z(t, i))));
            }
        }
    }
    return y;
}

}  // namespace

Matrix gated_delta_net(ConstMatrixRef x, const Context& context, const std::string& module,
                       const checkpoint::TextConfig& config) {
    const std::uint64_t H_k = config.linear_num_key_heads;
    const std::uint64_t H_v = config.linear_num_value_heads;
    const auto K = static_cast<Index>(config.linear_key_head_dim);
    const auto V = static_cast<Index>(config.linear_value_head_dim);
    const std::uint64_t values = H_v * config.linear_value_head_dim;
    const Index keys = static_cast<Index>(H_k) * K;

    const Matrix qkv = short_convolution(linear(x, context, module + "in_proj_qkv.weight", 0, config.conv_channels()),
                                         context, module + "conv1d.weight", config.linear_conv_kernel_dim);
    const Matrix z = linear(x, context, module + "in_proj_z.weight", 0, values);
    const Matrix b = linear(x, context, module + "in_proj_b.weight", 0, H_v);
    const Matrix a = linear(x, context, module + "in_proj_a.weight", 0, H_v);
    const Vector A_log = context.weights.vector(module + "A_log", H_v);
    const Vector dt_bias = context.weights.vector(module + "dt_bias", H_v);

    Matrix o(x.rows(), static_cast<Index>(values));
    parallel_for(H_v, context.threads, [&](std::uint64_t head) {
        const auto h = static_cast<Index>(head);
        const Index key_head = static_cast<Index>(head / (H_v / H_k)) * K;
        Eigen::VectorXd decay(x.rows());
        Eigen::VectorXd beta(x.rows());
        for (Index t = 0; t < x.rows(); ++t) {
            decay(t) = std::exp(-std::exp(static_cast<double>(A_log(h))) *
                                softplus(static_cast<double>(a(t, h)) + dt_bias(h)));
            beta(t) = sigmoid(b(t, h));
        }
        o.middleCols(h * V, V) = recurrence(
            l2_norm(qkv.middleCols(key_head, K), 1.0 / std::sqrt(static_cast<double>(K))),
            l2_norm(qkv.middleCols(keys + key_head, K), 1.0), qkv.middleCols(2 * keys + h * V, V), decay, beta);
    });
    const Matrix y =
        gated_norm(o, z, context.weights.vector(module + "norm.weight", config.linear_value_head_dim), config);
    return linear(y, context, module + "out_proj.weight", 0, config.hidden_size);
}

}  // namespace deltavino::reference
