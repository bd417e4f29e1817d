#include "quant/error_feedback.hpp"

#include "base/checked.hpp"
#include "base/error.hpp"
#include "base/half.hpp"
#include "quant/product.hpp"

#include <Eigen/Cholesky>
#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <cstring>

namespace deltavino::quant {
namespace {

using Floats = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

constexpr int kRounds = 3;  // of step 2; later ones change next to nothing
constexpr float kSmallestScale = 0x1p-24f;
constexpr float kLargestScale = 65504.0f;

float mean_of_diagonal(std::uint64_t columns, const std::vector<float>& matrix) {
    double sum = 0.0;
    for (std::uint64_t i = 0; i < columns; ++i) {
        sum += matrix[i * columns + i];
    }
    return static_cast<float>(sum / static_cast<double>(columns));
}

void add_to_diagonal(std::uint64_t columns, float amount, std::vector<float>& matrix) {
    for (std::uint64_t i = 0; i < columns; ++i) {
        matrix[i * columns + i] += amount;
    }
}

// R^T of H = R R^T, row after row; empty when H is not positive enough. The lower factor of H read backwards is R
// read backwards, and Eigen's columns are our rows.
std::vector<float> upper_factor(std::uint64_t columns, const std::vector<float>& moments) {
    std::vector<float> factor(moments.rbegin(), moments.rend());
    const auto size = static_cast<Eigen::Index>(columns);
    Eigen::Map<Eigen::MatrixXf> matrix(factor.data(), size, size);
    const Eigen::LLT<Eigen::Ref<Eigen::MatrixXf>, Eigen::Lower> decomposition(matrix);
    const bool good =
        decomposition.info() == Eigen::Success && matrix.diagonal().allFinite() && matrix.diagonal().minCoeff() > 0.0f;
    std::reverse(factor.begin(), factor.end());
    return good ? std::move(factor) : std::vector<float>();
}

float storable(float scale) {
    const float size = std::clamp(std::abs(half::from_f16(half::to_f16(scale))), kSmallestScale, kLargestScale);
    return std::copysign(size, scale);
}

}  // namespace

// Some rows on their way. Codes are unsigned, as in CodeRows.
class ErrorFeedback::Block {
public:
    Block(const ErrorFeedback& feedback, const Scheme& scheme, std::span<const float> target)
        : feedback_(feedback),
          scheme_(scheme),
          columns_(feedback.columns_),
          rows_(target.size() / feedback.columns_),
          target_(target),
          errors_(target.size()) {
        codes_.bits = 4;
        codes_.rows = rows_;
        codes_.columns = columns_;
        codes_.group = scheme.group_size == 0 ? columns_ : scheme.group_size;
        codes_.resize();
        levels_.resize(target.size());
    }

    CodeRows run() {
        for (std::uint64_t group = 0; group < codes_.groups(); ++group) {
            round_group(group);
        }
        gradient_.resize(errors_.size());
        temporary_.resize(errors_.size());
        product(rows_of(errors_, 0), moments(0, columns_), columns_, gradient_.data(), columns_);
        for (int round = 0; round < kRounds; ++round) {
            for (std::uint64_t group = 0; group < codes_.groups(); ++group) {
                fit_scales(group);
            }
            improve_codes();
        }
        for (std::uint64_t i = 0; i < levels_.size(); ++i) {
            codes_.codes[i / 2] |= static_cast<std::byte>(levels_[i] << (i % 2 * 4));
        }
        return std::move(codes_);
    }

private:
    ProductRows rows_of(const std::vector<float>& values, std::uint64_t column) const {
        return {values.data() + column, rows_, columns_};
    }
    // Rows of H from `column` on; H is symmetric, so these are its columns, too.
    ProductRows moments(std::uint64_t column, std::uint64_t rows) const {
        return {feedback_.moments_.data() + column, rows, columns_};
    }
    float& scale(std::uint64_t row, std::uint64_t group) { return codes_.scales[row * codes_.groups() + group]; }
    int zero(std::uint64_t row, std::uint64_t group) const { return codes_.zero_points[row * codes_.groups() + group]; }

    // Step 1 for the columns of one group.
    void round_group(std::uint64_t group) {
        const std::uint64_t first = group * codes_.group;
        const std::uint64_t width = codes_.group;
        std::vector<float> wanted(rows_ * width);
        const float* factor = feedback_.factor_.data() + first * columns_;
        product(rows_of(errors_, 0), {factor, width, columns_}, first, wanted.data(), width);
        std::vector<float> importance(width);
        for (std::uint64_t k = 0; k < width; ++k) {
            const float diagonal = factor[k * columns_ + first + k];
            importance[k] = feedback_.moments_[(first + k) * columns_ + first + k];
            for (std::uint64_t row = 0; row < rows_; ++row) {
                float& value = wanted[row * width + k];
                value = target_[row * columns_ + first + k] + value / diagonal;
            }
        }
        search_grid(group, wanted, importance);
        for (std::uint64_t k = 0; k < width; ++k) {
            const float* column = factor + k * columns_ + first;
            for (std::uint64_t row = 0; row < rows_; ++row) {
                float* errors = errors_.data() + row * columns_ + first;
                const float value = wanted[row * width + k] + dot(errors, column, k) / column[k];
                errors[k] = target_[row * columns_ + first + k] - set_code(row, group, first + k, value);
            }
        }
    }

