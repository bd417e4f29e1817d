#include "calibration/moments.hpp"

#include "base/checked.hpp"
#include "quant/product.hpp"
#include "reference/parallel.hpp"

#include <algorithm>

namespace deltavino::calibration {

using reference::Index;
using reference::Matrix;

Moments::Moments(std::uint64_t columns, bool with_drift, unsigned threads) : columns_(columns), threads_(threads) {
    const auto values = static_cast<std::size_t>(checked_multiply(columns, columns));
    second_.resize(values);
    drift_.resize(with_drift ? values : 0);
}

void Moments::add(reference::ConstMatrixRef x, reference::ConstMatrixRef f) {
    constexpr std::uint64_t kRows = 48;
    const auto tokens = static_cast<std::size_t>(x.rows());
    const Matrix own = x.transpose();  // [C, T]: the sums run along rows
    const Matrix drift = drift_.empty() ? Matrix() : Matrix((f - x).transpose());
    reference::parallel_for((columns_ + kRows - 1) / kRows, threads_, [&](std::uint64_t block) {
        const std::uint64_t first = block * kRows;
        const std::uint64_t rows = std::min(kRows, columns_ - first);
        const quant::ProductRows from{own.data() + first * tokens, rows, tokens};
        std::vector<float> sums(rows * columns_);
        const auto add_to = [&](std::vector<float>& matrix, const Matrix& other, std::uint64_t columns) {
            quant::product(from, {other.data(), columns, tokens}, tokens, sums.data(), columns_);
            for (std::uint64_t row = 0; row < rows; ++row) {
                float* to = matrix.data() + (first + row) * columns_;
                const float* added = sums.data() + row * columns_;
                for (std::uint64_t column = 0; column < columns; ++column) {
                    to[column] += added[column];
                }
            }
        };
        add_to(second_, own, first + rows);
        if (!drift_.empty()) {
            add_to(drift_, drift, columns_);
        }
    });
    tokens_ += tokens;
}

std::vector<float> Moments::take_second() {
    for (std::uint64_t row = 0; row < columns_; ++row) {
        for (std::uint64_t column = row + 1; column < columns_; ++column) {
            second_[row * columns_ + column] = second_[column * columns_ + row];
        }
    }
    return std::move(second_);
}

}  // namespace deltavino::calibration
