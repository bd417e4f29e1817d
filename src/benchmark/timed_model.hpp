// A language model whose inferences are timed, of any exporter, with what its device says of it.
#pragma once

#include "runtime/inference.hpp"
#include "runtime/pieces.hpp"

#include <deltavino/bench.hpp>

#include <openvino/openvino.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace deltavino::benchmark {

// The same numbers in every process.
class Numbers {
public:
    static constexpr double kRange = 2147483648.0;

    // 0 or more, below kRange.
    std::uint64_t next() {
        state_ = state_ * 6364136223846793005ull + 1442695040888963407ull;
        return state_ >> 33;
    }

private:
    std::uint64_t state_ = 17;
};

class TimedModel {
public:
    // Takes openvino_language_model.xml when it is there, else openvino_model.xml, with tokens or embeddings as input.
    // Throws ErrorKind::Unsupported for inputs that it does not know.
    TimedModel(const BenchOptions& options, runtime::StopCheck stop);

    // Reads tokens after what was read before; the logits of the last one, valid until the next call.
    std::span<const float> read(std::span<const std::int64_t> ids);
    void reset();

    ov::Core& core() { return core_; }
    const ov::CompiledModel& compiled() const { return compiled_; }
    std::int64_t vocabulary() const { return vocabulary_; }
    const runtime::PieceSizes& pieces() const { return pieces_; }
    // The model takes embeddings and the directory has nothing that makes them of tokens.
    bool random_embeddings() const { return takes_embeddings_ && !embedder_; }
    std::vector<ov::ProfilingInfo> profile() const;

private:
    void learn_inputs(const ov::Model& model, const std::string& file);
    void load_embeddings(const BenchOptions& options);
    ov::Tensor embed(std::span<const std::int64_t> ids);
    void set_positions(std::size_t tokens);

    ov::Core core_;
    ov::CompiledModel compiled_;
    ov::InferRequest request_;
    ov::InferRequest embedder_;
    runtime::StopCheck stop_;
    Numbers numbers_;
    bool takes_embeddings_ = false;
    bool takes_beams_ = false;
    std::size_t embedding_width_ = 0;  // 0: the model does not say
    std::size_t position_rank_ = 0;    // of position_ids; 0: there are none
    std::size_t position_rows_ = 1;
    std::int64_t vocabulary_ = 0;
    runtime::PieceSizes pieces_;
    std::size_t tokens_read_ = 0;
};

}  // namespace deltavino::benchmark
