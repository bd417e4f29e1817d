#include "evaluate/vision_stages.hpp"

#include "base/error.hpp"
#include "evaluate/comparison.hpp"
#include "evaluate/ir_weights.hpp"
#include "graph/names.hpp"
#include "runtime/language_model.hpp"
#include "runtime/openvino_call.hpp"
#include "runtime/positions.hpp"

#include <openvino/op/constant.hpp>

#include <cstring>
#include <map>
#include <regex>
#include <vector>

namespace deltavino::evaluation {
namespace {

namespace names = graph::names;
using reference::Index;
using runtime::openvino_call;

// The next operation of a type among the readers of readers, at most `steps` away; null when there is none.
std::shared_ptr<ov::Node> next_of(std::shared_ptr<ov::Node> node, std::string_view type, std::size_t steps) {
    for (std::size_t i = 0; i < steps; ++i) {
        const auto readers = node->output(0).get_target_inputs();
        if (readers.empty()) {
            return nullptr;
        }
        node = readers.begin()->get_node()->shared_from_this();
        if (type == node->get_type_name()) {
            return node;
        }
    }
    return nullptr;
}

// Adds an output after each block, found by its last weight; returns their numbers in the order of the outputs.
std::vector<std::uint64_t> add_block_outputs(ov::Model& merger) {
    static const std::regex kLast(R"(^visual\.blocks\.(\d{1,6})\.mlp\.linear_fc2\.weight$)");
    std::vector<std::uint64_t> blocks;
    for (const auto& node : merger.get_ordered_ops()) {
        const std::string name = reference_name(node->get_friendly_name());
        std::smatch match;
        if (!ov::is_type<ov::op::v0::Constant>(node) || !std::regex_match(name, match, kLast)) {
            continue;
        }
        std::shared_ptr<ov::Node> end = next_of(node, "MatMul", 8);
        end = end == nullptr ? end : next_of(end, "Add", 3);  // of the bias
        end = end == nullptr ? end : next_of(end, "Add", 3);  // of what went in
        if (end != nullptr) {
            merger.add_output(end->output(0));
            blocks.push_back(std::stoul(match[1].str()));
        }
    }
    return blocks;
}

Matrix matrix_of(const ov::Tensor& tensor) {
    const auto width = static_cast<Index>(tensor.get_shape().back());
    return Eigen::Map<const Matrix>(tensor.data<const float>(), static_cast<Index>(tensor.get_size()) / width, width);
}

ov::Tensor tensor_of(const std::vector<float>& values, const ov::Shape& shape) {
    ov::Tensor tensor(ov::element::f32, shape);
    std::memcpy(tensor.data(), values.data(), tensor.get_byte_size());
    return tensor;
}

ov::Tensor tensor_of(const Matrix& matrix) {
    ov::Tensor tensor(ov::element::f32,
                      {static_cast<std::size_t>(matrix.rows()), static_cast<std::size_t>(matrix.cols())});
    std::memcpy(tensor.data(), matrix.data(), tensor.get_byte_size());
    return tensor;
}

class Stages {
public:
    Stages(const VisionStages& given, const runtime::Patches& patches, std::uint32_t merge)
        : given_(given), patches_(patches), merge_(merge), count_(patches.grid.patches()) {}

    bool patch_embeddings() {
        ov::InferRequest request = load(names::kVisionEmbeddings);
        request.set_input_tensor(tensor_of(patches_.values, {count_, patches_.values.size() / count_}));
        request.infer();
        return agrees(reference::biased_linear(patch_rows(patches_), given_.context, "visual.patch_embed.proj",
                                               given_.config.hidden_size),
                      matrix_of(request.get_output_tensor()));
    }

    // The four rows of the table around each patch.
    bool position_embeddings() {
        Matrix table(static_cast<Index>(given_.config.num_position_embeddings),
                     static_cast<Index>(given_.config.hidden_size));
        given_.context.weights.read_rows("visual.pos_embed.weight", 0, table);
        const auto side = static_cast<std::uint32_t>(
            std::llround(std::sqrt(static_cast<double>(given_.config.num_position_embeddings))));
        const runtime::TableCorners corners = runtime::table_corners(patches_.grid, side);
        ov::Tensor indices(ov::element::i64, {corners.indices.size(), count_});
        Matrix expected(static_cast<Index>(indices.get_size()), table.cols());
        for (std::size_t i = 0; i < indices.get_size(); ++i) {
            const std::int64_t row = corners.indices[i / count_][i % count_];
            indices.data<std::int64_t>()[i] = row;
            expected.row(static_cast<Index>(i)) = table.row(row);
        }
        ov::InferRequest request = load(names::kVisionPositions);
        request.set_input_tensor(indices);
        request.infer();
        return agrees(expected, matrix_of(request.get_output_tensor()));
    }

    std::string blocks_and_merger() {
        std::map<std::uint64_t, Matrix> expected;
        const Matrix merged = reference::vision_tower(
            patch_rows(patches_), {{1, patches_.grid.rows, patches_.grid.columns}}, given_.config, given_.context,
            [&](std::uint64_t block, const auto& x) { expected[block] = x; });
        const std::shared_ptr<ov::Model> merger =
            runtime::read_model(given_.core, given_.directory, names::kVisionMerger);
        const std::size_t own = merger->outputs().size();
        const std::vector<std::uint64_t> blocks = add_block_outputs(*merger);
        ov::InferRequest request =
            runtime::compile(given_.core, merger, names::kVisionMerger, {given_.device, "f32"}).create_infer_request();
        const auto rotary = static_cast<std::uint32_t>(given_.config.hidden_size / given_.config.num_heads / 2);
        request.set_tensor("hidden_states", tensor_of(expected.at(0)));
        request.set_tensor(names::kAttentionMask,
                           tensor_of(std::vector<float>(count_ * count_, 0.0f), {1, count_, count_}));
        request.set_tensor(
            "rotary_pos_emb",
            tensor_of(runtime::rotary_angles(runtime::patch_order(patches_.grid, merge_), rotary), {count_, rotary}));
        request.infer();
        std::map<std::uint64_t, Matrix> found;
        for (std::size_t i = 0; i < blocks.size(); ++i) {
            found[blocks[i]] = matrix_of(request.get_output_tensor(own + i));
        }
        for (const auto& [block, output] : found) {
            if (const auto truth = expected.find(block + 1);
                truth != expected.end() && !agrees(truth->second, output)) {
                return fmt::format("block {}", block);
            }
        }
        return agrees(merged, matrix_of(request.get_output_tensor(0))) ? std::string() : "merger";
    }

private:
    ov::InferRequest load(const char* name) {
        return runtime::compile(given_.core, runtime::read_model(given_.core, given_.directory, name), name,
                                {given_.device, "f32"})
            .create_infer_request();
    }

    static bool agrees(const Matrix& truth, const Matrix& judged) {
        return relative_distance(truth, judged) <= kHiddenStates;
    }

    const VisionStages& given_;
    const runtime::Patches& patches_;
    std::uint32_t merge_;
    std::size_t count_;
};

}  // namespace

std::string VisionStages::first_wrong(const runtime::Patches& patches, std::uint32_t merge) const {
    return openvino_call(ErrorKind::Input, "run the vision tower stage by stage", [&]() -> std::string {
        Stages stages(*this, patches, merge);
        return !stages.patch_embeddings()      ? "patch embeddings"
               : !stages.position_embeddings() ? "position embeddings"
                                               : stages.blocks_and_merger();
    });
}

}  // namespace deltavino::evaluation
