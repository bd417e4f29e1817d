// The spelling is the one that OpenVINO's RMSFusion turns into one RMS operation: Power, ReduceMean,
// Add, Sqrt, Divide(1, .), Multiply, Multiply.
#include "blocks/norm.hpp"

#include <algorithm>

namespace deltavino::blocks {

using namespace graph;

namespace {

Value rms(const Value& x, const std::vector<double>& gamma, double eps, std::size_t rank) {
    std::vector<float> scale(gamma.begin(), gamma.end());
    ov::Shape shape(rank, 1);
    shape.back() = scale.size();
    const Value mean_square = reduce_mean(power(x, scalar(2.0f)), ints({-1}), true);
    const Value inverse = divide(scalar(1.0f), graph::sqrt(add(mean_square, scalar(static_cast<float>(eps)))));
    return multiply(multiply(x, inverse), floats(scale, shape));
}

}  // namespace

Value zero_centred_norm(const Value& x, const Scope& scope, const std::string& module, double eps, std::size_t rank,
                        LeadingScale scale) {
    std::vector<double> gamma = scope.values(module + ".weight");
    std::transform(gamma.begin(), gamma.end(), gamma.begin(), [](double w) { return 1.0 + w; });
    for (std::size_t i = 0; i < std::min(gamma.size(), static_cast<std::size_t>(scale.channels)); ++i) {
        gamma[i] *= scale.factor;
    }
    return named(rms(x, gamma, eps, rank), scope.path(module + ".weight"));
}

Value gated_norm(const Value& x, const Value& z, const Scope& scope, const std::string& module, double eps,
                 checkpoint::GateActivation activation) {
    const Value normed = named(rms(x, scope.values(module + ".weight"), eps, 2), scope.path(module + ".weight"));
    return multiply(normed, activation == checkpoint::GateActivation::Sigmoid ? sigmoid(z) : swish(z));
}

}  // namespace deltavino::blocks
