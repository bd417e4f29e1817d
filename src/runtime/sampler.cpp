// Greedy choice and temperature / top-k / top-p / min-p sampling. Ground truth for the order of the steps and
// for what top-p keeps: transformers, generation/logits_process.py. Beams are not done here.
#include "runtime/sampler.hpp"

#include "base/error.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace deltavino::runtime {
namespace {

void require_finite(std::span<const float> logits) {
    for (std::size_t i = 0; i < logits.size(); ++i) {
        if (!std::isfinite(logits[i])) {
            fail(ErrorKind::Input,
                 "cannot choose a token: the model computed {} as the logit of token {}; its weights are damaged or it "
                 "overflows in this precision (try --precision f32)",
                 logits[i], i);
        }
    }
}

void require_positive(double value, const char* name) {
    if (!std::isfinite(value) || value <= 0.0) {
        fail(ErrorKind::Usage, "{} is {}, expected more than 0", name, value);
    }
}

}  // namespace

Sampler::Sampler(SamplingSettings settings, std::uint64_t seed, std::vector<std::int64_t> eos_ids)
    : settings_(std::move(settings)), eos_ids_(std::move(eos_ids)), random_(seed) {
    if (!std::isfinite(settings_.temperature) || settings_.temperature < 0.0) {
        fail(ErrorKind::Usage, "temperature is {}, expected 0 (the most likely token) or more", settings_.temperature);
    }
    if (!(settings_.top_p > 0.0 && settings_.top_p <= 1.0)) {
        fail(ErrorKind::Usage, "top-p is {}, expected more than 0 and at most 1", settings_.top_p);
    }
    if (!(settings_.min_p >= 0.0 && settings_.min_p <= 1.0)) {
        fail(ErrorKind::Usage, "min-p is {}, expected 0 to 1", settings_.min_p);
    }
    require_positive(settings_.logits.repetition_penalty, "repetition penalty");
    require_positive(settings_.logits.encoder_repetition_penalty, "encoder repetition penalty");
    if (!std::isfinite(settings_.logits.presence_penalty) || !std::isfinite(settings_.logits.frequency_penalty)) {
        fail(ErrorKind::Usage, "presence and frequency penalty are {} and {}, expected numbers",
             settings_.logits.presence_penalty, settings_.logits.frequency_penalty);
    }
}

std::int64_t Sampler::next(std::span<float> logits, TokenContext context) {
    if (logits.empty()) {
        fail(ErrorKind::Internal, "there are no logits to choose from");
    }
    require_finite(logits);
    process_logits(logits, settings_.logits, context, eos_ids_);
    const auto best = std::max_element(logits.begin(), logits.end());
    if (std::isinf(*best)) {
        fail(ErrorKind::Input, "cannot choose a token: the settings of generation_config.json forbid every token");
    }
    if (!settings_.sample || settings_.temperature == 0.0 || settings_.top_k == 1) {
        return best - logits.begin();
    }
    return draw(logits);
}

std::int64_t Sampler::draw(std::span<const float> logits) {
    order_.resize(logits.size());
    std::iota(order_.begin(), order_.end(), 0);
    const auto likelier = [logits](std::int64_t a, std::int64_t b) {
        const float left = logits[static_cast<std::size_t>(a)];
        const float right = logits[static_cast<std::size_t>(b)];
        return left > right || (left == right && a < b);  // ties by id: the order never depends on the sort
    };
    std::size_t kept = order_.size();
    if (settings_.top_k > 0 && settings_.top_k < kept) {
        kept = static_cast<std::size_t>(settings_.top_k);
        std::partial_sort(order_.begin(), order_.begin() + static_cast<std::ptrdiff_t>(kept), order_.end(), likelier);
    } else {
        std::sort(order_.begin(), order_.end(), likelier);
    }
    const double best = logits[static_cast<std::size_t>(order_.front())];
    weights_.resize(kept);
    double total = 0.0;
    for (std::size_t i = 0; i < kept; ++i) {
        weights_[i] = std::exp((logits[static_cast<std::size_t>(order_[i])] - best) / settings_.temperature);
        total += weights_[i];
    }
    if (settings_.top_p < 1.0) {
        double sum = 0.0;
        for (std::size_t i = 0; i < kept; ++i) {
            sum += weights_[i];
            if (sum >= settings_.top_p * total) {  // the token that crosses the border stays in
                kept = i + 1;
                total = sum;
            }
        }
    }
    if (settings_.min_p > 0.0) {
        double sum = 0.0;
        std::size_t likely = 0;
        while (likely < kept && weights_[likely] >= settings_.min_p * weights_.front()) {
            sum += weights_[likely++];
        }
        kept = likely;
        total = sum;
    }
    // 53 random bits, not std::uniform_real_distribution, whose result is up to the library.
    const double target = static_cast<double>(random_() >> 11) * 0x1p-53 * total;
    double sum = 0.0;
    for (std::size_t i = 0; i < kept; ++i) {
        sum += weights_[i];
        if (target < sum) {
            return order_[i];
        }
    }
    return order_[kept - 1];
}

}  // namespace deltavino::runtime