    void search_grid(std::uint64_t group, const std::vector<float>& wanted, const std::vector<float>& importance) {
        const std::uint64_t width = codes_.group;
        const Scheme scheme{scheme_.format, scheme_.group_size};
        const RowBlock block{reinterpret_cast<const std::byte*>(wanted.data()), SourceType::F32, rows_, width, false};
        quantize_rows(scheme, Search::LeastError, block, importance, buffers_.resized(scheme, rows_, width));
        const CodeRows found = codes_of(scheme, rows_, width, {buffers_.packed, buffers_.zero_points, buffers_.scales});
        for (std::uint64_t row = 0; row < rows_; ++row) {
            scale(row, group) = storable(found.scales[row]);
            codes_.zero_points[row * codes_.groups() + group] = found.zero_points[row];
        }
    }

    // The level nearest to `value`; returns what it stands for.
    float set_code(std::uint64_t row, std::uint64_t group, std::uint64_t column, float value) {
        const float unit = scale(row, group);
        const auto offset = static_cast<float>(zero(row, group));
        // Not a number, which only a broken layer makes, becomes 0.
        const float level = std::fmin(std::fmax(std::nearbyint(value / unit) + offset, 0.0f), 15.0f);
        levels_[row * columns_ + column] = static_cast<std::uint8_t>(level);
        return (level - offset) * unit;
    }

    // The scale of least error for the codes of each row's group.
    void fit_scales(std::uint64_t group) {
        const std::uint64_t first = group * codes_.group;
        const std::uint64_t width = codes_.group;
        std::vector<float> levels(rows_ * width);
        std::vector<float> turned(rows_ * width);
        for (std::uint64_t row = 0; row < rows_; ++row) {
            for (std::uint64_t k = 0; k < width; ++k) {
                levels[row * width + k] = static_cast<float>(levels_[row * columns_ + first + k] - zero(row, group));
            }
        }
        const ProductRows of_group{levels.data(), rows_, width};
        product(of_group, {feedback_.moments_.data() + first * columns_ + first, width, columns_}, width, turned.data(),
                width);
        for (std::uint64_t row = 0; row < rows_; ++row) {
            float* own = levels.data() + row * width;
            const float slope = dot(gradient_.data() + row * columns_ + first, own, width);
            const float square = dot(turned.data() + row * width, own, width);
            const float before = scale(row, group);
            const float after = square > 0.0f ? storable(before + slope / square) : before;
            const float change = after - before;
            const bool better = std::isfinite(change) && change * (change * square - 2.0f * slope) < 0.0f;
            scale(row, group) = better ? after : before;
            for (std::uint64_t k = 0; k < width; ++k) {
                own[k] *= better ? change : 0.0f;
                errors_[row * columns_ + first + k] -= own[k];
            }
        }
        product(of_group, moments(first, columns_), width, temporary_.data(), columns_);
        for (std::uint64_t i = 0; i < gradient_.size(); ++i) {
            gradient_[i] -= temporary_[i];
        }
    }

    // Each code in turn becomes the best one, all others held.
    void improve_codes() {
        for (std::uint64_t column = 0; column < columns_; ++column) {
            const float* moments = feedback_.moments_.data() + column * columns_;
            const std::uint64_t group = column / codes_.group;
            for (std::uint64_t row = 0; row < rows_; ++row) {
                const std::uint64_t at = row * columns_ + column;
                const std::uint8_t level = levels_[at];
                const float before = static_cast<float>(level - zero(row, group)) * scale(row, group);
                const float after = set_code(row, group, column, before + gradient_[at] / moments[column]);
                if (levels_[at] != level) {
                    const float change = after - before;
                    errors_[at] -= change;
                    add_scaled(moments, -change, columns_, gradient_.data() + row * columns_);
                }
            }
        }
    }

