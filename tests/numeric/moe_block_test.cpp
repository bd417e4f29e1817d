// The mixture-of-experts block on its own: against plain loops, and with compressed experts.
#include "support/checkpoint_writer.hpp"
#include "support/engine.hpp"
#include "support/golden.hpp"

#include "blocks/moe.hpp"
#include "checkpoint/checkpoint.hpp"
#include "checkpoint/config.hpp"
#include "models/moe_tensors.hpp"

#include <openvino/op/result.hpp>
#include <openvino/runtime/infer_request.hpp>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace deltavino::test {
namespace {

using checkpoint::TextConfig;
using graph::Role;
using graph::Storage;

constexpr const char* kLayer = "model.layers.0.";

struct Geometry {
    std::uint64_t experts;
    std::uint64_t chosen;
    bool normalise = true;
    std::uint64_t hidden = 64;
    std::uint64_t inner = 32;
    std::uint64_t shared = 48;
};

TextConfig config_of(const Geometry& g) {
    TextConfig config;
    config.hidden_size = g.hidden;
    config.moe = checkpoint::MoeConfig{g.experts, g.chosen, g.inner, g.shared, g.normalise};
    return config;
}

// The layer's weights, experts fused.
std::vector<NamedTensor> make_tensors(const Geometry& g) {
    std::vector<NamedTensor> tensors;
    std::uint32_t seed = 7;
    const auto add = [&](const std::string& name, std::vector<std::uint64_t> shape, float size) {
        std::vector<float> values =
            noise(std::accumulate(shape.begin(), shape.end(), std::uint64_t{1}, std::multiplies<>()), ++seed);
        std::transform(values.begin(), values.end(), values.begin(), [&](float v) { return v * size; });
        tensors.push_back({kLayer + ("mlp." + name), std::move(shape), std::move(values)});
    };
    add("gate.weight", {g.experts, g.hidden}, 0.5f);
    add("experts.gate_up_proj", {g.experts, 2 * g.inner, g.hidden}, 0.3f);
    add("experts.down_proj", {g.experts, g.hidden, g.inner}, 0.3f);
    add("shared_expert.gate_proj.weight", {g.shared, g.hidden}, 0.3f);
    add("shared_expert.up_proj.weight", {g.shared, g.hidden}, 0.3f);
    add("shared_expert.down_proj.weight", {g.hidden, g.shared}, 0.3f);
    add("shared_expert_gate.weight", {1, g.hidden}, 0.3f);
    return tensors;
}

// y[rows] = W x, W [rows, x.size()] at `weights`.
std::vector<double> product(const float* weights, std::uint64_t rows, const std::vector<double>& x) {
    std::vector<double> y(rows, 0.0);
    for (std::uint64_t i = 0; i < rows; ++i) {
        for (std::uint64_t j = 0; j < x.size(); ++j) {
            y[i] += static_cast<double>(weights[i * x.size() + j]) * x[j];
        }
    }
    return y;
}

std::vector<double> expert(const float* gate, const float* up, const float* down, std::uint64_t inner,
                           const std::vector<double>& x) {
    std::vector<double> g = product(gate, inner, x);
    const std::vector<double> u = product(up, inner, x);
    for (std::uint64_t i = 0; i < inner; ++i) {
        g[i] = g[i] / (1.0 + std::exp(-g[i])) * u[i];
    }
    return product(down, x.size(), g);
}

// The equations of blocks/moe.hpp for one token, in double.
std::vector<double> reference(const Geometry& g, const std::vector<NamedTensor>& t, const std::vector<double>& x) {
    std::vector<double> p = product(t[0].values.data(), g.experts, x);
    const double top = *std::max_element(p.begin(), p.end());
    double total = 0.0;
    for (double& value : p) {
        total += value = std::exp(value - top);
    }
    std::vector<std::uint64_t> order(g.experts);
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](std::uint64_t a, std::uint64_t b) { return p[a] > p[b]; });
    double kept = 0.0;
    for (std::uint64_t i = 0; i < g.chosen; ++i) {
        kept += p[order[i]];
    }
    std::vector<double> y = expert(t[3].values.data(), t[4].values.data(), t[5].values.data(), g.shared, x);
    const double open = 1.0 / (1.0 + std::exp(-product(t[6].values.data(), 1, x)[0]));
    std::transform(y.begin(), y.end(), y.begin(), [&](double v) { return v * open; });
    for (std::uint64_t i = 0; i < g.chosen; ++i) {
        const std::uint64_t e = order[i];
        const float* fused = t[1].values.data() + e * 2 * g.inner * g.hidden;
        const std::vector<double> out =
            expert(fused, fused + g.inner * g.hidden, t[2].values.data() + e * g.hidden * g.inner, g.inner, x);
        for (std::uint64_t j = 0; j < g.hidden; ++j) {
            y[j] += p[e] / (g.normalise ? kept : total) * out[j];
        }
    }
    return y;
}

