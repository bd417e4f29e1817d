#include "evaluate/vision_check.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "evaluate/comparison.hpp"
#include "evaluate/vision_stages.hpp"
#include "graph/names.hpp"
#include "runtime/chat/template.hpp"
#include "runtime/chat/tokenizer.hpp"
#include "runtime/picture/decode.hpp"
#include "runtime/vision_model.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>

namespace deltavino::evaluation {
namespace {

namespace fs = std::filesystem;
namespace names = graph::names;
using reference::Index;
using reference::Positions;

constexpr std::array kVisionModels{names::kVisionEmbeddings, names::kVisionPositions, names::kVisionMerger};

// Text around the picture.
constexpr std::size_t kBefore = 16;
constexpr std::size_t kAfter = 48;

// Wider than high and different everywhere, so that exchanged rows and columns show.
runtime::Picture built_in_picture() {
    runtime::Picture picture{320, 224, {}};
    for (std::uint32_t y = 0; y < picture.height; ++y) {
        for (std::uint32_t x = 0; x < picture.width; ++x) {
            const std::uint32_t ring = (x - 100) * (x - 100) + (y - 90) * (y - 90);
            picture.pixels.push_back(static_cast<std::uint8_t>(x * 255 / picture.width));
            picture.pixels.push_back(static_cast<std::uint8_t>(y * 255 / picture.height));
            picture.pixels.push_back(ring / 900 % 2 == 0 ? 230 : 20);
        }
    }
    return picture;
}

// Rows of the tower in the places of their tokens.
template <typename Embeddings>
void replace(Embeddings&& x, const Ids& ids, std::int64_t placeholder, const Matrix& rows) {
    Index used = 0;
    for (std::size_t t = 0; t < ids.size(); ++t) {
        if (ids[t] == placeholder) {
            x.row(static_cast<Index>(t)) = rows.row(used++);
        }
    }
}

class Picture {
public:
    explicit Picture(const PictureCheck& given)
        : given_(given), vision_(given.core, given.options.model, {given.options.device, "f32"}) {
        const fs::path& image = given.options.image;
        const std::string name = image.empty() ? "the built-in picture" : image.string();
        const runtime::Picture picture = image.empty() ? built_in_picture() : runtime::read_picture(image);
        patches_ = runtime::make_patches(picture, vision_.settings(), name);
        const auto& settings = vision_.settings();
        if (settings.patch_size != config().patch_size || settings.merge_size != config().spatial_merge_size ||
            settings.temporal_patch_size != config().temporal_patch_size) {
            fail(ErrorKind::Input,
                 "the processor's settings (patch_size {}, merge_size {}, temporal_patch_size {}) are not those of "
                 "vision_config ({}, {}, {})",
                 settings.patch_size, settings.merge_size, settings.temporal_patch_size, config().patch_size,
                 config().spatial_merge_size, config().temporal_patch_size);
        }
    }

    PictureFindings run() {
        look();
        read();
        return std::move(findings_);
    }

private:
    const checkpoint::VisionConfig& config() const { return *given_.truth.config().vision; }

    Matrix tower(const reference::WeightSource& weights) const {
        return reference::vision_tower(patch_rows(patches_), grids(), config(), {weights, given_.options.threads},
                                       [&](std::uint64_t, const auto&) { given_.truth.stop_if_asked(); });
    }

    std::vector<reference::Grid> grids() const { return {{1, patches_.grid.rows, patches_.grid.columns}}; }

    void add(std::string subject, bool good, std::string says) {
        findings_.items.push_back(
            {"vision tower", std::move(subject), good ? Finding::Good : Finding::Bad, std::move(says)});
    }

