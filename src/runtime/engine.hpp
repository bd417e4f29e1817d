// The models of an exported directory together: text and pictures in, logits out.
#pragma once

#include "runtime/chat/tokenizer.hpp"
#include "runtime/language_model.hpp"
#include "runtime/vision_model.hpp"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace deltavino::runtime {

// A picture as the language model takes it: one row of embeddings for each merged patch.
struct PictureRows {
    PatchGrid grid;
    std::vector<float> rows;
};

class Engine {
public:
    Engine(const std::filesystem::path& directory, const DeviceSettings& settings);

    Tokenizer& tokenizer() { return tokenizer_; }
    bool takes_pictures() const { return vision_ != nullptr; }

    // Reads a picture file and runs the vision tower. Throws ErrorKind::Unsupported for a text model.
    PictureRows look_at(const std::filesystem::path& file);
    PictureRows look_at(const Patches& patches);

    // `text` has one <|image_pad|> for each picture; it becomes one for each merged patch.
    // Throws ErrorKind::Usage when their numbers differ.
    std::vector<std::int64_t> encode(const std::string& text, std::span<const PictureRows> pictures);

    // Reads the tokens after what was read before; returns the logits of the last one, as
    // LanguageModel::read() does. `pictures`: those of the placeholders in `ids`. Without any,
    // placeholders are tokens like others, as in transformers.
    std::span<float> feed(std::vector<std::int64_t> ids, std::span<const PictureRows> pictures);

    // All tokens that were read.
    const std::vector<std::int64_t>& history() const { return history_; }

    void reset();

    struct Place {
        LanguageModel::Mark mark;
        std::int64_t next_position = 0;
    };
    Place mark();
    void rewind(const Place& place);

private:
    std::vector<float> embed(const std::vector<std::int64_t>& ids, std::span<const PictureRows> pictures);

    ov::Core core_;
    Tokenizer tokenizer_;
    LanguageModel language_;
    ov::InferRequest text_embeddings_;     // of vision-language models
    std::unique_ptr<VisionModel> vision_;  // likewise
    std::int64_t image_pad_ = -1;          // likewise
    std::int64_t next_position_ = 0;       // M-RoPE position of the next token
    std::vector<std::int64_t> history_;
};

}  // namespace deltavino::runtime
