// The weights of a checkpoint as the reference names them, however the checkpoint cuts them.
//
// Two layouts differ from the names: Qwen3-Next stores q, k, v and z (and b and a) of one key head together, and
// the experts of a layer are fused or one tensor each. Source: transformers `Qwen3NextGatedDeltaNet.
// fix_query_key_value_ordering`, `Qwen3_5MoeExperts`.
#pragma once

#include "checkpoint/checkpoint.hpp"
#include "checkpoint/config.hpp"
#include "reference/weights.hpp"

namespace deltavino::reference {

class CheckpointWeights : public WeightSource {
public:
    // Both must outlive this.
    CheckpointWeights(const checkpoint::Checkpoint& checkpoint, const checkpoint::TextConfig& config)
        : checkpoint_(checkpoint), config_(config) {}

    void read_rows(const std::string& name, std::uint64_t first, MatrixRef out) const override;

private:
    // A row of a tensor seen as a matrix, and how many that follow it follow in the weight, too.
    struct Place {
        const checkpoint::Tensor* tensor = nullptr;
        std::uint64_t row = 0;
        std::uint64_t run = 0;
    };
    Place locate(const std::string& name, std::uint64_t row, std::uint64_t columns) const;
    Place locate_interleaved(const std::string& module, const std::string& projection, std::uint64_t row) const;
    Place locate_expert(const std::string& module, const std::string& projection, std::uint64_t row) const;

    const checkpoint::Checkpoint& checkpoint_;
    const checkpoint::TextConfig& config_;
};

}  // namespace deltavino::reference
