// Runs an exported language model through OpenVINO in its two forms: stateful, and paged as GenAI's
// continuous batching does. Everything in float32: this is about the graph, not about rounding.
#pragma once

#include <deltavino/progress.hpp>

#include <openvino/core/model.hpp>
#include <openvino/runtime/compiled_model.hpp>
#include <openvino/runtime/infer_request.hpp>

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace deltavino::test {

using Ids = std::vector<std::int64_t>;

// [rows][tokens * vocabulary]
using Logits = std::vector<std::vector<float>>;

// What a decoder behind a vision tower reads in place of the ids of one row.
struct Embedded {
    std::vector<float> values;     // [tokens * width]
    std::array<Ids, 4> positions;  // text, temporal, height, width
    std::size_t tokens() const { return positions[0].size(); }
    Embedded part(std::size_t begin, std::size_t end) const;
};

// What the multi-token-prediction layer reads of one row: hidden states and embeddings, [tokens, width] each.
struct Drafting {
    std::vector<float> hidden;
    std::vector<float> embedded;
    std::size_t width = 0;
    std::size_t tokens() const { return hidden.size() / width; }
    Drafting part(std::size_t begin, std::size_t end) const;
};

class SilentProgress : public ProgressSink {
public:
    void update(const std::string&, std::uint64_t, std::uint64_t) override {}
    bool cancelled() override { return false; }
    void note(const std::string& sentence) override { notes.push_back(sentence); }
    std::vector<std::string> notes;
};

std::shared_ptr<ov::Model> read_model(const std::filesystem::path& xml);
ov::CompiledModel compile_f32(const std::shared_ptr<ov::Model>& model);

// How often each layer type stands in the graph that the CPU plugin runs.
std::map<std::string, std::size_t> runtime_counts(const ov::CompiledModel& compiled);
// Precisions of the constant weights of all nodes of a layer type in that graph, each with its count.
std::map<std::string, std::size_t> weight_precisions(const ov::CompiledModel& compiled, const std::string& layer_type);
std::map<std::string, std::size_t> operation_counts(const ov::Model& model);

// The same model with every compressed weight replaced by its values, computed from the stored codes.
std::shared_ptr<ov::Model> decompress(const ov::Model& model);

class StatefulEngine {
public:
    explicit StatefulEngine(const ov::CompiledModel& compiled);

    void reset();
    // One call: rows of equal length; `mask` covers the past and these tokens (empty: all ones);
    // `beam` empty: identity.
    Logits step(const std::vector<Ids>& rows, std::vector<Ids> mask = {}, std::vector<std::int32_t> beam = {});
    Logits step(const std::vector<Embedded>& rows, std::vector<Ids> mask = {}, std::vector<std::int32_t> beam = {});
    // Hidden states come back.
    Logits step(const std::vector<Drafting>& rows, std::vector<Ids> mask = {}, std::vector<std::int32_t> beam = {});

private:
    Logits infer(std::size_t rows, std::size_t length, std::vector<Ids> mask, std::vector<std::int32_t> beam);

    ov::InferRequest request_;
    std::size_t past_ = 0;
};

// Two or more sequences in one paged cache, each with its own blocks.
class PagedEngine {
public:
    // `model` is transformed in place.
    PagedEngine(const std::shared_ptr<ov::Model>& model, std::size_t sequences);

    // tokens[i]: the next tokens of sequence i (at least one); their logits come back.
    Logits step(const std::vector<Ids>& tokens);
    Logits step(const std::vector<Embedded>& tokens);
    Logits step(const std::vector<Drafting>& tokens);
    const std::map<std::string, std::size_t>& operations() const { return operations_; }
    const ov::CompiledModel& compiled() const { return compiled_; }

private:
    Logits infer(const std::vector<std::size_t>& lengths);
    void set(const std::string& name, const std::vector<std::int32_t>& values);

    std::map<std::string, std::size_t> operations_;
    ov::CompiledModel compiled_;
    ov::InferRequest request_;
    std::vector<std::size_t> past_;
    static constexpr std::size_t kBlocksPerSequence = 4;
};

// max |a - b| / max |b|
double relative_error(const std::vector<float>& a, const std::vector<float>& b);

}  // namespace deltavino::test
