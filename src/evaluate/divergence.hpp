// How far two rows of logits are apart.
#pragma once

#include <cstddef>
#include <span>

namespace deltavino::evaluation {

// Of one row of logits: what log softmax needs, and the most likely token.
struct LogitRow {
    std::span<const float> logits;
    double log_sum = 0.0;
    std::size_t best = 0;

    double log_probability(std::size_t token) const { return static_cast<double>(logits[token]) - log_sum; }
};

// `logits` must not be empty. log_sum is not finite when a logit is not.
LogitRow make_row(std::span<const float> logits);

// KL(truth || judged) in nats; both rows have the same length. Rounding can leave equal rows a little below zero.
double kl_divergence(const LogitRow& truth, const LogitRow& judged);

}  // namespace deltavino::evaluation
