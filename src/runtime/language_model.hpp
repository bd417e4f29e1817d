// The language model of an exported directory with its states: what was read so far.
#pragma once

#include "runtime/inference.hpp"
#include "runtime/pieces.hpp"

#include <openvino/openvino.hpp>

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace deltavino::runtime {

// Where a model runs and how. `precision` "f32" computes and keeps states in float32; empty leaves it to
// the device. `threads`: of the device's inference; 0 leaves it to the device.
struct DeviceSettings {
    std::string device = "CPU";
    std::string precision;
    unsigned threads = 0;
    std::filesystem::path compiled_cache{};  // a folder in which the device keeps compiled models; empty: none
    bool plugin_only = false;  // run a language model as its file says it, with nothing of cpu_settings.hpp
};

// Properties for compile_model, of those that `device` knows. Throws ErrorKind::Unsupported when there is
// no such device, naming those that exist, and ErrorKind::Usage for what it cannot be asked for.
ov::AnyMap compile_properties(ov::Core& core, const DeviceSettings& settings);

// Throws ErrorKind::Input "cannot <verb> 'directory'" when it has none of the files that LanguageModel takes.
void require_language_model(const std::filesystem::path& directory, std::string_view verb);

// Throws ErrorKind::Unsupported for a model of whole texts, without states: one that was exported for embeddings or
// scores.
void require_tokens(const ov::Model& model, const std::filesystem::path& directory);

// Reads `directory`/`name`.xml; throws ErrorKind::Input naming the file when it is missing or broken.
std::shared_ptr<ov::Model> read_model(ov::Core& core, const std::filesystem::path& directory, const char* name);

// Throws ErrorKind::Unsupported when the device is absent, naming those that exist, or refuses the model.
ov::CompiledModel compile(ov::Core& core, const std::shared_ptr<ov::Model>& model, const char* name,
                          const DeviceSettings& settings);

// Likewise, a language model for one sequence, changed for the CPU where cpu_settings.hpp can make it faster.
ov::CompiledModel compile_language_model(ov::Core& core, const std::shared_ptr<ov::Model>& model, const char* name,
                                         const DeviceSettings& settings);

// The MatMul that makes 'logits' of hidden states [B, tokens, hidden]; null when another operation does.
std::shared_ptr<ov::Node> find_head(const ov::Model& model);

// Cuts a language model so that it computes the logits of the last token only: all of them would be
// tokens x vocabulary numbers. Models whose 'logits' are not the result of a MatMul stay as they are.
void keep_last_token(const std::shared_ptr<ov::Model>& model);

// Input of a language model that was made ready for speculation: i64 [1], tokens from the last whose logits are wanted.
inline constexpr const char* kKeptTokens = "kept_tokens";
// Likewise, with the hidden states of all tokens as another output. Throws ErrorKind::Unsupported for models whose
// 'logits' are not the result of a MatMul.
void keep_last_tokens_and_hidden(const std::shared_ptr<ov::Model>& model);

// The part of a text model that looks up embeddings: input_ids i64 [B, tokens] -> [B, tokens, hidden]. Throws
// ErrorKind::Unsupported when there is none.
std::shared_ptr<ov::Model> embedding_part(const ov::Model& model);

// Size of a row of the output 'logits'; the largest number when the model does not say.
std::int64_t vocabulary_of(const ov::CompiledModel& model);

// Tokens to feed: ids for a text model; embeddings and M-RoPE positions for a vision-language one.
struct TokenBatch {
    std::vector<std::int64_t> ids;
    std::vector<float> embeddings;                       // [tokens, hidden], empty for a text model
    std::array<std::vector<std::int64_t>, 3> positions;  // as token_positions() gives them, empty for a text model
};

class LanguageModel {
public:
    // Takes openvino_language_model.xml when it is there, else openvino_model.xml. Its inputs are tokens or
    // embeddings, attention_mask, beam_idx, and position_ids when the model has them, of rank 2 or with 3
    // or 4 rows; throws ErrorKind::Unsupported for any others. `speculative`: read() can be asked for the logits of
    // several tokens, and hidden() is there.
    LanguageModel(ov::Core& core, const std::filesystem::path& directory, const DeviceSettings& settings,
                  bool speculative = false);

    bool takes_embeddings() const { return takes_embeddings_; }
    std::size_t tokens_read() const { return tokens_read_; }
    // Size of a row of logits: ids must be below it.
    std::int64_t vocabulary() const { return vocabulary_; }
    // Tokens that the states can hold, when the model's file bounds them.
    std::optional<std::size_t> capacity() const { return capacity_; }
    const PieceSizes& pieces() const { return pieces_; }

    // The model as it was read; null unless it is speculative.
    const std::shared_ptr<ov::Model>& original() const { return original_; }

    // Reads `batch` after what was read before; returns the logits of the last `kept` tokens, valid until the
    // next call. They may be overwritten. After ErrorKind::Cancelled, which `stop` may cause when there are
    // several tokens, the states must be reset or taken back to a mark.
    std::span<float> read(const TokenBatch& batch, const StopCheck& stop = {}, std::size_t kept = 1);
    // Of a speculative model: what its head reads for each token of the last batch, [tokens, hidden].
    std::span<const float> hidden();

    void reset();

    // A place to come back to. It holds the states of the linear layers, which cannot be shortened;
    // those of attention layers are cut back in place.
    struct Mark {
        std::size_t tokens = 0;
        std::vector<std::pair<std::string, ov::Tensor>> states;
    };
    Mark mark();
    void rewind(const Mark& mark);

private:
    void set_positions(const TokenBatch& batch);

    ov::InferRequest& request() { return **request_; }

    std::optional<StoppableRequest> request_;
    std::shared_ptr<ov::Model> original_;
    bool takes_embeddings_ = false;
    std::int64_t vocabulary_ = 0;
    std::size_t position_rows_ = 0;  // of the input position_ids: 0 none, 1 rank 2, else as its first axis says
    std::optional<std::size_t> capacity_;
    PieceSizes pieces_;
    std::size_t tokens_read_ = 0;
    std::vector<std::int64_t> mask_;       // ones, shown to the model up to its past length
    std::vector<std::int64_t> positions_;  // [position_rows_, tokens]
};

}  // namespace deltavino::runtime
