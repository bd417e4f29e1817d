// Where the reference gets its weights from: rows of float32, read when they are needed.
//
// A name is that of the text-only class of transformers, whatever the checkpoint calls the tensor or however
// it cuts it: 'model.layers.0.linear_attn.in_proj_qkv.weight'. The experts of a layer are one weight,
// 'model.layers.0.mlp.experts.gate_proj.weight', expert after expert.
#pragma once

#include "reference/matrix.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace deltavino::reference {

class WeightSource {
public:
    virtual ~WeightSource() = default;

    // Fills `out` [rows, columns] with the rows from `first` on, seen as a matrix whose columns are the last
    // dimension. Called from several threads at once. Throws Error when the weight is absent or too short.
    virtual void read_rows(const std::string& name, std::uint64_t first, MatrixRef out) const = 0;

    // Whether the head has weights of its own although the checkpoint's is the embedding.
    virtual bool has_own_head() const { return false; }

    // All `count` values of a small one: a norm, a bias.
    Vector vector(const std::string& name, std::uint64_t count) const {
        Matrix row(1, static_cast<Index>(count));
        read_rows(name, 0, row);
        return row.row(0).transpose();
    }
};

}  // namespace deltavino::reference
