// The language model of an exported directory, run in each of the forms in which runtimes run it, with the logits
// of every token: unlike generation, comparing needs them all.
//
// Takes text models (with or without position_ids) and the language model of a vision-language directory, whoever
// wrote it.
#pragma once

#include "reference/matrix.hpp"

#include <openvino/openvino.hpp>

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace deltavino::evaluation {

using Ids = std::vector<std::int64_t>;
using reference::Matrix;

// Asked after each piece of a prompt; true ends the work with ErrorKind::Cancelled.
using StopCheck = std::function<bool()>;

// How often each kind of operation stands in the graph that a device runs.
using OperationCounts = std::map<std::string, std::size_t>;

// The end of one half of a layer.
struct LayerPlace {
    std::size_t layer = 0;
    bool feed_forward = false;  // else the mixer

    auto operator<=>(const LayerPlace&) const = default;
    std::string text() const;  // "layer 3, mixer"
};

// Hidden states [tokens, hidden] after each half of each layer.
using LayerOutputs = std::map<LayerPlace, Matrix>;

class DirectoryModel {
public:
    // Reads the files; nothing is compiled yet. Throws ErrorKind::Input when there is no language model.
    DirectoryModel(ov::Core& core, const std::filesystem::path& directory, StopCheck stop = {});

    const std::shared_ptr<ov::Model>& language() const { return language_; }
    const std::shared_ptr<ov::Model>& embeddings() const { return embeddings_; }  // null for a text model
    bool takes_embeddings() const { return embeddings_ != nullptr; }
    const StopCheck& stop() const { return stop_; }
    // The models that hold weights of the language part.
    std::vector<std::shared_ptr<ov::Model>> models() const;

    // Compiles the stateful form. `precision`: f32, f16, bf16, or empty for the device's own.
    // `as_generate`: with what the runner adds on a CPU; for one row at a time.
    void compile(const std::string& device, const std::string& precision, bool as_generate = false);
    OperationCounts operations() const;  // of the compiled form
    std::int64_t vocabulary() const;     // likewise; the largest number when the model does not say

    // Logits [rows, vocabulary] at the positions of `wanted`, ascending, of a prompt that is read in pieces of at
    // most `piece` tokens from empty states.
    Matrix logits(const Ids& ids, std::span<const std::size_t> wanted, std::size_t piece);

    // Of a whole prompt of embeddings [1, tokens, hidden] at positions on the three axes: [tokens, vocabulary].
    Matrix logits(const ov::Tensor& embeddings, const std::array<Ids, 3>& positions);

    // Logits of the last token of each row, of rows that are padded on the left to the longest.
    Matrix padded_logits(const std::vector<Ids>& rows);

    // Of the last of some rows that are padded on the left to the longest, without its padding, on the device in
    // float32. Empty where the nodes are not known by name.
    LayerOutputs layer_outputs(const std::vector<Ids>& rows, const std::string& device);

private:
    ov::Tensor embed(const Ids& flat, std::size_t rows);
    void set_inputs(ov::InferRequest& request, const std::vector<Ids>& rows, const std::vector<Ids>& mask,
                    std::size_t past);

    ov::Core& core_;
    std::shared_ptr<ov::Model> language_;
    std::shared_ptr<ov::Model> embeddings_;
    ov::CompiledModel compiled_;
    ov::InferRequest request_;
    ov::InferRequest embedder_;
    StopCheck stop_;
};

// The paged form of a language model: what openvino_genai's continuous batching runs.
class PagedModel {
public:
    // Transforms a copy. `with_layers`: layer_outputs() will be asked for. Throws ErrorKind::Input when OpenVINO cannot
    // transform the model.
    PagedModel(ov::Core& core, const std::shared_ptr<ov::Model>& language, const std::string& device,
               const std::string& precision, bool with_layers = false);

    const OperationCounts& operations() const { return operations_; }  // before the device compiles it
    OperationCounts compiled_operations() const;

    // As DirectoryModel::logits(). `embeddings` [tokens, hidden] instead of ids for a vision-language model.
    Matrix logits(const Ids& ids, const std::optional<ov::Tensor>& embeddings, std::span<const std::size_t> wanted,
                  std::size_t piece, const StopCheck& stop = {});

    // Of the whole prompt in one piece.
    LayerOutputs layer_outputs(const Ids& ids, const std::optional<ov::Tensor>& embeddings);

private:
    void make_tables(std::size_t tokens);
    bool has_input(const char* name) const;
    void set(const std::string& name, const std::vector<std::int32_t>& values);
    void set_tokens(const Ids& ids, const std::optional<ov::Tensor>& embeddings, std::size_t begin, std::size_t count);
    void set_positions(std::size_t begin, std::size_t count);
    void set_tables(std::size_t begin, std::size_t count);
    // Reads tokens [begin, begin + count) after those before.
    void read(const Ids& ids, const std::optional<ov::Tensor>& embeddings, std::size_t begin, std::size_t count);

    OperationCounts operations_;
    std::vector<LayerPlace> places_;  // of the outputs after the model's own
    std::size_t own_outputs_ = 0;
    ov::CompiledModel compiled_;
    ov::InferRequest request_;
    std::size_t block_size_ = 32;
    std::size_t blocks_ = 0;
};

// The properties that keep a device from rounding anything in float32; none for an empty precision.
ov::AnyMap exact_properties(ov::Core& core, const std::string& device, const std::string& precision);

// How many kinds of positions position_ids [axes, ...] takes: 3 or 4. Throws ErrorKind::Input for another shape.
std::size_t position_axes(const ov::PartialShape& shape);

OperationCounts count_operations(const ov::Model& model);
// Of the graph that a device made of a model.
OperationCounts count_operations(const ov::CompiledModel& compiled);

// Adds an output after each half of each layer that is known by name; returns their places in the order of the outputs.
std::vector<LayerPlace> add_layer_outputs(ov::Model& model);

void stop_if_asked(const StopCheck& stop);

// Rows of the logits of tokens [begin, begin + count) that are wanted, copied to their place in `out`.
void keep_wanted(const ov::Tensor& logits, std::size_t begin, std::size_t count, std::span<const std::size_t> wanted,
                 Matrix& out);

// ids -> embeddings [1, tokens, hidden] by the model of a vision-language directory.
ov::Tensor embed_tokens(ov::Core& core, const std::shared_ptr<ov::Model>& embeddings, const Ids& ids);

}  // namespace deltavino::evaluation
