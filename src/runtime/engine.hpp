// The models of an exported directory together: text and pictures in, logits out.
#pragma once

#include "runtime/chat/tokenizer.hpp"
#include "runtime/drafter.hpp"
#include "runtime/language_model.hpp"
#include "runtime/vision_model.hpp"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
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
    // Throws ErrorKind::Input when the directory is not an exported one or misses files. `speculative`: draft() and
    // the calls after it can be used. `piece_tokens`: of each piece of a prompt; 0: what suits model and device.
    Engine(const std::filesystem::path& directory, const DeviceSettings& settings, std::size_t piece_tokens = 0,
           bool speculative = false);

    Tokenizer& tokenizer() { return tokenizer_; }
    bool takes_pictures() const { return vision_ != nullptr; }

    // Reads a picture file and runs the vision tower. Throws ErrorKind::Unsupported for a text model,
    // ErrorKind::Cancelled when `stop` says so.
    PictureRows look_at(const std::filesystem::path& file, const StopCheck& stop = {});
    PictureRows look_at(const Patches& patches, const StopCheck& stop = {});

    // The control text of the segments has one <|image_pad|> for each picture; it becomes one for each merged patch.
    // Throws ErrorKind::Usage when their numbers differ.
    std::vector<std::int64_t> encode(std::span<const TextSegment> segments, std::span<const PictureRows> pictures);
    // All of `text` is control text.
    std::vector<std::int64_t> encode(const std::string& text, std::span<const PictureRows> pictures);

    // Reads the tokens after what was read before, in pieces; returns the logits of the last one, as
    // LanguageModel::read() does. `pictures`: those of the placeholders in `ids`. Without any,
    // placeholders are tokens like others, as in transformers. Throws ErrorKind::Cancelled when `stop` says
    // so: the states must be taken back to a place, or reset, before anything else is fed.
    std::span<float> feed(std::span<const std::int64_t> ids, std::span<const PictureRows> pictures,
                          const StopCheck& stop = {});

    // Runs the language model once and forgets it. The first inference packs the weights, however short it is, and takes
    // as long as reading hundreds of tokens; a question then need not wait for it. Throws as feed() does.
    void warm_up(const StopCheck& stop = {});

    // All tokens that were read.
    const std::vector<std::int64_t>& history() const { return history_; }

    // Tokens that the states can hold, when the model's file bounds them.
    std::optional<std::size_t> capacity() const { return language_.capacity(); }

    void reset();

    struct Place {
        LanguageModel::Mark mark;
        std::int64_t next_position = 0;
        Drafter::Mark drafter;
    };
    Place mark();
    void rewind(const Place& place);

    // What may come after the history and `id`.
    std::vector<std::int64_t> draft(std::int64_t id, std::size_t count);
    // Reads tokens that are not history yet; returns the logits of the last `kept` of them.
    std::span<float> try_tokens(std::span<const std::int64_t> ids, std::size_t kept);
    // Makes the token at `index` of those that were tried history.
    void take_trial_token(std::size_t index);
    // Takes the states back, and leaves the history as it is.
    void leave_trial(const Place& place);

private:
    // How far the rows of the pictures of one feed were used.
    struct PictureCursor {
        std::size_t picture = 0;
        std::size_t row = 0;
    };
    std::vector<float> look_up(std::span<const std::int64_t> ids);
    std::vector<float> embed(std::span<const std::int64_t> ids, std::span<const PictureRows> pictures,
                             PictureCursor& cursor);

    ov::Core core_;
    Tokenizer tokenizer_;
    LanguageModel language_;
    std::unique_ptr<Drafter> drafter_;     // when speculative
    ov::InferRequest text_embeddings_;     // of vision-language models, and when speculative
    std::unique_ptr<VisionModel> vision_;  // likewise
    std::int64_t image_pad_ = -1;          // likewise
    PieceSizes pieces_;
    std::int64_t next_position_ = 0;  // M-RoPE position of the next token
    std::vector<std::int64_t> history_;
    std::vector<std::int64_t> trial_;
    std::vector<float> trial_embeddings_;
};

}  // namespace deltavino::runtime
