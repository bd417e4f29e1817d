// Exported text models against transformers: the same logits whatever the way the tokens come in, and
// the fused operations in the graph that runs.
#include "support/engine.hpp"
#include "support/golden.hpp"

#include "checkpoint/checkpoint.hpp"
#include "checkpoint/config.hpp"
#include "runtime/delta_rule/replace.hpp"

#include <deltavino/export.hpp>

#include <openvino/op/constant.hpp>
#include <openvino/op/loop.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

namespace deltavino::test {
namespace {

constexpr double kBound = 1e-4;  // of the largest logit

// One exported case, shared by the tests of the case.
struct Exported {
    TemporaryDirectory directory;
    checkpoint::TextConfig config;
    Golden golden;
    ov::CompiledModel compiled;

    explicit Exported(const std::string& name) {
        ExportOptions options;
        options.model = golden_directory(name);
        options.output = directory.path() / "model";
        options.task = "text-generation-with-past";
        options.convert_tokenizer = false;
        SilentProgress progress;
        export_model(options, progress);
        config = checkpoint::read_config(checkpoint::Checkpoint(options.model).config_text(), "config.json").text;
        golden = read_golden(options.model / "expected.safetensors");
        compiled = compile_f32(model());
    }
    std::shared_ptr<ov::Model> model() const { return read_model(directory.path() / "model" / "openvino_model.xml"); }
};

Exported& exported(const std::string& name) {
    return shared_case<Exported>(name);
}

std::vector<Ids> rows_of(const GoldenTensor& tensor) {
    std::vector<Ids> rows(tensor.dim(0));
    for (std::size_t i = 0; i < rows.size(); ++i) {
        const auto begin = tensor.integers.begin() + static_cast<std::ptrdiff_t>(i * tensor.dim(1));
        rows[i].assign(begin, begin + static_cast<std::ptrdiff_t>(tensor.dim(1)));
    }
    return rows;
}

std::vector<Ids> columns(const std::vector<Ids>& rows, std::size_t begin, std::size_t end) {
    std::vector<Ids> part;
    for (const Ids& row : rows) {
        part.emplace_back(row.begin() + static_cast<std::ptrdiff_t>(begin),
                          row.begin() + static_cast<std::ptrdiff_t>(end));
    }
    return part;
}

void append(Logits& all, const Logits& more) {
    all.resize(more.size());
    for (std::size_t i = 0; i < more.size(); ++i) {
        all[i].insert(all[i].end(), more[i].begin(), more[i].end());
    }
}

std::vector<float> flatten(const Logits& logits) {
    std::vector<float> flat;
    for (const auto& row : logits) {
        flat.insert(flat.end(), row.begin(), row.end());
    }
    return flat;
}

Logits run_in_chunks(StatefulEngine& engine, const std::vector<Ids>& rows, std::vector<std::size_t> chunks) {
    Logits all;
    std::size_t at = 0;
    const std::size_t length = rows.front().size();
    for (std::size_t i = 0; at < length; ++i) {
        const std::size_t size = i < chunks.size() ? std::min(chunks[i], length - at) : length - at;
        append(all, engine.step(columns(rows, at, at + size)));
        at += size;
    }
    return all;
}

class TextModel : public testing::TestWithParam<std::string> {
protected:
    Exported& exported_case() { return exported(GetParam()); }
    std::vector<Ids> prompt() { return rows_of(exported_case().golden.at("input_ids")); }
    const std::vector<float>& expected() { return exported_case().golden.at("logits").floats; }
};

TEST_P(TextModel, WholePrompt) {
    StatefulEngine engine(exported_case().compiled);
    EXPECT_LE(relative_error(flatten(engine.step(prompt())), expected()), kBound);
}

TEST_P(TextModel, TokenByToken) {
    StatefulEngine engine(exported_case().compiled);
    EXPECT_LE(
        relative_error(flatten(run_in_chunks(engine, prompt(), std::vector<std::size_t>(prompt().front().size(), 1))),
                       expected()),
        kBound);
}

TEST_P(TextModel, Chunks) {
    StatefulEngine engine(exported_case().compiled);
    EXPECT_LE(relative_error(flatten(run_in_chunks(engine, prompt(), {7, 5, 3})), expected()), kBound);
}

TEST_P(TextModel, ResetAndAgain) {
    StatefulEngine engine(exported_case().compiled);
    engine.step(columns(prompt(), 3, 20));
    engine.reset();
    EXPECT_LE(relative_error(flatten(run_in_chunks(engine, prompt(), {1, 2})), expected()), kBound);
}

TEST_P(TextModel, LeftPaddedBatch) {
    const Golden& golden = exported_case().golden;
    const std::vector<Ids> mask = rows_of(golden.at("padded_mask"));
    StatefulEngine engine(exported_case().compiled);
    Logits logits = engine.step(rows_of(golden.at("padded_ids")), mask);
    // What a model says about padding does not matter.
    const std::size_t vocabulary = golden.at("padded_logits").dim(2);
    for (std::size_t i = 0; i < mask.size(); ++i) {
        for (std::size_t t = 0; t < mask[i].size(); ++t) {
            if (mask[i][t] == 0) {
                std::fill_n(logits[i].begin() + static_cast<std::ptrdiff_t>(t * vocabulary), vocabulary, 0.0f);
            }
        }
    }
    EXPECT_LE(relative_error(flatten(logits), golden.at("padded_logits").floats), kBound);
}

TEST_P(TextModel, LeftPaddedBatchInChunks) {
    const Golden& golden = exported_case().golden;
    const std::vector<Ids> ids = rows_of(golden.at("padded_ids"));
    const std::vector<Ids> mask = rows_of(golden.at("padded_mask"));
    StatefulEngine engine(exported_case().compiled);
    const std::size_t length = ids.front().size();
    engine.step(columns(ids, 0, length - 3), columns(mask, 0, length - 3));
    Logits last;
    for (std::size_t t = length - 3; t < length; ++t) {
        append(last, engine.step(columns(ids, t, t + 1), columns(mask, 0, t + 1)));
    }
    const GoldenTensor& padded = golden.at("padded_logits");
    std::vector<float> wanted;
    for (std::size_t i = 0; i < ids.size(); ++i) {
        const auto end = padded.floats.begin() + static_cast<std::ptrdiff_t>((i + 1) * length * padded.dim(2));
        wanted.insert(wanted.end(), end - static_cast<std::ptrdiff_t>(3 * padded.dim(2)), end);
    }
    EXPECT_LE(relative_error(flatten(last), wanted), kBound);
}

TEST_P(TextModel, BeamReorder) {
    const Golden& golden = exported_case().golden;
    const std::vector<std::int64_t>& order = golden.at("beam_idx").integers;
    StatefulEngine engine(exported_case().compiled);
    engine.step(rows_of(golden.at("beam_prefix")));
    const Logits logits = engine.step(rows_of(golden.at("beam_next")), {}, {order.begin(), order.end()});
    EXPECT_LE(relative_error(flatten(logits), golden.at("beam_logits").floats), kBound);
}

TEST_P(TextModel, PagedTwoSequencesInChunks) {
    const std::vector<Ids> ids = prompt();
    const std::size_t length = ids[0].size();
    const std::size_t shorter = length - 6;
    PagedEngine engine(exported_case().model(), 2);
    Logits all(2);
    const std::vector<std::size_t> first{10, 4, 1, 1, length - 16};
    const std::vector<std::size_t> second{6, 10, 2, 1, shorter - 19};
    std::size_t a = 0;
    std::size_t b = 0;
    for (std::size_t i = 0; i < first.size(); ++i) {
        append(all, engine.step({columns({ids[0]}, a, a + first[i])[0], columns({ids[1]}, b, b + second[i])[0]}));
        a += first[i];
        b += second[i];
    }
    const std::size_t vocabulary = exported_case().config.vocab_size;
    const auto row = [&](std::size_t index, std::size_t tokens) {
        const auto begin = expected().begin() + static_cast<std::ptrdiff_t>(index * length * vocabulary);
        return std::vector<float>(begin, begin + static_cast<std::ptrdiff_t>(tokens * vocabulary));
    };
    EXPECT_LE(relative_error(all[0], row(0, length)), kBound);
    EXPECT_LE(relative_error(all[1], row(1, shorter)), kBound);
}

// What the stateful and the paged form are compiled to alike.
void expect_fused(const ov::CompiledModel& compiled, const checkpoint::TextConfig& config) {
    const auto counts = runtime_counts(compiled);
    const std::size_t linear = config.count(checkpoint::LayerKind::LinearAttention);
    const std::size_t full = config.count(checkpoint::LayerKind::FullAttention);
    const auto count = [&](const char* type) {
        return counts.contains(type) ? counts.at(type) : 0;
    };
    EXPECT_EQ(count("TensorIterator") + count("Loop"), 0u);
    EXPECT_EQ(count("RMS"), 2 * config.num_hidden_layers + 1 + 2 * full + linear);
    EXPECT_EQ(count("RoPE"), 2 * full);
    EXPECT_EQ(count("GatherMatmul"), config.moe ? 3 * config.num_hidden_layers : 0u);
}

TEST_P(TextModel, CompiledGraphIsFused) {
    const auto counts = runtime_counts(exported_case().compiled);
    const checkpoint::TextConfig& config = exported_case().config;
    const auto count = [&](const char* type) {
        return counts.contains(type) ? counts.at(type) : 0;
    };
    expect_fused(exported_case().compiled, config);
    EXPECT_EQ(count("GatedDeltaNet"), config.count(checkpoint::LayerKind::LinearAttention));
    EXPECT_EQ(count("ScaledDotProductAttention"), config.count(checkpoint::LayerKind::FullAttention));
    for (const auto& node : exported_case().compiled.get_runtime_model()->get_ordered_ops()) {
        if (node->get_rt_info().at("layerType").as<std::string>() == "ScaledDotProductAttention") {
            EXPECT_EQ(node->get_input_size(), 8u) << "the key/value cache is not fused into attention";
        }
    }
}

TEST_P(TextModel, PagedGraphIsFused) {
    const PagedEngine engine(exported_case().model(), 1);
    const auto& counts = engine.operations();
    const auto count = [&](const char* type) {
        return counts.contains(type) ? counts.at(type) : 0;
    };
    const checkpoint::TextConfig& config = exported_case().config;
    EXPECT_EQ(count("PagedCausalConv1D"), config.count(checkpoint::LayerKind::LinearAttention));
    EXPECT_EQ(count("PagedGatedDeltaNet"), config.count(checkpoint::LayerKind::LinearAttention));
    EXPECT_EQ(count("PagedAttentionExtension"), config.count(checkpoint::LayerKind::FullAttention));
    for (const char* gone : {"ReadValue", "Assign", "Loop", "ScaledDotProductAttention", "GroupConvolution"}) {
        EXPECT_EQ(count(gone), 0u) << gone;
    }
    expect_fused(engine.compiled(), config);
}

TEST_P(TextModel, PortsAndStatesAreThoseThatConsumersLookUp) {
    const auto model = exported_case().model();
    ASSERT_EQ(model->inputs().size(), 3u);
    EXPECT_EQ(model->input("input_ids").get_partial_shape(), (ov::PartialShape{-1, -1}));
    EXPECT_EQ(model->input("attention_mask").get_element_type(), ov::element::i64);
    EXPECT_EQ(model->input("beam_idx").get_element_type(), ov::element::i32);
    EXPECT_EQ(model->output("logits").get_element_type(), ov::element::f32);
    EXPECT_STREQ(model->output("logits").get_node()->get_type_name(), "Result");
    EXPECT_STREQ(model->output("logits").get_node()->get_input_node_ptr(0)->get_type_name(), "MatMul");
    const checkpoint::TextConfig& config = exported_case().config;
    EXPECT_EQ(model->get_variables().size(), 2 * config.num_hidden_layers);
    for (const auto& variable : model->get_variables()) {
        EXPECT_EQ(variable->get_info().data_type, ov::element::f32);
        EXPECT_EQ(variable->get_info().variable_id.rfind("cache_params.past.", 0), 0u)
            << variable->get_info().variable_id;
    }
}

std::string case_name(const testing::TestParamInfo<std::string>& tested) {
    std::string name = tested.param;
    std::replace(name.begin(), name.end(), '-', '_');
    return name;
}

TEST_P(TextModel, OwnDeltaRuleGivesTheSame) {
    const auto model = exported_case().model();
    const std::size_t layers = exported_case().config.count(checkpoint::LayerKind::LinearAttention);
    ASSERT_EQ(runtime::use_own_delta_rule(model, ov::element::f32), layers);
    EXPECT_EQ(runtime::use_own_delta_rule(model, ov::element::f32), 0u);  // there are none left
    const ov::CompiledModel compiled = compile_f32(model);
    auto counts = runtime_counts(compiled);
    EXPECT_EQ(counts["GatedDeltaNet"], 0u);
    EXPECT_EQ(counts["GroupConvolution"], 0u);
    EXPECT_EQ(counts["Reference"], layers);
    for (const std::vector<std::size_t>& chunks : {std::vector<std::size_t>{}, {7, 5, 3}, {1, 1, 1, 1, 1, 1}}) {
        StatefulEngine engine(compiled);
        EXPECT_LE(relative_error(flatten(run_in_chunks(engine, prompt(), chunks)), expected()), kBound);
    }
    StatefulEngine engine(compiled);
    engine.step(columns(prompt(), 0, 5));
    engine.reset();
    EXPECT_LE(relative_error(flatten(engine.step(prompt())), expected()), kBound);
}

TEST_P(TextModel, OwnDeltaRuleLeavesOtherForms) {
    // Each of these would be wrong in our hands.
    const auto model = exported_case().model();
    for (const auto& node : model->get_ordered_ops()) {
        if (std::string_view(node->get_type_name()) == "Power") {
            const auto other = ov::op::v0::Constant::create(ov::element::f32, {}, {0.25f});
            node->input(1).replace_source_output(other->output(0));
        }
    }
    EXPECT_EQ(runtime::use_own_delta_rule(model, ov::element::f32), 0u);
    const auto unlike = exported_case().model();
    for (const auto& node : unlike->get_ordered_ops()) {
        if (const auto loop = ov::as_type_ptr<ov::op::v5::Loop>(node)) {
            for (const auto& step : loop->get_function()->get_ordered_ops()) {
                if (std::string_view(step->get_type_name()) == "Exp") {
                    step->output(0).replace(step->input_value(0));
                }
            }
        }
    }
    EXPECT_EQ(runtime::use_own_delta_rule(unlike, ov::element::f32), 0u);
}

INSTANTIATE_TEST_SUITE_P(Dense, TextModel, testing::Values("dense-v1", "dense-v2", "dense-v3", "dense-vl"), case_name);
INSTANTIATE_TEST_SUITE_P(Yarn, TextModel, testing::Values("dense-yarn", "vl-yarn"), case_name);
INSTANTIATE_TEST_SUITE_P(SigmoidGate, TextModel, testing::Values("dense-sigmoid"), case_name);
INSTANTIATE_TEST_SUITE_P(Moe, TextModel, testing::Values("moe-e8k2", "moe-e16k4", "moe-split", "moe-tie", "moe-vl"),
                         case_name);
INSTANTIATE_TEST_SUITE_P(Next, TextModel, testing::Values("next-e8k2", "next-r2"), case_name);

TEST(LongText, PositionsAbove2048) {
    Exported& dense = exported("dense-long");
    const Golden& golden = dense.golden;
    const std::vector<Ids> ids = rows_of(golden.at("input_ids"));
    const auto from = static_cast<std::size_t>(golden.at("logits_from").integers.at(0));
    StatefulEngine engine(dense.compiled);
    engine.step(columns(ids, 0, from));
    EXPECT_LE(relative_error(engine.step(columns(ids, from, ids[0].size()))[0], golden.at("logits").floats), kBound);
}

}  // namespace
}  // namespace deltavino::test
