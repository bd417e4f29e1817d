// Three IRs: patch projection, table of position embeddings, blocks with merger, as optimum-intel and
// openvino_genai cut the tower. Between them: bilinear interpolation of the table and the rotary angles, on
// the host.
#include "runtime/vision_model.hpp"

#include "base/error.hpp"
#include "graph/names.hpp"
#include "runtime/openvino_call.hpp"

#include <algorithm>
#include <cstring>

namespace deltavino::runtime {
namespace {

namespace fs = std::filesystem;
namespace names = graph::names;

constexpr const char* kHiddenStates = "hidden_states";
constexpr const char* kRotary = "rotary_pos_emb";

// The static size of the last axis of an input or output, 0 when it is dynamic.
std::size_t width_of(const ov::Output<const ov::Node>& port) {
    const ov::PartialShape& shape = port.get_partial_shape();
    const bool is_static = shape.rank().is_static() && shape.size() > 0 && shape[shape.size() - 1].is_static();
    return is_static ? static_cast<std::size_t>(shape[shape.size() - 1].get_length()) : 0;
}

ov::InferRequest load(ov::Core& core, const fs::path& directory, const char* name, const DeviceSettings& settings) {
    ov::CompiledModel compiled = compile(core, read_model(core, directory, name), name, settings);
    return openvino_call(ErrorKind::Unsupported, fmt::format("run '{}'", name),
                         [&]() { return compiled.create_infer_request(); });
}

std::vector<float> values_of(const ov::Tensor& tensor) {
    const auto* begin = tensor.data<const float>();
    return {begin, begin + tensor.get_size()};
}

}  // namespace

VisionModel::VisionModel(ov::Core& core, const fs::path& directory, const DeviceSettings& settings)
    : settings_(read_picture_settings(directory)),
      table_side_(read_position_grid_side(directory)),
      one_mask_row_(settings.device == "CPU"),
      embeddings_([=, &core]() { return load(core, directory, names::kVisionEmbeddings, settings); }),
      positions_(load(core, directory, names::kVisionPositions, settings)),
      merger_([=, &core]() { return load(core, directory, names::kVisionMerger, settings); }) {
    openvino_call(ErrorKind::Unsupported, fmt::format("use the vision models of '{}'", directory.string()), [&]() {
        rotary_width_ = static_cast<std::uint32_t>(width_of(merger_->get_compiled_model().input(kRotary)));
        const std::size_t found = width_of(embeddings_->get_compiled_model().input());
        const std::size_t expected =
            std::size_t{3} * settings_.temporal_patch_size * settings_.patch_size * settings_.patch_size;
        if (found != 0 && found != expected) {
            fail(ErrorKind::Input, "'{}' takes patches of {} values, but the processor's settings give {}",
                 names::kVisionEmbeddings, found, expected);
        }
    });
    if (rotary_width_ == 0 || rotary_width_ % 2 != 0) {
        fail(ErrorKind::Input, "'{}' does not say the width of its input '{}'", names::kVisionMerger, kRotary);
    }
}

std::vector<float> VisionModel::rows(const Patches& patches, const StopCheck& stop) {
    embeddings_.renew();
    merger_.renew();
    std::vector<float> positions = position_embeddings(patches.grid, stop);
    return openvino_call(ErrorKind::Input, "run the vision tower", [&]() {
        const std::size_t count = patches.grid.patches();
        embeddings_->set_input_tensor(ov::Tensor(ov::element::f32, {count, patches.values.size() / count},
                                                 const_cast<float*>(patches.values.data())));
        embeddings_.infer(stop);
        std::vector<float> hidden = values_of(embeddings_->get_output_tensor());
        if (hidden.size() != positions.size()) {
            fail(ErrorKind::Input, "the vision tower has {} patch embeddings but {} position embeddings", hidden.size(),
                 positions.size());
        }
        std::transform(hidden.begin(), hidden.end(), positions.begin(), hidden.begin(), std::plus<>());
        std::vector<float> angles = rotary_angles(patch_order(patches.grid, settings_.merge_size), rotary_width_);
        // A mask of zeros lets every patch see every other. The CPU takes one row for all: for a picture of
        // 16 million pixels the whole mask would be 17 GB.
        const std::size_t mask_rows = one_mask_row_ ? 1 : count;
        std::vector<float> mask(mask_rows * count, 0.0f);
        merger_->set_tensor(kHiddenStates, ov::Tensor(ov::element::f32, {count, hidden.size() / count}, hidden.data()));
        merger_->set_tensor(names::kAttentionMask, ov::Tensor(ov::element::f32, {1, mask_rows, count}, mask.data()));
        merger_->set_tensor(kRotary, ov::Tensor(ov::element::f32, {count, rotary_width_}, angles.data()));
        merger_.infer(stop);
        return values_of(merger_->get_output_tensor());
    });
}

// [patches, width] in patch order.
std::vector<float> VisionModel::position_embeddings(const PatchGrid& grid, const StopCheck& stop) {
    const TableCorners corners = table_corners(grid, table_side_);
    const std::vector<PatchPlace> order = patch_order(grid, settings_.merge_size);
    constexpr std::size_t kChunk = 4096;  // the table's rows of four corners at a time: bounded memory
    return openvino_call(ErrorKind::Input, "run the position embeddings", [&]() {
        std::vector<float> embeddings;
        for (std::size_t begin = 0; begin < order.size(); begin += kChunk) {
            throw_if_stopped(stop);
            const std::size_t count = std::min(kChunk, order.size() - begin);
            ov::Tensor indices(ov::element::i64, {4, count});
            auto* index = indices.data<std::int64_t>();
            for (const std::vector<std::int64_t>& corner : corners.indices) {
                for (std::size_t i = 0; i < count; ++i) {
                    const PatchPlace place = order[begin + i];
                    *index++ = corner[std::size_t{place.row} * grid.columns + place.column];
                }
            }
            positions_.set_input_tensor(indices);
            positions_.infer();
            const ov::Tensor looked_up = positions_.get_output_tensor();  // [4, count, width]
            const std::size_t width = looked_up.get_shape().empty() ? 0 : looked_up.get_shape().back();
            if (looked_up.get_size() != 4 * count * width) {
                fail(ErrorKind::Input, "'{}' gives shape {} for {} positions", names::kVisionPositions,
                     looked_up.get_shape().to_string(), count);
            }
            const auto* rows = looked_up.data<const float>();
            for (std::size_t i = 0; i < count; ++i) {
                const PatchPlace place = order[begin + i];
                const std::size_t patch = std::size_t{place.row} * grid.columns + place.column;
                for (std::size_t x = 0; x < width; ++x) {
                    float sum = 0.0f;
                    for (std::size_t corner = 0; corner < 4; ++corner) {
                        sum += corners.weights[corner][patch] * rows[(corner * count + i) * width + x];
                    }
                    embeddings.push_back(sum);
                }
            }
        }
        return embeddings;
    });
}

}  // namespace deltavino::runtime