std::shared_ptr<ov::Model> export_block(const Geometry& geometry, const std::vector<NamedTensor>& tensors,
                                        const graph::StoragePolicy& policy) {
    const TemporaryDirectory directory;
    write_checkpoint(directory.path(), "{}", tensors);
    const checkpoint::Checkpoint checkpoint(directory.path());
    const TextConfig config = config_of(geometry);
    graph::TensorTable table;
    models::add_moe_tensors(table, config, kLayer, checkpoint);
    table.check(checkpoint);
    graph::Weights weights(checkpoint, table, policy);
    const auto x = graph::parameter(ov::element::f32, {-1, -1, static_cast<std::int64_t>(geometry.hidden)}, "x");
    const graph::Value y = blocks::mixture_of_experts(x, graph::Scope(weights, kLayer + std::string("mlp.")), config);
    const ov::Model model(ov::ResultVector{std::make_shared<ov::op::v0::Result>(y)}, ov::ParameterVector{x}, "block");
    std::shared_ptr<ov::Model> read = through_file(model, weights, directory.path());
    return read;
}

Storage float32(const graph::WeightRequest&) {
    return {};
}

std::vector<float> run(ov::CompiledModel& compiled, const ov::Shape& shape, const std::vector<float>& x) {
    ov::Tensor input(ov::element::f32, shape);
    std::copy(x.begin(), x.end(), input.data<float>());
    ov::InferRequest request = compiled.create_infer_request();
    request.set_input_tensor(input);
    request.infer();
    const ov::Tensor output = request.get_output_tensor();
    EXPECT_EQ(output.get_shape(), shape);
    return {output.data<float>(), output.data<float>() + output.get_size()};
}

class MoeBlock : public testing::TestWithParam<Geometry> {};

TEST_P(MoeBlock, GivesWhatPlainLoopsGive) {
    const Geometry& g = GetParam();
    const std::vector<NamedTensor> tensors = make_tensors(g);
    ov::CompiledModel compiled = compile_f32(export_block(g, tensors, float32));
    EXPECT_EQ(runtime_counts(compiled).at("GatherMatmul"), 3u);
    for (const auto& [rows, length] :
         std::vector<std::pair<std::uint64_t, std::uint64_t>>{{1, 1}, {1, 3}, {2, 5}, {3, 1}, {1, 37}}) {
        const std::vector<float> x = noise(rows * length * g.hidden, static_cast<std::uint32_t>(100 * rows + length));
        std::vector<float> expected;
        for (std::uint64_t n = 0; n < rows * length; ++n) {
            const auto begin = x.begin() + static_cast<std::ptrdiff_t>(n * g.hidden);
            const std::vector<double> y = reference(g, tensors, {begin, begin + static_cast<std::ptrdiff_t>(g.hidden)});
            expected.insert(expected.end(), y.begin(), y.end());
        }
        EXPECT_LE(relative_error(run(compiled, {rows, length, g.hidden}, x), expected), 1e-5)
            << rows << " x " << length;
    }
}