    void look() {
        of_checkpoint_ = tower(given_.truth.weights());
        of_export_ = tower(given_.exported);
        const std::vector<float> rows = vision_.rows(patches_);
        of_runtime_ = Eigen::Map<const Matrix>(rows.data(), static_cast<Index>(rows.size()) / of_export_.cols(),
                                               of_export_.cols());
        const double off = relative_distance(of_export_, of_runtime_);
        const std::string what = fmt::format("{} x {} patches", patches_.grid.rows, patches_.grid.columns);
        if (off <= kHiddenStates) {
            add("rows of a picture", true,
                fmt::format("{}: the reference's within {:.1e}; the exported weights cost {:.1e} of their size", what,
                            off, relative_distance(of_checkpoint_, of_export_)));
            return;
        }
        const reference::Context context{given_.exported, given_.options.threads};
        const std::string stage =
            VisionStages{given_.core, given_.options.model, given_.options.device, config(), context}.first_wrong(
                patches_, vision_.settings().merge_size);
        add(stage.empty() ? "rows of a picture" : stage, false,
            fmt::format("{}: differs from the reference on the exported weights by {:.1e} of its size{}", what, off,
                        stage.empty() ? ", though every stage alone is right"
                                      : fmt::format("; the first stage to go wrong is {}", stage)));
    }

    void read() {
        runtime::Tokenizer tokenizer(given_.core, given_.options.model);
        const std::int64_t placeholder = tokenizer.single_id(runtime::kImagePad);
        const auto middle = given_.text.begin() + static_cast<std::ptrdiff_t>(std::min(kBefore, given_.text.size()));
        Ids ids(given_.text.begin(), middle);
        ids.insert(ids.end(), static_cast<std::size_t>(of_export_.rows()), placeholder);
        ids.insert(ids.end(), middle,
                   middle + std::min<std::ptrdiff_t>(kAfter, std::distance(middle, given_.text.end())));
        const Positions positions =
            reference::picture_positions(ids, placeholder, grids(), config().spatial_merge_size);
        const auto by_reference = [&](const reference::WeightSource& weights, const Matrix& rows) {
            const reference::TextModel model = given_.truth.model_on(weights);
            Matrix x = model.embed(ids);
            replace(x, ids, placeholder, rows);
            return model.logits(model.forward(std::move(x), positions,
                                              [&](std::uint64_t, const auto&) { given_.truth.stop_if_asked(); }));
        };
        ov::Tensor embeddings = embed_tokens(given_.core, given_.model.embeddings(), ids);
        replace(Eigen::Map<Matrix>(embeddings.data<float>(), static_cast<Index>(ids.size()), of_runtime_.cols()), ids,
                placeholder, of_runtime_);
        const std::vector<runtime::PatchGrid> grid{patches_.grid};
        const Matrix judged = given_.model.logits(
            embeddings, runtime::token_positions(ids, placeholder, grid, vision_.settings().merge_size, 0).axes);
        std::vector<std::size_t> all(ids.size());
        std::iota(all.begin(), all.end(), std::size_t{0});
        findings_.divergences.push_back(compare("with a picture",
                                                "the exported weights by the reference against the runtime in float32, "
                                                "with a picture",
                                                by_reference(given_.exported, of_export_), judged, all));
        findings_.divergences.push_back(compare("all with a picture",
                                                "the checkpoint against the runtime in float32, with a picture",
                                                by_reference(given_.truth.weights(), of_checkpoint_), judged, all));
    }

    const PictureCheck& given_;
    runtime::VisionModel vision_;
    runtime::Patches patches_;
    Matrix of_checkpoint_;  // rows of the tower [merged patches, hidden]
    Matrix of_export_;
    Matrix of_runtime_;
    PictureFindings findings_;
};

}  // namespace

std::vector<std::shared_ptr<ov::Model>> read_vision_models(ov::Core& core, const fs::path& directory) {
    std::vector<std::shared_ptr<ov::Model>> models;
    for (const char* name : kVisionModels) {
        if (is_there(directory / (std::string(name) + ".xml"))) {
            models.push_back(runtime::read_model(core, directory, name));
        }
    }
    return models.size() == kVisionModels.size() ? models : std::vector<std::shared_ptr<ov::Model>>();
}

PictureFindings check_picture(const PictureCheck& check) {
    return Picture(check).run();
}

}  // namespace deltavino::evaluation
