// Greedy choice and temperature / top-k / top-p sampling. Ground truth for the order of the steps and
// for what top-p keeps: transformers, generation/logits_process.py. Beams are not done here.
#include "runtime/sampler.hpp"

#include "base/error.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <unordered_set>

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

void penalize(std::span<float> logits, std::span<const std::int64_t> context, double penalty) {
    const std::unordered_set<std::int64_t> seen(context.begin(), context.end());
    for (const std::int64_t id : seen) {
        if (id >= 0 && static_cast<std::size_t>(id) < logits.size()) {
            float& logit = logits[static_cast<std::size_t>(id)];
            logit = static_cast<float>(logit > 0.0f ? logit / penalty : logit * penalty);
        }
    }
}

}  // namespace

Sampler::Sampler(const SamplingSettings& settings, std::uint64_t seed) : settings_(settings), random_(seed) {
    if (!std::isfinite(settings.temperature) || settings.temperature < 0.0) {
        fail(ErrorKind::Usage, "temperature is {}, expected 0 (the most likely token) or more", settings.temperature);
    }
    if (!(settings.top_p > 0.0 && settings.top_p <= 1.0)) {
        fail(ErrorKind::Usage, "top-p is {}, expected more than 0 and at most 1", settings.top_p);
    }
    if (!std::isfinite(settings.repetition_penalty) || settings.repetition_penalty <= 0.0) {
        fail(ErrorKind::Usage, "repetition penalty is {}, expected more than 0", settings.repetition_penalty);
    }
}

std::int64_t Sampler::next(std::span<float> logits, std::span<const std::int64_t> context) {
    if (logits.empty()) {
        fail(ErrorKind::Internal, "there are no logits to choose from");
    }
    require_finite(logits);
    if (settings_.repetition_penalty != 1.0) {
        penalize(logits, context, settings_.repetition_penalty);
    }
    if (!settings_.sample || settings_.temperature == 0.0 || settings_.top_k == 1) {
        return std::max_element(logits.begin(), logits.end()) - logits.begin();
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
