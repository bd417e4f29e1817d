// Quantization that minds what a layer puts out: the error of each column is made up for by those after it.
//
// A linear layer y = x W^T with inputs X [T, C] loses |X (W - Q)^T|^2 = tr (W - Q) H (W - Q)^T when its weights are
// stored as Q, with H = X^T X. Steps, for each row of W by itself:
//
//   1. H = R R^T with R upper triangular. Columns are rounded in order, column k as the grid's nearest value to
//      W_k + sum over j < k of (W_j - Q_j) R_jk / R_kk. The grid of a group is searched when its turn comes, on values
//      with the error so far, each weighed by H_kk.
//   2. Some times over: the best scale of each group under all of H, for the codes as they are; then for each code
//      the best one, all others held.
//
// Source of the first step: Frantar et al., "GPTQ"; in this form Chee et al., "QuIP", which proves the two the same.
#pragma once

#include "quant/packed.hpp"
#include "quant/quantize.hpp"
#include "quant/scheme.hpp"

#include <cstdint>
#include <span>
#include <vector>

namespace deltavino::quant {

class ErrorFeedback {
public:
    // `moments`: H [columns, columns], symmetric. `damping` times the mean of its diagonal is added to the diagonal;
    // more where that is too little for a factorization. Peak memory: two of these matrices. Throws ErrorKind::Input
    // when H is not finite or zero.
    ErrorFeedback(std::uint64_t columns, std::vector<float> moments, double damping);

    std::uint64_t columns() const { return columns_; }

    // target = W + share * W D (H + damping)^-1 for rows of W, with D = (F - X)^T X: when F is what the layer should
    // have got and X what it gets, `target` on X is nearer to W on F. `transposed`: D^T. share 0..1.
    void correct(std::span<const float> rows, std::span<const float> transposed, float share,
                 std::span<float> target) const;

    // Rows of a target as codes of `scheme`, an integer format of 4 bit. Rows do not depend on each other, and the
    // same input gives the same codes; a few dozen rows at once are fastest. Throws ErrorKind::Internal for another
    // format or sizes that do not fit.
    CodeRows quantize(const Scheme& scheme, std::span<const float> target) const;

    // tr E H E^T, damping included, for rows of E: the squared error of what the layer puts out.
    double output_error(std::span<const float> errors) const;

private:
    class Block;

    std::uint64_t columns_;
    std::vector<float> moments_;  // damped
    std::vector<float> factor_;   // R^T, lower triangular; what is above is of no use
};

// The codes of rows that quantize_rows() wrote.
CodeRows codes_of(const Scheme& scheme, std::uint64_t rows, std::uint64_t columns, const QuantizedView& in);

}  // namespace deltavino::quant
