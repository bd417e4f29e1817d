// Second moments of what goes into a linear layer, summed over many tokens.
#pragma once

#include "reference/matrix.hpp"

#include <cstdint>
#include <vector>

namespace deltavino::calibration {

// H = sum x^T x [C, C], of rows x that the quantized model puts in; when `with_drift`, also D^T = sum x^T (f - x), f
// being what the float model puts in at the same tokens. The sums do not depend on the number of threads.
class Moments {
public:
    Moments(std::uint64_t columns, bool with_drift, unsigned threads);

    // x and f [T, C]; f is not looked at without drift.
    void add(reference::ConstMatrixRef x, reference::ConstMatrixRef f);

    std::uint64_t tokens() const { return tokens_; }
    // Each may be taken once, when everything was added.
    std::vector<float> take_second();
    std::vector<float> take_drift() { return std::move(drift_); }

private:
    std::uint64_t columns_;
    unsigned threads_;
    std::uint64_t tokens_ = 0;
    std::vector<float> second_;  // lower triangle
    std::vector<float> drift_;   // empty without
};

}  // namespace deltavino::calibration
