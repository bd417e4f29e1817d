// The layers that all parts of the network are made of, in plain loops.
//
// x [T, C]: T tokens of C channels. Sums run in double: the reference must be closer to the exact result
// than what it judges.
#pragma once

#include "reference/weights.hpp"

#include <span>
#include <string>
#include <vector>

namespace deltavino::reference {

// Hears what goes into every product of a linear layer, before its weights are read.
class LinearTap {
public:
    virtual ~LinearTap() = default;
    // Rows [first, first + rows) of the weight will be multiplied with x [T, C]. May throw to stop.
    virtual void input(const std::string& name, std::uint64_t first, std::uint64_t rows, ConstMatrixRef x) = 0;
};

// What every layer needs: its weights by name, and how many threads may work.
struct Context {
    const WeightSource& weights;
    unsigned threads = 0;      // 0: one per core
    LinearTap* tap = nullptr;  // null: nobody listens
};

// Rows [first, first + rows) of a weight with as many columns as x: y = x W^T, [T, rows]. The weight is read
// in blocks of rows, so that it never stands in memory as a whole.
Matrix linear(ConstMatrixRef x, const Context& context, const std::string& name, std::uint64_t first,
              std::uint64_t rows);

// y = x W^T + b.
Matrix biased_linear(ConstMatrixRef x, const Context& context, const std::string& module, std::uint64_t rows);

// y = x / sqrt(mean(x^2) + eps) * (1 + w). Source: transformers `Qwen3_5RMSNorm`. In neighbouring parts of w's
// size when x is wider: one part per head.
Matrix zero_centred_norm(ConstMatrixRef x, const Vector& weight, double eps);

// y = (x - mean(x)) / sqrt(var(x) + 1e-6) * w + b. Source: torch `LayerNorm` with the eps of the tower.
Matrix layer_norm(ConstMatrixRef x, const Context& context, const std::string& module);

// W_down (silu(W_gate x) * W_up x) with the rows of each weight that belong to expert `index` of many; 0 for a
// layer of its own. `inner`: rows of gate and up. Source: transformers `Qwen3_5MLP`.
Matrix swiglu(ConstMatrixRef x, const Context& context, const std::string& module, std::uint64_t inner,
              std::uint64_t index = 0);

double sigmoid(double x);
double silu(double x);

}  // namespace deltavino::reference
