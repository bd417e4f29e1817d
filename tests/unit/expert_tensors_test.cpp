// Experts in every way in which checkpoints store them, and what is said when some are missing.
#include "support/checkpoint_writer.hpp"
#include "support/golden.hpp"

#include "base/error.hpp"
#include "checkpoint/checkpoint.hpp"
#include "checkpoint/config.hpp"
#include "graph/weights.hpp"
#include "models/moe_tensors.hpp"
#include "models/qwen3_next_tensors.hpp"

#include <gtest/gtest.h>

#include <memory>

namespace deltavino::models {
namespace {

using checkpoint::Checkpoint;
using checkpoint::TextConfig;
using graph::Assembly;
using graph::TensorTable;
using test::NamedTensor;

constexpr std::uint64_t kExperts = 4;
constexpr std::uint64_t kHidden = 6;
constexpr std::uint64_t kInner = 2;

TextConfig config(std::uint64_t experts = kExperts) {
    TextConfig text;
    text.hidden_size = kHidden;
    text.moe = checkpoint::MoeConfig{experts, 2, kInner, 3, true};
    return text;
}

void add(std::vector<NamedTensor>& tensors, const std::string& name, std::vector<std::uint64_t> shape) {
    std::uint64_t size = 1;
    for (std::uint64_t dim : shape) {
        size *= dim;
    }
    tensors.push_back({name, std::move(shape), std::vector<float>(size, 0.5f)});
}

void add_rest(std::vector<NamedTensor>& tensors, const std::string& layer) {
    add(tensors, layer + "mlp.gate.weight", {kExperts, kHidden});
    add(tensors, layer + "mlp.shared_expert.gate_proj.weight", {3, kHidden});
    add(tensors, layer + "mlp.shared_expert.up_proj.weight", {3, kHidden});
    add(tensors, layer + "mlp.shared_expert.down_proj.weight", {kHidden, 3});
    add(tensors, layer + "mlp.shared_expert_gate.weight", {1, kHidden});
}

void add_fused(std::vector<NamedTensor>& tensors, const std::string& layer) {
    add(tensors, layer + "mlp.experts.gate_up_proj", {kExperts, 2 * kInner, kHidden});
    add(tensors, layer + "mlp.experts.down_proj", {kExperts, kHidden, kInner});
}

void add_split(std::vector<NamedTensor>& tensors, const std::string& layer) {
    for (std::uint64_t e = 0; e < kExperts; ++e) {
        const std::string expert = layer + "mlp.experts." + std::to_string(e) + ".";
        add(tensors, expert + "gate_proj.weight", {kInner, kHidden});
        add(tensors, expert + "up_proj.weight", {kInner, kHidden});
        add(tensors, expert + "down_proj.weight", {kHidden, kInner});
    }
}

const std::string kLayer = "model.layers.0.";
const std::string kStored = "model.language_model.layers.0.";

class ExpertTensors : public testing::Test {
protected:
    const Checkpoint& write(const std::vector<NamedTensor>& tensors) {
        test::write_checkpoint(directory_.path(), "{}", tensors);
        checkpoint_ = std::make_unique<Checkpoint>(directory_.path());
        return *checkpoint_;
    }
    static TensorTable table(const Checkpoint& checkpoint, const TextConfig& text = config(),
                             const std::string& layer = kLayer) {
        TensorTable table;
        add_moe_tensors(table, text, layer, checkpoint);
        return table;
    }
    static std::string problem(const TensorTable& table, const Checkpoint& checkpoint) {
        try {
            table.check(checkpoint);
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::Input);
            return error.what();
        }
        ADD_FAILURE() << "nothing was found";
        return {};
    }

