// The multi-token-prediction model of an exported directory with its states: it guesses the tokens that the language
// model will choose.
//
// At each place it reads a pair: the language model's hidden state of a token, and the embedding of the token after
// it. For a second guess its own hidden state takes the place of the language model's; what was read so is forgotten
// before the next pairs, so its states never depend on guesses.
#pragma once

#include "runtime/language_model.hpp"

#include <openvino/openvino.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <vector>

namespace deltavino::runtime {

class Drafter {
public:
    // `language`: the language model as it was read; its head makes logits of what this one says. Throws
    // ErrorKind::Input when the directory has no such model, ErrorKind::Unsupported when it has other inputs.
    Drafter(ov::Core& core, const std::filesystem::path& directory, const ov::Model& language,
            const DeviceSettings& settings);

    // Tokens that the language model has read after those of earlier calls: what it read and its hidden states, both
    // [tokens, width]. They are read in pieces, or together with the next draft.
    void observe(std::span<const float> embeddings, std::span<const float> hidden, const StopCheck& stop = {});

    // The `count` tokens that are likeliest after a token that follows those observed. `embedding`: its own [width];
    // `embed` gives that of any other token.
    using Embed = std::function<std::vector<float>(std::int64_t id)>;
    std::vector<std::int64_t> draft(std::span<const float> embedding, std::size_t count, const Embed& embed);

    void reset();

    // A place to come back to.
    struct Mark {
        std::size_t pairs = 0;
        std::vector<float> waiting_embeddings;
        std::vector<float> waiting_hidden;
        std::vector<float> last_hidden;
    };
    Mark mark() const { return {pairs_, waiting_embeddings_, waiting_hidden_, last_hidden_}; }
    void rewind(const Mark& mark);

private:
    void read(std::span<const float> embeddings, std::span<const float> hidden, const StopCheck& stop);
    void read_waiting(const StopCheck& stop);
    void forget_guesses();

    ov::InferRequest request_;
    std::size_t width_ = 0;
    std::size_t read_ = 0;   // pairs that the states hold
    std::size_t pairs_ = 0;  // of these from the front, that are no guesses
    std::vector<float> waiting_embeddings_;
    std::vector<float> waiting_hidden_;
    std::vector<float> last_hidden_;  // of the last observed token; empty before the first
    std::vector<std::int64_t> mask_;
};

}  // namespace deltavino::runtime
