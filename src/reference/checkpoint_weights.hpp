// The weights of a checkpoint as the reference names them, however the checkpoint cuts them.
//
// Two layouts differ from the names: Qwen3-Next stores q, k, v and z (and b and a) of one key head together, and
// the experts of a layer are fused or one tensor each. Source: transformers `Qwen3NextGatedDeltaNet.
// fix_query_key_value_ordering`, `Qwen3_5MoeExperts`. Weights that a quantizer stored (checkpoint/rows) are read
// row by row as what they stand for.
#pragma once

#include "checkpoint/checkpoint.hpp"
#include "checkpoint/config.hpp"
#include "checkpoint/rows/row_source.hpp"
#include "reference/weights.hpp"

#include <map>
#include <mutex>
#include <optional>

namespace deltavino::reference {

class CheckpointWeights : public WeightSource {
public:
    // Both must outlive this. Throws ErrorKind::Unsupported for a checkpoint quantized by a method that is not read.
    CheckpointWeights(const checkpoint::Checkpoint& checkpoint, const checkpoint::TextConfig& config);

    void read_rows(const std::string& name, std::uint64_t first, MatrixRef out) const override;

private:
    // A row of a weight as the checkpoint cuts it, and how many that follow it follow in the wanted one, too.
    struct Place {
        std::string weight;
        std::uint64_t row = 0;
        std::uint64_t run = 0;
    };
    Place locate(const std::string& name, std::uint64_t row) const;
    Place locate_interleaved(const std::string& module, const std::string& projection, std::uint64_t row) const;
    Place locate_expert(const std::string& module, const std::string& projection, std::uint64_t row) const;
    const checkpoint::RowLookup& lookup(const std::string& weight, std::uint64_t columns) const;

    const checkpoint::Checkpoint& checkpoint_;
    const checkpoint::TextConfig& config_;
    std::optional<checkpoint::Quantization> quantization_;
    mutable std::mutex mutex_;
    mutable std::map<std::string, checkpoint::RowLookup> lookups_;  // guarded by mutex_; entries never change
};

}  // namespace deltavino::reference