    test::TemporaryDirectory directory_;
    std::unique_ptr<Checkpoint> checkpoint_;
};

TEST_F(ExpertTensors, FusedGateComesBeforeUp) {
    std::vector<NamedTensor> tensors;
    add_fused(tensors, kStored);
    add_rest(tensors, kStored);
    const Checkpoint& checkpoint = write(tensors);
    const TensorTable rows = table(checkpoint);
    EXPECT_TRUE(rows.check(checkpoint).empty());
    const Assembly* gate = rows.find_assembly(kLayer + "mlp.experts.gate_proj.weight");
    const Assembly* up = rows.find_assembly(kLayer + "mlp.experts.up_proj.weight");
    const Assembly* down = rows.find_assembly(kLayer + "mlp.experts.down_proj.weight");
    ASSERT_TRUE(gate != nullptr && up != nullptr && down != nullptr);
    EXPECT_EQ(gate->shape, (std::vector<std::uint64_t>{kExperts, kInner, kHidden}));
    EXPECT_EQ(down->shape, (std::vector<std::uint64_t>{kExperts, kHidden, kInner}));
    for (std::uint64_t e = 0; e < kExperts; ++e) {
        EXPECT_EQ(gate->parts[e].first_row, 2 * kInner * e);
        EXPECT_EQ(up->parts[e].first_row, 2 * kInner * e + kInner);
        EXPECT_EQ(up->parts[e].rows, kInner);
        EXPECT_EQ(down->parts[e].first_row, kHidden * e);
    }
}

TEST_F(ExpertTensors, NamesDoNotTellTheStorage) {
    for (const auto& add_experts : {add_fused, add_split}) {
        std::vector<NamedTensor> tensors;
        add_experts(tensors, kStored);
        add_rest(tensors, kStored);
        const Checkpoint& checkpoint = write(tensors);
        const TensorTable rows = table(checkpoint);
        graph::Weights weights(checkpoint, rows, [](const graph::WeightRequest&) { return graph::Storage{}; });
        for (const std::string projection : {"gate_proj", "up_proj", "down_proj"}) {
            weights.matrix(kLayer + "mlp.experts." + projection + ".weight");
            EXPECT_EQ(weights.jobs().back().name, kStored + "mlp.experts." + projection + ".weight");
            EXPECT_EQ(weights.module_path(kLayer + "mlp.experts." + projection + ".weight"),
                      kStored + "mlp.experts." + projection);
            EXPECT_EQ(weights.jobs().back().sources.size(), kExperts);
        }
    }
}

TEST_F(ExpertTensors, EachLayerStoresThemInItsOwnWay) {
    std::vector<NamedTensor> tensors;
    add_fused(tensors, kLayer);
    add_rest(tensors, kLayer);
    const std::string second = "model.layers.10.";  // 'layers.1' is a prefix of it
    add_split(tensors, second);
    add_rest(tensors, second);
    const Checkpoint& checkpoint = write(tensors);
    TensorTable rows = table(checkpoint);
    add_moe_tensors(rows, config(), second, checkpoint);
    EXPECT_TRUE(rows.check(checkpoint).empty());
}

TEST_F(ExpertTensors, OneMissingExpertIsNamed) {
    std::vector<NamedTensor> tensors;
    add_split(tensors, kLayer);
    add_rest(tensors, kLayer);
    std::erase_if(tensors, [](const NamedTensor& t) { return t.name.find("experts.2.up_proj") != std::string::npos; });
    const Checkpoint& checkpoint = write(tensors);
    EXPECT_NE(problem(table(checkpoint), checkpoint)
                  .find("tensor 'model.layers.0.mlp.experts.2.up_proj.weight' [2, 6] is missing"),
              std::string::npos)
        << problem(table(checkpoint), checkpoint);
}

TEST_F(ExpertTensors, NoExpertsAtAllMeansTheFusedOnesAreMissing) {
    std::vector<NamedTensor> tensors;
    add_rest(tensors, kLayer);
    const Checkpoint& checkpoint = write(tensors);
    EXPECT_NE(
        problem(table(checkpoint), checkpoint).find("'model.layers.0.mlp.experts.gate_up_proj' [4, 4, 6] is missing"),
        std::string::npos);
}

TEST_F(ExpertTensors, AnotherNumberOfExpertsThanInTheConfig) {
    std::vector<NamedTensor> tensors;
    add_fused(tensors, kLayer);
    add_rest(tensors, kLayer);
    const Checkpoint& fused = write(tensors);
    EXPECT_NE(problem(table(fused, config(5)), fused).find("has shape [4, 4, 6], expected [5, 4, 6]"),
              std::string::npos);
    tensors.clear();
    add_split(tensors, kLayer);
    add_rest(tensors, kLayer);
    const Checkpoint& split = write(tensors);
    EXPECT_NE(problem(table(split, config(5)), split)
                  .find("'model.layers.0.mlp.experts.4.gate_proj.weight' [2, 6] is missing"),
              std::string::npos);
    const std::string surplus = problem(table(split, config(3)), split);
    EXPECT_NE(
        surplus.find(
            "experts.3.down_proj.weight' [6, 2] in 'model.safetensors' is unexpected: config.json has fewer experts"),
        std::string::npos)
        << surplus;
}

TEST_F(ExpertTensors, BothWaysInOneLayerAreRefused) {
    std::vector<NamedTensor> tensors;
    add_fused(tensors, kLayer);
    add_split(tensors, kLayer);
    add_rest(tensors, kLayer);
    const Checkpoint& checkpoint = write(tensors);
    EXPECT_NE(problem(table(checkpoint), checkpoint).find("or the layer stores its experts in two ways"),
              std::string::npos);
}

// The order of rows, for 1, 2 and 3 value heads per key head, against the split that transformers makes.
TEST(InterleavedProjections, RowsOfEachKeyHead) {
    for (const std::uint64_t ratio : {1, 2, 3}) {
        TextConfig c;
        c.hidden_size = 8;
        c.linear_num_key_heads = 2;
        c.linear_num_value_heads = 2 * ratio;
        c.linear_key_head_dim = 4;
        c.linear_value_head_dim = 5;
        TensorTable rows;
        add_interleaved_projections(rows, c, "m.");
        const std::uint64_t share = 2 * 4 + 2 * 5 * ratio;
        const auto flatten = [&](const std::string& name) {
            std::vector<std::uint64_t> list;
            for (const graph::Part& part : rows.find_assembly(name)->parts) {
                for (std::uint64_t i = 0; i < part.rows; ++i) {
                    list.push_back(part.first_row + i);
                }
            }
            return list;
        };
        std::vector<std::uint64_t> qkv;
        std::vector<std::uint64_t> z;
        std::vector<std::uint64_t> b;
        std::vector<std::uint64_t> a;
        const auto range = [](std::vector<std::uint64_t>& to, std::uint64_t from, std::uint64_t count) {
            for (std::uint64_t i = 0; i < count; ++i) {
                to.push_back(from + i);
            }
        };
        range(qkv, 0, 4);
        range(qkv, share, 4);
        range(qkv, 4, 4);
        range(qkv, share + 4, 4);
        range(qkv, 8, 5 * ratio);
        range(qkv, share + 8, 5 * ratio);
        range(z, 8 + 5 * ratio, 5 * ratio);
        range(z, share + 8 + 5 * ratio, 5 * ratio);
        range(b, 0, ratio);
        range(b, 2 * ratio, ratio);
        range(a, ratio, ratio);
        range(a, 3 * ratio, ratio);
        EXPECT_EQ(flatten("m.in_proj_qkv.weight"), qkv);
        EXPECT_EQ(flatten("m.in_proj_z.weight"), z);
        EXPECT_EQ(flatten("m.in_proj_b.weight"), b);
        EXPECT_EQ(flatten("m.in_proj_a.weight"), a);
        EXPECT_EQ(rows.find_assembly("m.in_proj_qkv.weight")->shape,
                  (std::vector<std::uint64_t>{c.conv_channels(), 8}));
    }
}

}  // namespace
}  // namespace deltavino::models
