#include "evaluate/divergence.hpp"

#include <algorithm>
#include <cmath>

namespace deltavino::evaluation {

LogitRow make_row(std::span<const float> logits) {
    LogitRow row{logits, 0.0, 0};
    row.best = static_cast<std::size_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
    const auto largest = static_cast<double>(logits[row.best]);
    double sum = 0.0;
    for (float logit : logits) {
        sum += std::exp(static_cast<double>(logit) - largest);
    }
    row.log_sum = largest + std::log(sum);
    return row;
}

double kl_divergence(const LogitRow& truth, const LogitRow& judged) {
    double sum = 0.0;
    for (std::size_t token = 0; token < truth.logits.size(); ++token) {
        const double p = truth.log_probability(token);
        sum += std::exp(p) * (p - judged.log_probability(token));
    }
    return sum;
}

}  // namespace deltavino::evaluation
