// The reference on a checkpoint: the truth that exported directories are measured against.
#pragma once

#include "checkpoint/checkpoint.hpp"
#include "checkpoint/config.hpp"
#include "evaluate/directory_model.hpp"
#include "reference/checkpoint_weights.hpp"
#include "reference/text_model.hpp"

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

namespace deltavino::evaluation {

using reference::Matrix;

class Truth {
public:
    // Reads the tables of the checkpoint. Throws Error as Checkpoint and read_config() do. `adapter`: a LoRA adapter
    // to merge; empty: none. `threads`: 0 takes one per core. `stop`, when given, is asked after each layer; true ends
    // the work with ErrorKind::Cancelled.
    Truth(const std::filesystem::path& checkpoint, const std::filesystem::path& adapter, unsigned threads,
          StopCheck stop = {});

    const checkpoint::ModelConfig& config() const { return config_; }
    const reference::WeightSource& weights() const { return weights_; }
    std::uint64_t language_bytes() const;  // of the tensors of the language model as stored

    // The text model of the checkpoint's geometry on these weights, which must outlive it.
    reference::TextModel model_on(const reference::WeightSource& weights) const;

    // Logits [wanted, vocabulary] of a text at some of its positions.
    Matrix logits(std::span<const std::int64_t> ids, const std::vector<std::size_t>& wanted) const;

    // Throws ErrorKind::Cancelled when the work is to end.
    void stop_if_asked() const { evaluation::stop_if_asked(stop_); }

private:
    checkpoint::Checkpoint checkpoint_;
    checkpoint::ModelConfig config_;
    bool tied_head_;
    reference::CheckpointWeights weights_;
    unsigned threads_;
    StopCheck stop_;
};

}  // namespace deltavino::evaluation
