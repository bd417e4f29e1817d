#include "reference/rotary.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

namespace deltavino::reference {

Positions sequential_positions(std::uint64_t tokens) {
    std::vector<std::int64_t> row(static_cast<std::size_t>(tokens));
    std::iota(row.begin(), row.end(), 0);
    return {row, row, row};
}

namespace {

// The frequency, as a fraction of their count, that turns `rotations` times within the original length.
double turning(double rotations, const checkpoint::RopeConfig& config) {
    return static_cast<double>(config.rotary_dims) *
           std::log(config.yarn->original_max_position_embeddings / (rotations * 2.0 * std::numbers::pi)) /
           (2.0 * std::log(config.rope_theta));
}

// What YaRN multiplies frequency j by.
double yarn_scale(Index j, const checkpoint::RopeConfig& config) {
    double fast = turning(config.yarn->beta_fast, config);
    double slow = turning(config.yarn->beta_slow, config);
    if (config.yarn->truncate) {
        fast = std::floor(fast);
        slow = std::ceil(slow);
    }
    fast = std::max(fast, 0.0);
    slow = std::min(slow, static_cast<double>(config.rotary_dims - 1));
    slow += fast == slow ? 0.001 : 0.0;
    const double stretched = std::clamp((static_cast<double>(j) - fast) / (slow - fast), 0.0, 1.0);
    return stretched / config.yarn->factor + (1.0 - stretched);
}

}  // namespace

Rotary::Rotary(const checkpoint::RopeConfig& config, const Positions& positions) {
    const double attention_factor = config.yarn ? config.yarn->attention_factor : 1.0;
    const auto tokens = static_cast<Index>(positions[0].size());
    const auto half = static_cast<Index>(config.rotary_dims / 2);
    cos_.resize(tokens, half);
    sin_.resize(tokens, half);
    for (Index j = 0; j < half; ++j) {
        const double frequency =
            std::pow(config.rope_theta, -2.0 * static_cast<double>(j) / static_cast<double>(config.rotary_dims)) *
            (config.yarn ? yarn_scale(j, config) : 1.0);
        std::size_t axis = static_cast<std::size_t>(j % 3);
        if (config.mrope_section.size() != 3 || static_cast<std::uint64_t>(j) >= 3 * config.mrope_section[axis]) {
            axis = 0;
        }
        for (Index t = 0; t < tokens; ++t) {
            const double angle = static_cast<double>(positions[axis][static_cast<std::size_t>(t)]) * frequency;
            cos_(t, j) = std::cos(angle) * attention_factor;
            sin_(t, j) = std::sin(angle) * attention_factor;
        }
    }
}

void Rotary::apply(MatrixRef x, std::uint64_t heads) const {
    const Index half = cos_.cols();
    const Index size = x.cols() / static_cast<Index>(heads);
    for (Index t = 0; t < x.rows(); ++t) {
        for (Index head = 0; head < static_cast<Index>(heads); ++head) {
            for (Index j = 0; j < half; ++j) {
                float& first = x(t, head * size + j);
                float& second = x(t, head * size + half + j);
                const double a = first;
                const double b = second;
                first = static_cast<float>(a * cos_(t, j) - b * sin_(t, j));
                second = static_cast<float>(b * cos_(t, j) + a * sin_(t, j));
            }
        }
    }
}

}  // namespace deltavino::reference
