// Ground truth for what replaces what: transformers modeling_qwen3_5.py, Qwen3_5Model.forward.
#include "runtime/engine.hpp"

#include "base/error.hpp"
#include "graph/names.hpp"
#include "runtime/chat/template.hpp"
#include "runtime/openvino_call.hpp"
#include "runtime/picture/decode.hpp"

#include <algorithm>

namespace deltavino::runtime {
namespace {

namespace fs = std::filesystem;
namespace names = graph::names;

const fs::path& require_directory(const fs::path& directory) {
    std::error_code error;
    if (!fs::is_directory(directory, error)) {
        fail(ErrorKind::Input, "cannot use '{}': it is not a directory", directory.string());
    }
    require_language_model(directory, "use");
    return directory;
}

}  // namespace

Engine::Engine(const fs::path& directory, const DeviceSettings& settings, std::size_t piece_tokens, bool speculative)
    : tokenizer_(core_, require_directory(directory)),
      language_(core_, directory, settings, speculative),
      pieces_(piece_tokens > 0 ? PieceSizes{piece_tokens, piece_tokens} : language_.pieces()) {
    tokenizer_.limit_ids(language_.vocabulary());
    if (speculative) {
        drafter_ = std::make_unique<Drafter>(core_, directory, *language_.original(), settings);
    }
    if (language_.takes_embeddings() || speculative) {
        const std::shared_ptr<ov::Model> table = language_.takes_embeddings()
                                                     ? read_model(core_, directory, names::kTextEmbeddings)
                                                     : embedding_part(*language_.original());
        ov::CompiledModel compiled = compile(core_, table, names::kTextEmbeddings, settings);
        text_embeddings_ = openvino_call(ErrorKind::Unsupported, fmt::format("run '{}'", names::kTextEmbeddings),
                                         [&]() { return compiled.create_infer_request(); });
    }
    if (language_.takes_embeddings()) {
        vision_ = std::make_unique<VisionModel>(core_, directory, settings);
        image_pad_ = tokenizer_.single_id(kImagePad);
    }
}

PictureRows Engine::look_at(const fs::path& file, const StopCheck& stop) {
    if (!vision_) {
        fail(ErrorKind::Unsupported,
             "cannot use picture '{}': the model is a text-only export; `deltavino export --task image-text-to-text` "
             "makes one that takes pictures",
             file.string());
    }
    throw_if_stopped(stop);
    return look_at(make_patches(read_picture(file), vision_->settings(), file.string()), stop);
}

PictureRows Engine::look_at(const Patches& patches, const StopCheck& stop) {
    if (!vision_) {
        fail(ErrorKind::Unsupported, "a text-only export takes no pictures");
    }
    throw_if_stopped(stop);
    return {patches.grid, vision_->rows(patches, stop)};
}

std::vector<std::int64_t> Engine::encode(const std::string& text, std::span<const PictureRows> pictures) {
    const TextSegment all{text, true};
    return encode(std::span(&all, 1), pictures);
}

std::vector<std::int64_t> Engine::encode(std::span<const TextSegment> segments, std::span<const PictureRows> pictures) {
    const std::vector<std::int64_t> ids = tokenizer_.encode(segments);
    if (!vision_) {
        return ids;
    }
    const auto placeholders = static_cast<std::size_t>(std::count(ids.begin(), ids.end(), image_pad_));
    if (placeholders != pictures.size()) {
        fail(ErrorKind::Usage, "the text has {} '{}' for {} pictures", placeholders, kImagePad, pictures.size());
    }
    const std::size_t merged = std::size_t{vision_->settings().merge_size} * vision_->settings().merge_size;
    std::vector<std::int64_t> expanded;
    std::size_t picture = 0;
    for (const std::int64_t id : ids) {
        expanded.insert(expanded.end(), id == image_pad_ ? pictures[picture++].grid.patches() / merged : 1, id);
    }
    return expanded;
}

std::span<float> Engine::feed(std::span<const std::int64_t> ids, std::span<const PictureRows> pictures,
                              const StopCheck& stop) {
    TokenPositions positions;
    positions.next = next_position_ + static_cast<std::int64_t>(ids.size());
    if (language_.takes_embeddings()) {
        std::vector<PatchGrid> grids;
        for (const PictureRows& picture : pictures) {
            grids.push_back(picture.grid);
        }
        constexpr std::int64_t kNone = -1;
        positions = token_positions(ids, pictures.empty() ? kNone : image_pad_, grids, vision_->settings().merge_size,
                                    next_position_);
    }
    std::span<float> logits;
    PictureCursor cursor;
    for (std::size_t begin = 0, size = 0; begin < ids.size(); begin += size) {
        if (ids.size() > 1) {
            throw_if_stopped(stop);
        }
        size = std::min(tokens_of_piece(pieces_, history_.size()), ids.size() - begin);
        const std::span<const std::int64_t> piece = ids.subspan(begin, size);
        TokenBatch batch;
        batch.ids.assign(piece.begin(), piece.end());
        if (language_.takes_embeddings()) {
            for (std::size_t axis = 0; axis < positions.axes.size(); ++axis) {
                const auto from = positions.axes[axis].begin() + static_cast<std::ptrdiff_t>(begin);
                batch.positions[axis].assign(from, from + static_cast<std::ptrdiff_t>(piece.size()));
            }
            batch.embeddings = embed(piece, pictures, cursor);
        }
        logits = language_.read(batch, stop);
        if (drafter_) {
            drafter_->observe(batch.embeddings.empty() ? look_up(piece) : batch.embeddings, language_.hidden(), stop);
        }
        history_.insert(history_.end(), piece.begin(), piece.end());
    }
    next_position_ = positions.next;
    return logits;
}

std::vector<float> Engine::look_up(std::span<const std::int64_t> ids) {
    return openvino_call(ErrorKind::Input, "look up embeddings", [&]() {
        ov::Tensor input(ov::element::i64, {1, ids.size()});
        std::copy(ids.begin(), ids.end(), input.data<std::int64_t>());
        text_embeddings_.set_input_tensor(input);
        text_embeddings_.infer();
        const ov::Tensor output = text_embeddings_.get_output_tensor();
        const auto* begin = output.data<const float>();
        return std::vector<float>(begin, begin + output.get_size());
    });
}

// Embeddings [tokens, width] of one piece; the rows of pictures take the places of their placeholders.
std::vector<float> Engine::embed(std::span<const std::int64_t> ids, std::span<const PictureRows> pictures,
                                 PictureCursor& cursor) {
    std::vector<float> embeddings = look_up(ids);
    const std::size_t width = embeddings.size() / ids.size();
    for (std::size_t i = 0; i < ids.size() && !pictures.empty(); ++i) {
        if (ids[i] != image_pad_) {
            continue;
        }
        const std::vector<float>& rows = pictures[cursor.picture].rows;
        const std::size_t merged = std::size_t{vision_->settings().merge_size} * vision_->settings().merge_size;
        const std::size_t count = pictures[cursor.picture].grid.patches() / merged;
        if (rows.size() != count * width) {
            fail(ErrorKind::Input,
                 "the vision tower gives {} values for a picture, which does not fit {} embeddings of width {}",
                 rows.size(), count, width);
        }
        const auto begin = rows.begin() + static_cast<std::ptrdiff_t>(cursor.row * width);
        std::copy(begin, begin + static_cast<std::ptrdiff_t>(width),
                  embeddings.begin() + static_cast<std::ptrdiff_t>(i * width));
        cursor.row += 1;
        if (cursor.row == count) {
            cursor = {cursor.picture + 1, 0};
        }
    }
    return embeddings;
}

void Engine::warm_up(const StopCheck& stop) {
    constexpr std::int64_t kAnyToken = 0;
    feed(std::span(&kAnyToken, 1), {}, stop);
    reset();
}

void Engine::reset() {
    language_.reset();
    if (drafter_) {
        drafter_->reset();
    }
    next_position_ = 0;
    history_.clear();
}

Engine::Place Engine::mark() {
    return {language_.mark(), next_position_, drafter_ ? drafter_->mark() : Drafter::Mark{}};
}

void Engine::rewind(const Place& place) {
    leave_trial(place);
    if (drafter_) {
        drafter_->rewind(place.drafter);
    }
    history_.resize(place.mark.tokens);
}

std::vector<std::int64_t> Engine::draft(std::int64_t id, std::size_t count) {
    const Drafter::Embed embed_one = [this](std::int64_t one) {
        return look_up(std::span(&one, 1));
    };
    return drafter_->draft(embed_one(id), count, embed_one);
}

std::span<float> Engine::try_tokens(std::span<const std::int64_t> ids, std::size_t kept) {
    TokenBatch batch;
    batch.ids.assign(ids.begin(), ids.end());
    trial_embeddings_ = look_up(ids);
    trial_.assign(ids.begin(), ids.end());
    TokenPositions positions;
    positions.next = next_position_ + static_cast<std::int64_t>(ids.size());
    if (language_.takes_embeddings()) {
        constexpr std::int64_t kNone = -1;
        positions = token_positions(ids, kNone, {}, vision_->settings().merge_size, next_position_);
        batch.positions = positions.axes;
        batch.embeddings = trial_embeddings_;
    }
    const std::span<float> logits = language_.read(batch, {}, kept);
    next_position_ = positions.next;
    return logits;
}

void Engine::take_trial_token(std::size_t index) {
    const std::size_t width = trial_embeddings_.size() / trial_.size();
    history_.push_back(trial_[index]);
    drafter_->observe(std::span(trial_embeddings_).subspan(index * width, width),
                      language_.hidden().subspan(index * width, width));
}

void Engine::leave_trial(const Place& place) {
    language_.rewind(place.mark);
    next_position_ = place.next_position;
}

}  // namespace deltavino::runtime
