// Calibration: every candidate gets its codes once, and the model with them is nearer to the float one than with the
// codes nearest to its weights; on dense models, experts, and Qwen3-Next.
#include "base/text.hpp"
#include "calibration/calibrate.hpp"
#include "calibration/quantized_weights.hpp"
#include "calibration/text.hpp"
#include "checkpoint/checkpoint.hpp"
#include "quant/error_feedback.hpp"
#include "reference/checkpoint_weights.hpp"
#include "reference/decoder_layer.hpp"
#include "reference/text_model.hpp"
#include "support/engine.hpp"
#include "support/golden.hpp"

#include <deltavino/error.hpp>

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace deltavino::calibration {
namespace {

namespace fs = std::filesystem;
using reference::Index;
using reference::Matrix;

constexpr std::uint64_t kLength = 64;
constexpr const char* kHead = "model.embed_tokens.weight";

Windows random_windows(std::size_t count, std::uint64_t vocabulary, unsigned seed) {
    std::mt19937 generator(seed);
    Windows windows(count);
    for (auto& ids : windows) {
        for (std::uint64_t t = 0; t < kLength; ++t) {
            ids.push_back(static_cast<std::int64_t>(generator() % vocabulary));
        }
    }
    return windows;
}

class Calibration : public testing::TestWithParam<std::string> {
protected:
    Calibration()
        : directory_(GetParam() == "kjv-tiny" ? fs::path(DELTAVINO_SOURCE_DIR) / "examples" / GetParam()
                                              : test::golden_directory(GetParam())),
          checkpoint_(directory_),
          config_(checkpoint::read_config(checkpoint_.config_text(), GetParam())),
          source_(checkpoint_, config_.text),
          windows_(random_windows(GetParam() == "kjv-tiny" ? 8 : 24, config_.text.vocab_size, 1)) {
        const checkpoint::TextConfig& text = config_.text;
        for (std::uint64_t i = 0; i < text.num_hidden_layers; ++i) {
            const std::string layer = "model.layers." + std::to_string(i) + ".";
            const std::uint64_t values = text.linear_num_value_heads * text.linear_value_head_dim;
            const std::uint64_t heads = text.num_attention_heads * text.head_dim;
            if (text.layer_types[i] == checkpoint::LayerKind::LinearAttention) {
                add(layer + "linear_attn.in_proj_qkv.weight", text.conv_channels(), text.hidden_size);
                add(layer + "linear_attn.in_proj_z.weight", values, text.hidden_size);
                add(layer + "linear_attn.out_proj.weight", text.hidden_size, values);
            } else {
                add(layer + "self_attn.q_proj.weight", 2 * heads, text.hidden_size);
                add(layer + "self_attn.k_proj.weight", text.num_key_value_heads * text.head_dim, text.hidden_size);
                add(layer + "self_attn.v_proj.weight", text.num_key_value_heads * text.head_dim, text.hidden_size);
                add(layer + "self_attn.o_proj.weight", text.hidden_size, heads);
            }
            if (text.moe) {
                add_mlp(layer + "mlp.experts.", text.moe->num_experts, text.moe->moe_intermediate_size);
            } else {
                add_mlp(layer + "mlp.", 1, text.intermediate_size);
            }
        }
    }

    void add(const std::string& name, std::uint64_t rows, std::uint64_t columns) {
        candidates_[name] = {
            {quant::Format::U4, columns % 32 == 0 ? std::uint64_t{32} : std::uint64_t{16}}, rows, columns};
    }

    void add_mlp(const std::string& module, std::uint64_t times, std::uint64_t inner) {
        add(module + "gate_proj.weight", times * inner, config_.text.hidden_size);
        add(module + "up_proj.weight", times * inner, config_.text.hidden_size);
        add(module + "down_proj.weight", times * config_.text.hidden_size, inner);
    }

    Uncalibrated run(QuantizedWeights& made, unsigned threads = 2) {
        test::SilentProgress progress;
        std::map<std::string, std::uint64_t> rows;
        std::set<std::pair<std::string, std::uint64_t>> seen;
        const auto store = [&](const std::string& name, std::uint64_t first, const quant::CodeRows& codes,
                               const quant::BlockStatistics& error) {
            EXPECT_TRUE(seen.emplace(name, first).second) << name << " " << first;
            EXPECT_TRUE(std::isfinite(error.relative_error()));
            rows[name] += codes.rows;
            made.add(name, first, codes);
        };
        const Uncalibrated left =
            calibrate(windows_, {source_, config_.text, candidates_, threads, progress, store, kHead});
        for (const auto& [name, candidate] : candidates_) {
            EXPECT_EQ(rows[name], candidate.rows) << name;
        }
        return left;
    }

    // The codes nearest to the weights.
    void search(QuantizedWeights& made) const {
        for (const auto& [name, candidate] : candidates_) {
            Matrix weight(static_cast<Index>(candidate.rows), static_cast<Index>(candidate.columns));
            source_.read_rows(name, 0, weight);
            quant::QuantizedBuffers buffers;
            quant::quantize_rows(candidate.scheme, quant::Search::LeastError,
                                 {reinterpret_cast<const std::byte*>(weight.data()), quant::SourceType::F32,
                                  candidate.rows, candidate.columns, false},
                                 {}, buffers.resized(candidate.scheme, candidate.rows, candidate.columns));
            made.add(name, 0,
                     quant::codes_of(candidate.scheme, candidate.rows, candidate.columns,
                                     {buffers.packed, buffers.zero_points, buffers.scales}));
        }
    }

    // Squared error on texts: of the final hidden states; with experts, of what those of the first layer put out for
    // the exact input, because a random router that chooses others counts more than all codes.
    double error(const reference::WeightSource& weights, const Windows& windows) const {
        double sum = 0.0;
        for (const auto& ids : windows) {
            const reference::TextModel exact(config_.text, true, source_);
            const reference::TextModel stored(config_.text, true, weights);
            const reference::Positions positions = reference::sequential_positions(ids.size());
            if (!config_.text.moe) {
                sum += (exact.forward(exact.embed(ids), positions) - stored.forward(exact.embed(ids), positions))
                           .cast<double>()
                           .squaredNorm();
                continue;
            }
            exact.forward(exact.embed(ids), positions, {}, [&](std::uint64_t layer, const auto& x) {
                if (layer == 0) {
                    const Matrix normed = reference::hidden_norm(
                        x, {source_}, std::string("model.layers.0.") + reference::kFeedForwardNorm, config_.text);
                    const auto output = [&](const reference::WeightSource& of) {
                        return reference::feed_forward(normed, {of}, "model.layers.0.", config_.text);
                    };
                    const Matrix difference = output(source_) - output(weights);
                    sum += difference.cast<double>().squaredNorm();
                }
            });
        }
        return sum;
    }

    fs::path directory_;
    checkpoint::Checkpoint checkpoint_;
    checkpoint::ModelConfig config_;
    reference::CheckpointWeights source_;
    Windows windows_;
    Candidates candidates_;
};

INSTANTIATE_TEST_SUITE_P(Models, Calibration,
                         testing::Values("kjv-tiny", "dense-v1", "dense-vl", "moe-e16k4", "moe-split", "next-r2"),
                         [](const auto& parameter) {
                             std::string name = parameter.param;
                             std::replace(name.begin(), name.end(), '-', '_');
                             return name;
                         });

TEST_P(Calibration, IsNearerToTheFloatModel) {
    QuantizedWeights calibrated(source_);
    run(calibrated);
    QuantizedWeights nearest(source_);
    search(nearest);
    EXPECT_LT(error(calibrated, windows_), 0.8 * error(nearest, windows_));
    const Windows others = random_windows(8, config_.text.vocab_size, 2);
    EXPECT_LT(error(calibrated, others), 0.95 * error(nearest, others));
}

TEST_P(Calibration, DoesNotDependOnThreads) {
    windows_.resize(4);
    QuantizedWeights one(source_);
    run(one, 1);
    QuantizedWeights two(source_);
    run(two, 2);
    for (const auto& [name, candidate] : candidates_) {
        Matrix a(static_cast<Index>(candidate.rows), static_cast<Index>(candidate.columns));
        Matrix b = a;
        one.read_rows(name, 0, a);
        two.read_rows(name, 0, b);
        ASSERT_EQ(a, b) << name;
    }
}

class Head : public Calibration {
protected:
    // Squared error of the logits for what the exact model puts into its head.
    double head_error(const reference::WeightSource& weights, const Windows& windows) const {
        const reference::TextModel exact(config_.text, true, source_);
        const reference::TextModel stored(config_.text, true, weights);
        double sum = 0.0;
        for (const auto& ids : windows) {
            const Matrix hidden = exact.forward(exact.embed(ids), reference::sequential_positions(ids.size()));
            sum += (exact.logits(hidden) - stored.logits(hidden)).cast<double>().squaredNorm();
        }
        return sum;
    }
};
INSTANTIATE_TEST_SUITE_P(Models, Head, testing::Values("kjv-tiny"), [](const auto&) { return "kjv_tiny"; });

TEST_P(Head, IsNearerOnWhatGoesIn) {
    candidates_.clear();
    candidates_[kHead] = {{quant::Format::I4, 64}, config_.text.vocab_size, config_.text.hidden_size};
    QuantizedWeights calibrated(source_);
    run(calibrated);
    QuantizedWeights nearest(source_);
    search(nearest);
    EXPECT_LT(head_error(calibrated, windows_), 0.8 * head_error(nearest, windows_));
    const Windows others = random_windows(8, config_.text.vocab_size, 2);
    EXPECT_LT(head_error(calibrated, others), 0.9 * head_error(nearest, others));
}

class Experts : public Calibration {};
INSTANTIATE_TEST_SUITE_P(Models, Experts, testing::Values("moe-e16k4"), [](const auto&) { return "moe"; });

TEST_P(Experts, OfFewTokensKeepTheSearch) {
    windows_.resize(1);  // 64 tokens: no expert is reached by so many
    QuantizedWeights made(source_);
    const Uncalibrated left = run(made);
    EXPECT_GT(left.experts, 0u);
    const std::string name = "model.layers.0.mlp.experts.down_proj.weight";
    QuantizedWeights nearest(source_);
    search(nearest);
    const Candidate& candidate = candidates_.at(name);
    Matrix a(static_cast<Index>(candidate.rows), static_cast<Index>(candidate.columns));
    Matrix b = a;
    made.read_rows(name, 0, a);
    nearest.read_rows(name, 0, b);
    const auto same = (a.array() == b.array()).rowwise().all().count();
    EXPECT_EQ(same, left.experts_seen == 0 ? a.rows() : same);
    EXPECT_GT(same, a.rows() / 2);
}

TEST(CalibrationText, WindowsAreSpreadOverTheText) {
    std::vector<std::int64_t> ids(10 * kFewestTokens);
    for (std::size_t i = 0; i < ids.size(); ++i) {
        ids[i] = static_cast<std::int64_t>(i);
    }
    const Windows windows = cut_windows(ids, 2 * kFewestTokens, "ids");
    ASSERT_EQ(windows.size(), 16u);
    EXPECT_EQ(windows.front().front(), 0);
    EXPECT_EQ(windows.back().back(), ids.back());
    for (const auto& window : windows) {
        EXPECT_EQ(window.size(), kWindow);
    }
    EXPECT_EQ(cut_windows({ids.begin(), ids.begin() + kFewestTokens}, 16384, "ids").size(), 8u);
    EXPECT_THROW(cut_windows({1, 2, 3}, 16384, "ids"), Error);
}

TEST(CalibrationText, SamplesOfLongTextsAreWholeCharacters) {
    std::string text;
    for (int i = 0; i < 20000; ++i) {
        text += i % 9 == 8 ? "\n"
                           : "\xE4\xBB\x8A\xC3\xA4"
                             "a";
    }
    const std::string sample = sample_text(text, 20000);
    EXPECT_LE(sample.size(), 20000u);
    EXPECT_GT(sample.size(), 15000u);
    EXPECT_TRUE(is_utf8(sample));
    EXPECT_EQ(sample_text("short", 100), "short");
}

}  // namespace
}  // namespace deltavino::calibration