INSTANTIATE_TEST_SUITE_P(Geometries, MoeBlock,
                         testing::Values(Geometry{8, 2}, Geometry{8, 2, false}, Geometry{8, 1}, Geometry{7, 3},
                                         Geometry{16, 4, false}, Geometry{4, 4}, Geometry{32, 8, true, 48, 40, 24}),
                         [](const auto& tested) {
                             const Geometry& g = tested.param;
                             return fmt::format("top{}of{}{}{}", g.chosen, g.experts, g.normalise ? "" : "_as_they_are",
                                                g.hidden == 64 ? "" : "_odd_sizes");
                         });

struct CompressedCase {
    quant::Scheme scheme;
    std::string precision;
};

class CompressedExperts : public testing::TestWithParam<CompressedCase> {};

TEST_P(CompressedExperts, StayCompressedAndGiveTheirStoredValues) {
    const Geometry g{8, 2, true, 128, 64, 64};
    const std::vector<NamedTensor> tensors = make_tensors(g);
    const auto model = export_block(g, tensors, [](const graph::WeightRequest& request) -> Storage {
        const bool small = request.role == Role::Router || request.role == Role::SharedExpertGate;
        return small ? Storage{ov::element::f32, {}, ""} : Storage{ov::element::f32, GetParam().scheme, ""};
    });
    ov::CompiledModel compiled = compile_f32(model);
    ov::CompiledModel decompressed = compile_f32(decompress(*model));
    EXPECT_EQ(weight_precisions(compiled, "GatherMatmul"),
              (std::map<std::string, std::size_t>{{GetParam().precision, 3}}));
    EXPECT_EQ(weight_precisions(compiled, "FullyConnected"),
              (std::map<std::string, std::size_t>{{GetParam().precision, 3}, {"f32", 2}}));
    EXPECT_EQ(weight_precisions(decompressed, "GatherMatmul"), (std::map<std::string, std::size_t>{{"f32", 3}}));
    for (std::uint64_t length : {1, 5, 33}) {
        const std::vector<float> x = noise(length * g.hidden, 3);
        EXPECT_LE(relative_error(run(compiled, {1, length, g.hidden}, x), run(decompressed, {1, length, g.hidden}, x)),
                  1e-5)
            << length << " tokens";
    }
}

using quant::Format;

INSTANTIATE_TEST_SUITE_P(Formats, CompressedExperts,
                         testing::Values(CompressedCase{{Format::U4, 32}, "u4"}, CompressedCase{{Format::U4, 64}, "u4"},
                                         CompressedCase{{Format::I4, 32}, "i4"}, CompressedCase{{Format::U4, 0}, "u4"},
                                         CompressedCase{{Format::I4, 0}, "i4"}, CompressedCase{{Format::U8, 0}, "u8"},
                                         CompressedCase{{Format::I8, 0}, "i8"}, CompressedCase{{Format::U8, 32}, "u8"},
                                         CompressedCase{{Format::I8, 32}, "i8"}),
                         [](const auto& tested) {
                             return fmt::format("{}_{}", tested.param.precision,
                                                tested.param.scheme.group_size == 0
                                                    ? "channel"
                                                    : fmt::format("group{}", tested.param.scheme.group_size));
                         });

TEST(MoeBlock, FloatExpertsFuse) {
    const Geometry g{8, 2};
    const std::vector<NamedTensor> tensors = make_tensors(g);
    for (const ov::element::Type type : {ov::element::bf16, ov::element::f16}) {
        ov::CompiledModel compiled =
            compile_f32(export_block(g, tensors, [&](const graph::WeightRequest&) { return Storage{type, {}, ""}; }));
        EXPECT_EQ(runtime_counts(compiled).at("GatherMatmul"), 3u);
    }
}

}  // namespace
}  // namespace deltavino::test