    const ErrorFeedback& feedback_;
    const Scheme& scheme_;
    std::uint64_t columns_;
    std::uint64_t rows_;
    std::span<const float> target_;
    std::vector<float> errors_;    // target - what the codes stand for; 0 where none is chosen yet
    std::vector<float> gradient_;  // errors H
    std::vector<float> temporary_;
    std::vector<std::uint8_t> levels_;  // one code each
    CodeRows codes_;
    QuantizedBuffers buffers_;
};

ErrorFeedback::ErrorFeedback(std::uint64_t columns, std::vector<float> moments, double damping)
    : columns_(columns), moments_(std::move(moments)) {
    if (moments_.size() != checked_multiply(columns, columns)) {
        fail(ErrorKind::Internal, "moments of {} columns have {} values", columns, moments_.size());
    }
    const float mean = mean_of_diagonal(columns, moments_);
    if (!std::isfinite(mean) || mean <= 0.0f) {
        fail(ErrorKind::Input, "what goes into the layer is {}", mean == 0.0f ? "zero" : "not finite");
    }
    // Sums of float32 can lose the smallest directions of a large matrix: more damping brings them back.
    constexpr int kTrials = 4;
    for (int trial = 0; trial < kTrials && factor_.empty(); ++trial) {
        const double total = damping * std::pow(10.0, trial);
        const double added = trial == 0 ? 0.0 : total / 10.0;
        add_to_diagonal(columns, static_cast<float>((total - added) * mean), moments_);
        factor_ = upper_factor(columns, moments_);
    }
    if (factor_.empty()) {
        fail(ErrorKind::Input, "what goes into the layer is not finite");
    }
}

void ErrorFeedback::correct(std::span<const float> rows, std::span<const float> transposed, float share,
                            std::span<float> target) const {
    const std::uint64_t count = rows.size() / columns_;
    const auto size = static_cast<Eigen::Index>(columns_);
    Floats moved(static_cast<Eigen::Index>(count), size);
    product({rows.data(), count, columns_}, {transposed.data(), columns_, columns_}, columns_, moved.data(), columns_);
    const Eigen::Map<const Floats> factor(factor_.data(), size, size);
    factor.triangularView<Eigen::Lower>().solveInPlace<Eigen::OnTheRight>(moved);
    factor.transpose().triangularView<Eigen::Upper>().solveInPlace<Eigen::OnTheRight>(moved);
    for (std::uint64_t i = 0; i < rows.size(); ++i) {
        target[i] = rows[i] + share * moved.data()[i];
    }
}

CodeRows ErrorFeedback::quantize(const Scheme& scheme, std::span<const float> target) const {
    const FormatTraits& format = traits(scheme.format);
    if (!format.integer || format.bits != 4 || !why_unfit(scheme, columns_).empty() || target.empty() ||
        target.size() % columns_ != 0) {
        fail(ErrorKind::Internal, "cannot store {} values in rows of {} with error feedback as {}", target.size(),
             columns_, scheme_text(scheme));
    }
    return Block(*this, scheme, target).run();
}

double ErrorFeedback::output_error(std::span<const float> errors) const {
    const std::uint64_t rows = errors.size() / columns_;
    std::vector<float> turned(errors.size());
    product({errors.data(), rows, columns_}, {moments_.data(), columns_, columns_}, columns_, turned.data(), columns_);
    double sum = 0.0;
    for (std::uint64_t i = 0; i < errors.size(); ++i) {
        sum += static_cast<double>(errors[i]) * turned[i];
    }
    return sum;
}

CodeRows codes_of(const Scheme& scheme, std::uint64_t rows, std::uint64_t columns, const QuantizedView& in) {
    const FormatTraits& format = traits(scheme.format);
    CodeRows out;
    out.bits = format.bits;
    out.rows = rows;
    out.columns = columns;
    out.group = scheme.group_size == 0 ? columns : scheme.group_size;
    out.resize();
    if (!format.integer || in.packed.size() != out.codes.size() || in.scales.size() != out.scales.size() * 2) {
        fail(ErrorKind::Internal, "cannot read codes of [{}, {}] of {}", rows, columns, scheme_text(scheme));
    }
    // A signed code is the unsigned one with its highest bit turned.
    const auto flip = static_cast<std::byte>(format.zero_point ? 0u : out.bits == 4 ? 0x88u : 0x80u);
    std::transform(in.packed.begin(), in.packed.end(), out.codes.begin(), [&](std::byte code) { return code ^ flip; });
    for (std::uint64_t i = 0; i < out.scales.size(); ++i) {
        std::uint16_t scale = 0;
        std::memcpy(&scale, in.scales.data() + i * 2, 2);
        out.scales[i] = half::from_f16(scale);
        if (format.zero_point) {
            const auto byte = std::to_integer<unsigned>(in.zero_points[out.bits == 4 ? i / 2 : i]);
            out.zero_points[i] = static_cast<std::uint8_t>(out.bits == 4 ? byte >> (i % 2 * 4) & 15u : byte);
        }
    }
    return out;
}

}  // namespace deltavino::quant
