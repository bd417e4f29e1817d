#include "blocks/rope.hpp"

#include <algorithm>
#include <cmath>

namespace deltavino::blocks {

using namespace graph;

namespace {

// frequencies [B or 1, S, R/2]
Rotary rotary_of(const Value& frequencies, const checkpoint::RopeConfig& config) {
    const Value angles = concat({frequencies, frequencies}, -1);  // [B, S, R]
    return {unsqueeze(graph::cos(angles), integer(1)), unsqueeze(graph::sin(angles), integer(1)),
            static_cast<std::int64_t>(config.rotary_dims), config.yarn ? config.yarn->attention_factor : 1.0};
}

// The frequency, as a fraction of an index, that turns `turns` times within the original length.
double frequency_of(double turns, const checkpoint::RopeConfig& config) {
    constexpr double kTwoPi = 6.283185307179586;
    return static_cast<double>(config.rotary_dims) *
           std::log(config.yarn->original_max_position_embeddings / (turns * kTwoPi)) /
           (2.0 * std::log(config.rope_theta));
}

// r_j of the header: how far a frequency is stretched.
std::vector<double> yarn_ramp(const checkpoint::RopeConfig& config) {
    double low = frequency_of(config.yarn->beta_fast, config);
    double high = frequency_of(config.yarn->beta_slow, config);
    if (config.yarn->truncate) {
        low = std::floor(low);
        high = std::ceil(high);
    }
    low = std::max(low, 0.0);
    high = std::min(high, static_cast<double>(config.rotary_dims) - 1.0);
    if (low == high) {
        high += 0.001;  // as in the source
    }
    std::vector<double> ramp;
    for (std::uint64_t j = 0; j < config.rotary_dims / 2; ++j) {
        ramp.push_back(std::clamp((static_cast<double>(j) - low) / (high - low), 0.0, 1.0));
    }
    return ramp;
}

}  // namespace

std::vector<float> inverse_frequencies(const checkpoint::RopeConfig& config) {
    const std::vector<double> ramp = config.yarn ? yarn_ramp(config) : std::vector<double>(config.rotary_dims / 2, 0.0);
    const double stretched = config.yarn ? 1.0 / config.yarn->factor : 1.0;
    std::vector<float> result;
    for (std::uint64_t j = 0; j < config.rotary_dims / 2; ++j) {
        const double exponent = -2.0 * static_cast<double>(j) / static_cast<double>(config.rotary_dims);
        const double scale = ramp[j] * stretched + (1.0 - ramp[j]);
        result.push_back(static_cast<float>(std::pow(config.rope_theta, exponent) * scale));
    }
    return result;
}

Rotary sequential_rotary(const Value& past_tokens, const Value& input_ids, const checkpoint::RopeConfig& config) {
    const Value past_length = gather(shape_of(past_tokens), integer(2), integer(0));
    // The length must be gathered as [1] and squeezed: a scalar gather is not replaced in paged mode.
    const Value length = squeeze(dimension(input_ids, 1), integer(0));
    const Value positions = range(past_length, add(past_length, length));                                  // [S]
    const Value row = convert(unsqueeze(unsqueeze(positions, integer(0)), integer(1)), ov::element::f32);  // [1, 1, S]
    const std::vector<float> inverse = inverse_frequencies(config);
    const Value products = matmul(floats(inverse, {1, inverse.size(), 1}), row, false, false);  // [1, R/2, S]
    return rotary_of(transpose(products, {0, 2, 1}), config);
}

Rotary multimodal_rotary(const Value& position_ids, const checkpoint::RopeConfig& config) {
    // One matrix selects the axis of every frequency and scales it: M[axis(j) + 1, j] = theta^(-2j/R).
    const std::vector<float> inverse = inverse_frequencies(config);
    const std::vector<std::uint64_t> family_section{11, 11, 10};  // of the source, for a config without
    const std::vector<std::uint64_t>& section = config.mrope_section.empty() ? family_section : config.mrope_section;
    constexpr std::size_t kRows = 4;
    std::vector<float> selector(kRows * inverse.size(), 0.0f);
    for (std::size_t j = 0; j < inverse.size(); ++j) {
        const std::size_t axis = j < 3 * section[j % 3] ? j % 3 : 0;
        selector[(axis + 1) * inverse.size() + j] = inverse[j];
    }
    // Reorder while the positions are integers: a float16 plugin would round large ones.
    const Value per_token = convert(transpose(position_ids, {1, 2, 0}), ov::element::f32);  // [B, S, 4]
    const Value frequencies =
        matmul(per_token, floats(selector, {1, kRows, inverse.size()}), false, false);  // [B, S, R/2]
    return rotary_of(frequencies, config);
}

Rotary given_rotary(const Value& position_ids, const checkpoint::RopeConfig& config) {
    const std::vector<float> inverse = inverse_frequencies(config);
    const Value per_token = convert(unsqueeze(position_ids, integer(-1)), ov::element::f32);  // [B, S, 1]
    return rotary_of(matmul(per_token, floats(inverse, {1, 1, inverse.size()}), false, false), config);
}

Value apply_rotary(const Value& x, const Rotary& rotary) {
    const Value a = slice(x, 0, rotary.dims, 3);
    const Value first = slice(a, 0, rotary.dims / 2, 3);
    const Value second = slice(a, rotary.dims / 2, kEnd, 3);
    const Value rotated = concat({multiply(second, scalar(-1.0f)), first}, -1);
    const Value y = add(multiply(a, rotary.cos), multiply(rotated, rotary.sin));
    const bool whole_head =
        x.get_partial_shape()[3].is_static() && x.get_partial_shape()[3].get_length() == rotary.dims;
    return whole_head ? y : concat({y, slice(x, rotary.dims, kEnd, 3)}, -1);
}

}  // namespace deltavino::blocks
