// Chooses the next token from the logits.
#pragma once

#include "runtime/logits_processors.hpp"

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
    double min_p = 0.0;  // tokens with less than this share of the best one's probability are left out
    LogitsSettings logits;
};

// Order of the steps, as in transformers: what LogitsSettings says, temperature, top-k, top-p, min-p. The
// same settings, seed and logits give the same tokens on every machine.
class Sampler {
public:
    // Throws ErrorKind::Usage for settings outside their range. `eos_ids`: the ends of an answer.
    Sampler(SamplingSettings settings, std::uint64_t seed, std::vector<std::int64_t> eos_ids = {});

    // `logits` is overwritten. Throws ErrorKind::Input when a logit is not finite, or when the settings
    // forbid every token: there is no meaningful next token then.
    std::int64_t next(std::span<float> logits, TokenContext context);

private:
    std::int64_t draw(std::span<const float> logits);

    SamplingSettings settings_;
    std::vector<std::int64_t> eos_ids_;
    std::mt19937_64 random_;
    std::vector<std::int64_t> order_;  // reused: token ids, most likely first
    std::vector<double> weights_;      // reused
};

}  // namespace deltavino::runtime
