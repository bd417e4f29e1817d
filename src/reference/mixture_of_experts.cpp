#include "reference/mixture_of_experts.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

namespace deltavino::reference {
namespace {

struct Choice {
    Index token = 0;
    double weight = 0.0;
};

// For each expert the tokens that chose it. Of equal probabilities the lower index is taken first.
std::vector<std::vector<Choice>> route(const Matrix& scores, const checkpoint::MoeConfig& moe) {
    const auto k = static_cast<std::ptrdiff_t>(moe.num_experts_per_tok);
    std::vector<std::vector<Choice>> chosen(static_cast<std::size_t>(scores.cols()));
    for (Index t = 0; t < scores.rows(); ++t) {
        Eigen::RowVectorXd p = scores.row(t).cast<double>();
        p = (p.array() - p.maxCoeff()).exp();
        p /= p.sum();
        std::vector<Index> order(static_cast<std::size_t>(p.size()));
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) { return p(a) > p(b); });
        double sum = 1.0;
        if (moe.norm_topk_prob) {
            sum = 0.0;
            std::for_each(order.begin(), order.begin() + k, [&](Index e) { sum += p(e); });
        }
        std::for_each(order.begin(), order.begin() + k,
                      [&](Index e) { chosen[static_cast<std::size_t>(e)].push_back({t, p(e) / sum}); });
    }
    return chosen;
}

}  // namespace

Matrix mixture_of_experts(ConstMatrixRef x, const Context& context, const std::string& module,
                          const checkpoint::TextConfig& config) {
    const checkpoint::MoeConfig& moe = *config.moe;
    Matrix y = swiglu(x, context, module + "shared_expert.", moe.shared_expert_intermediate_size);
    const Matrix gate = linear(x, context, module + "shared_expert_gate.weight", 0, 1);
    for (Index t = 0; t < x.rows(); ++t) {
        y.row(t) *= static_cast<float>(sigmoid(gate(t, 0)));
    }
    const std::vector<std::vector<Choice>> chosen =
        route(linear(x, context, module + "gate.weight", 0, moe.num_experts), moe);
    for (std::size_t e = 0; e < chosen.size(); ++e) {
        if (chosen[e].empty()) {
            continue;
        }
        Matrix part(static_cast<Index>(chosen[e].size()), x.cols());
        for (Index i = 0; i < part.rows(); ++i) {
            part.row(i) = x.row(chosen[e][static_cast<std::size_t>(i)].token);
        }
        const Matrix made = swiglu(part, context, module + "experts.", moe.moe_intermediate_size, e);
        for (Index i = 0; i < part.rows(); ++i) {
            const Choice& choice = chosen[e][static_cast<std::size_t>(i)];
            y.row(choice.token) += static_cast<float>(choice.weight) * made.row(i);
        }
    }
    return y;
}

}  // namespace deltavino::reference
