// Chooses the next token from the logits.
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <vector>

namespace deltavino::runtime {

struct SamplingSettings {
    bool sample = false;  // false: always the most likely token
    double temperature = 1.0;
    std::uint64_t top_k = 0;  // 0: all tokens
    double top_p = 1.0;
    double repetition_penalty = 1.0;  // above 1: tokens that stand in the context become less likely
};

// Order of the steps, as in transformers: repetition penalty, temperature, top-k, top-p. The same
// settings, seed and logits give the same tokens on every machine.
class Sampler {
public:
    // Throws ErrorKind::Usage for settings outside their range.
    Sampler(const SamplingSettings& settings, std::uint64_t seed);

    // `logits` is overwritten. `context`: all tokens so far, for the repetition penalty.
    // Throws ErrorKind::Input when a logit is not finite: there is no meaningful next token then.
    std::int64_t next(std::span<float> logits, std::span<const std::int64_t> context);

private:
    std::int64_t draw(std::span<const float> logits);

    SamplingSettings settings_;
    std::mt19937_64 random_;
    std::vector<std::int64_t> order_;  // reused: token ids, most likely first
    std::vector<double> weights_;      // reused
};

}  // namespace deltavino::runtime
