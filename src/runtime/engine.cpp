// Ground truth for what replaces what: transformers modeling_qwen3_5.py, Qwen3_5Model.forward.
#include "runtime/engine.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
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
    const auto has = [&](const char* name) {
        return is_there(directory / (std::string(name) + ".xml"));
    };
    if (!has(names::kTextModel) && !has(names::kLanguageModel)) {
        fail(ErrorKind::Input,
             "cannot use '{}': it has neither {}.xml nor {}.xml; `deltavino export` makes such a directory from a "
             "checkpoint",
             directory.string(), names::kTextModel, names::kLanguageModel);
    }
    return directory;
}

}  // namespace

Engine::Engine(const fs::path& directory, const DeviceSettings& settings)
    : tokenizer_(core_, require_directory(directory)), language_(core_, directory, settings) {
    tokenizer_.limit_ids(language_.vocabulary());
    if (language_.takes_embeddings()) {
        ov::CompiledModel compiled =
            compile(core_, read_model(core_, directory, names::kTextEmbeddings), names::kTextEmbeddings, settings);
        text_embeddings_ = openvino_call(ErrorKind::Unsupported, fmt::format("run '{}'", names::kTextEmbeddings),
                                         [&]() { return compiled.create_infer_request(); });
        vision_ = std::make_unique<VisionModel>(core_, directory, settings);
        image_pad_ = tokenizer_.single_id(kImagePad);
    }
}

PictureRows Engine::look_at(const fs::path& file) {
    if (!vision_) {
        fail(ErrorKind::Unsupported, "cannot use picture '{}': the model is a text-only export", file.string());
    }
    return look_at(make_patches(read_picture(file), vision_->settings(), file.string()));
}

PictureRows Engine::look_at(const Patches& patches) {
    if (!vision_) {
        fail(ErrorKind::Unsupported, "a text-only export takes no pictures");
    }
    return {patches.grid, vision_->rows(patches)};
}

std::vector<std::int64_t> Engine::encode(const std::string& text, std::span<const PictureRows> pictures) {
    const std::vector<std::int64_t> ids = tokenizer_.encode(text);
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

std::span<float> Engine::feed(std::vector<std::int64_t> ids, std::span<const PictureRows> pictures) {
    TokenBatch batch;
    std::int64_t next_position = next_position_ + static_cast<std::int64_t>(ids.size());
    if (language_.takes_embeddings()) {
        std::vector<PatchGrid> grids;
        for (const PictureRows& picture : pictures) {
            grids.push_back(picture.grid);
        }
        constexpr std::int64_t kNone = -1;
        TokenPositions positions = token_positions(ids, pictures.empty() ? kNone : image_pad_, grids,
                                                   vision_->settings().merge_size, next_position_);
        next_position = positions.next;
        batch.positions = std::move(positions.axes);
        batch.embeddings = embed(ids, pictures);
    }
    history_.insert(history_.end(), ids.begin(), ids.end());
    batch.ids = std::move(ids);
    const std::span<float> logits = language_.read(batch);
    next_position_ = next_position;
    return logits;
}

std::vector<float> Engine::embed(const std::vector<std::int64_t>& ids, std::span<const PictureRows> pictures) {
    std::vector<float> embeddings = openvino_call(ErrorKind::Input, "look up embeddings", [&]() {
        ov::Tensor input(ov::element::i64, {1, ids.size()});
        std::copy(ids.begin(), ids.end(), input.data<std::int64_t>());
        text_embeddings_.set_input_tensor(input);
        text_embeddings_.infer();
        const ov::Tensor output = text_embeddings_.get_output_tensor();
        const auto* begin = output.data<const float>();
        return std::vector<float>(begin, begin + output.get_size());
    });
    const std::size_t width = embeddings.size() / ids.size();
    auto place = ids.begin();
    for (const PictureRows& picture : pictures) {
        for (std::size_t row = 0; row < picture.rows.size() / width; ++row) {
            place = std::find(place, ids.end(), image_pad_);
            if (place == ids.end() || picture.rows.size() % width != 0) {
                fail(ErrorKind::Input,
                     "the vision tower gives {} values for a picture, which does not fit embeddings of width {}",
                     picture.rows.size(), width);
            }
            const auto begin = picture.rows.begin() + static_cast<std::ptrdiff_t>(row * width);
            std::copy(begin, begin + static_cast<std::ptrdiff_t>(width),
                      embeddings.begin() + (place - ids.begin()) * static_cast<std::ptrdiff_t>(width));
            ++place;
        }
    }
    return embeddings;
}

void Engine::reset() {
    language_.reset();
    next_position_ = 0;
    history_.clear();
}

Engine::Place Engine::mark() {
    return {language_.mark(), next_position_};
}

void Engine::rewind(const Place& place) {
    language_.rewind(place.mark);
    next_position_ = place.next_position;
    history_.resize(place.mark.tokens);
}

}  // namespace deltavino::runtime
