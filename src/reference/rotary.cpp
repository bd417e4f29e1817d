#include "reference/rotary.hpp"

#include <cmath>
#include <numeric>

namespace deltavino::reference {

Positions sequential_positions(std::uint64_t tokens) {
    std::vector<std::int64_t> row(static_cast<std::size_t>(tokens));
    std::iota(row.begin(), row.end(), 0);
    return {row, row, row};
}

Rotary::Rotary(const checkpoint::RopeConfig& config, const Positions& positions) {
    const auto tokens = static_cast<Index>(positions[0].size());
    const auto half = static_cast<Index>(config.rotary_dims / 2);
    cos_.resize(tokens, half);
    sin_.resize(tokens, half);
    for (Index j = 0; j < half; ++j) {
        const double frequency =
            std::pow(config.rope_theta, -2.0 * static_cast<double>(j) / static_cast<double>(config.rotary_dims));
        std::size_t axis = static_cast<std::size_t>(j % 3);
        if (config.mrope_section.size() != 3 || static_cast<std::uint64_t>(j) >= 3 * config.mrope_section[axis]) {
            axis = 0;
        }
        for (Index t = 0; t < tokens; ++t) {
            const double angle = static_cast<double>(positions[axis][static_cast<std::size_t>(t)]) * frequency;
            cos_(t, j) = std::cos(angle);
            sin_(t, j) = std::sin(angle);
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
