// The exported multi-token-prediction model against transformers' layers: the same hidden states and logits whatever
// the way the tokens come in, and the fused operations in the graph that runs.
#include "reference/checkpoint_weights.hpp"
#include "reference/text_model.hpp"
#include "support/engine.hpp"
#include "support/golden.hpp"

#include "base/file.hpp"
#include "checkpoint/checkpoint.hpp"
#include "checkpoint/config.hpp"

#include <deltavino/export.hpp>

#include <openvino/op/matmul.hpp>
#include <openvino/op/result.hpp>

#include <gtest/gtest.h>

#include <filesystem>
#include <map>

namespace deltavino::test {
namespace {

constexpr double kBound = 1e-4;  // of the largest value

ExportSummary export_case(const std::string& name, const std::filesystem::path& out, const std::string& format) {
    ExportOptions options;
    options.model = golden_directory(name);
    options.output = out;
    options.task = "text-generation-with-past";
    options.compression.weight_format = format;
    options.compression.group_size = format == "int4" ? std::optional<std::int64_t>(32) : std::nullopt;
    options.convert_tokenizer = false;
    SilentProgress progress;
    return export_model(options, progress);
}

struct Exported {
    TemporaryDirectory directory;
    checkpoint::Checkpoint checkpoint;
    checkpoint::TextConfig config;
    reference::CheckpointWeights weights;
    reference::TextModel reference;
    Golden golden;
    ov::CompiledModel compiled;

    explicit Exported(const std::string& name)
        : checkpoint(golden_directory(name)),
          config(checkpoint::read_config(checkpoint.config_text(), "config.json").text),
          weights(checkpoint, config),
          reference(config, false, weights),
          golden(read_golden(golden_directory(name) / "expected.safetensors")) {
        export_case(name, directory.path() / "model", "");
        compiled = compile_f32(model());
    }
    std::shared_ptr<ov::Model> model(const char* name = "openvino_mtp_model") const {
        return read_model(directory.path() / "model" / (std::string(name) + ".xml"));
    }

    std::vector<float> embeddings(const Ids& ids) const {
        const reference::Matrix rows = reference.embed(ids);
        return {rows.data(), rows.data() + rows.size()};
    }
    // What the text model's head makes of hidden states [T, C].
    std::vector<float> logits(const std::vector<float>& hidden) const {
        const auto width = static_cast<reference::Index>(config.hidden_size);
        const reference::Matrix rows = reference.logits(Eigen::Map<const reference::Matrix>(
            hidden.data(), static_cast<reference::Index>(hidden.size()) / width, width));
        return {rows.data(), rows.data() + rows.size()};
    }
    Drafting given() const {
        return {golden.at("hidden_states").floats, embeddings(golden.at("input_ids").integers),
                static_cast<std::size_t>(config.hidden_size)};
    }
};

class MtpModel : public testing::TestWithParam<std::string> {
protected:
    Exported& tested() { return shared_case<Exported>(GetParam()); }
    const std::vector<float>& expected() { return tested().golden.at("output_hidden").floats; }

    template <typename Engine>
    std::vector<float> in_chunks(Engine& engine, const std::vector<std::size_t>& sizes) {
        const Drafting given = tested().given();
        std::vector<float> all;
        std::size_t at = 0;
        for (std::size_t i = 0; at < given.tokens(); ++i) {
            const std::size_t size = i < sizes.size() ? sizes[i] : given.tokens() - at;
            const Logits made = engine.step(std::vector{given.part(at, at + size)});
            all.insert(all.end(), made[0].begin(), made[0].end());
            at += size;
        }
        return all;
    }
};

TEST_P(MtpModel, WholePrompt) {
    StatefulEngine engine(tested().compiled);
    const std::vector<float> made = in_chunks(engine, {});
    EXPECT_LE(relative_error(made, expected()), kBound);
    EXPECT_LE(relative_error(tested().logits(made), tested().golden.at("logits").floats), kBound);
}

TEST_P(MtpModel, TokenByTokenAndAgain) {
    StatefulEngine engine(tested().compiled);
    EXPECT_LE(relative_error(in_chunks(engine, std::vector<std::size_t>(tested().given().tokens(), 1)), expected()),
              kBound);
    engine.reset();
    EXPECT_LE(relative_error(in_chunks(engine, {7, 5, 3}), expected()), kBound);
}

TEST_P(MtpModel, LeftPadding) {
    const Drafting given = tested().given();
    constexpr std::size_t kPadding = 5;
    Drafting padded = given;
    const std::size_t width = given.width;
    padded.hidden.insert(padded.hidden.begin(), kPadding * width, 3.0f);
    padded.embedded.insert(padded.embedded.begin(), kPadding * width, -2.0f);
    Drafting longer = given;  // the other row of the batch: the first tokens twice
    longer.hidden.insert(longer.hidden.begin(), given.hidden.begin(), given.hidden.begin() + kPadding * width);
    longer.embedded.insert(longer.embedded.begin(), given.embedded.begin(), given.embedded.begin() + kPadding * width);
    Ids mask(padded.tokens(), 1);
    std::fill_n(mask.begin(), kPadding, 0);
    StatefulEngine engine(tested().compiled);
    const Logits made = engine.step({longer, padded}, {Ids(padded.tokens(), 1), mask});
    EXPECT_LE(relative_error({made[1].begin() + kPadding * width, made[1].end()}, expected()), kBound);
}

TEST_P(MtpModel, PagedTwoSequencesInChunks) {
    const Drafting given = tested().given();
    const std::size_t length = given.tokens();
    PagedEngine engine(tested().model(), 2);
    Logits all(2);
    std::size_t a = 0;
    std::size_t b = 0;
    for (const auto& [first, second] : std::vector<std::pair<std::size_t, std::size_t>>{
             {10, 6}, {4, 10}, {1, 2}, {1, 1}, {length - 16, length - 25}}) {
        const Logits made = engine.step(std::vector{given.part(a, a + first), given.part(b, b + second)});
        for (std::size_t i = 0; i < made.size(); ++i) {
            all[i].insert(all[i].end(), made[i].begin(), made[i].end());
        }
        a += first;
        b += second;
    }
    EXPECT_LE(relative_error(all[0], expected()), kBound);
    EXPECT_LE(relative_error(all[1], {expected().begin(),
                                      expected().begin() + static_cast<std::ptrdiff_t>(b * tested().given().width)}),
              kBound);
}

// As consumers do it: the hidden states are what the head of the exported text model reads.
TEST_P(MtpModel, AfterTheExportedTextModel) {
    const auto text = tested().model("openvino_model");
    const auto head = text->output("logits").get_node()->get_input_node_shared_ptr(0);
    text->add_results({std::make_shared<ov::op::v0::Result>(head->input_value(0))});
    ov::InferRequest request = compile_f32(text).create_infer_request();
    const Ids& ids = tested().golden.at("text_ids").integers;
    ov::Tensor input(ov::element::i64, {1, ids.size()});
    std::copy(ids.begin(), ids.end(), input.data<std::int64_t>());
    ov::Tensor mask(ov::element::i64, {1, ids.size()});
    std::fill_n(mask.data<std::int64_t>(), ids.size(), 1);
    ov::Tensor beam(ov::element::i32, {1});
    *beam.data<std::int32_t>() = 0;
    request.set_tensor("input_ids", input);
    request.set_tensor("attention_mask", mask);
    request.set_tensor("beam_idx", beam);
    request.infer();
    const ov::Tensor hidden = request.get_output_tensor(1);
    const auto width = static_cast<std::size_t>(tested().config.hidden_size);
    ASSERT_EQ(hidden.get_size(), ids.size() * width);
    const float* begin = hidden.data<const float>();
    StatefulEngine engine(tested().compiled);
    const Logits made = engine.step(std::vector{Drafting{
        {begin, begin + hidden.get_size() - width}, tested().embeddings({ids.begin() + 1, ids.end()}), width}});
    EXPECT_LE(relative_error(tested().logits(made[0]), tested().golden.at("draft_logits").floats), kBound);
}

void expect_fused(const ov::CompiledModel& compiled, const checkpoint::TextConfig& config) {
    const auto counts = runtime_counts(compiled);
    const auto count = [&](const char* type) {
        return counts.contains(type) ? counts.at(type) : 0;
    };
    EXPECT_EQ(count("RMS"), 7u);  // two before fc, two of the layer, queries, keys, the last
    EXPECT_EQ(count("RoPE"), 2u);
    EXPECT_EQ(count("GatherMatmul"), config.moe ? 3u : 0u);
}

TEST_P(MtpModel, CompiledGraphIsFused) {
    expect_fused(tested().compiled, tested().config);
    EXPECT_EQ(runtime_counts(tested().compiled)["ScaledDotProductAttention"], 1u);
    for (const auto& node : tested().compiled.get_runtime_model()->get_ordered_ops()) {
        if (node->get_rt_info().at("layerType").as<std::string>() == "ScaledDotProductAttention") {
            EXPECT_EQ(node->get_input_size(), 8u) << "the key/value cache is not fused into attention";
        }
    }
}

TEST_P(MtpModel, PagedGraphIsFused) {
    const PagedEngine engine(tested().model(), 1);
    EXPECT_EQ(engine.operations().at("PagedAttentionExtension"), 1u);
    for (const char* gone : {"ReadValue", "Assign", "ScaledDotProductAttention"}) {
        EXPECT_FALSE(engine.operations().contains(gone)) << gone;
    }
    expect_fused(engine.compiled(), tested().config);
}

TEST_P(MtpModel, PortsAndStatesAreThoseThatConsumersLookUp) {
    const auto model = tested().model();
    const auto width = static_cast<std::int64_t>(tested().config.hidden_size);
    ASSERT_EQ(model->inputs().size(), 5u);
    EXPECT_EQ(model->input("hidden_states").get_partial_shape(), (ov::PartialShape{-1, -1, width}));
    EXPECT_EQ(model->input("inputs_embeds").get_partial_shape(), (ov::PartialShape{-1, -1, width}));
    EXPECT_EQ(model->input("attention_mask").get_partial_shape(), (ov::PartialShape{-1, -1}));
    EXPECT_EQ(model->input("position_ids").get_partial_shape(), (ov::PartialShape{-1, -1}));
    EXPECT_EQ(model->input("beam_idx").get_element_type(), ov::element::i32);
    EXPECT_EQ(model->output("last_hidden_state").get_element_type(), ov::element::f32);
    std::vector<std::string> states;
    for (const auto& variable : model->get_variables()) {
        states.push_back(variable->get_info().variable_id);
    }
    std::sort(states.begin(), states.end());
    EXPECT_EQ(states, (std::vector<std::string>{"past_key_values.0.keypresent_key_values.0.key",
                                                "past_key_values.0.valuepresent_key_values.0.value"}));
}

// Compressed like the language model, and the plugin multiplies by what is stored.
TEST_P(MtpModel, StaysCompressed) {
    const TemporaryDirectory directory;
    export_case(GetParam(), directory.path() / "int4", "int4");
    const auto model = read_model(directory.path() / "int4" / "openvino_mtp_model.xml");
    const ov::CompiledModel compiled = compile_f32(model);
    auto projections = weight_precisions(compiled, "FullyConnected");
    if (tested().config.moe) {
        EXPECT_EQ(weight_precisions(compiled, "GatherMatmul"), (std::map<std::string, std::size_t>{{"i8", 3}}));
        EXPECT_EQ(projections.at("u4"), 7u);  // fc, q, k, v, o, gate and up of the shared expert
    } else {
        // The angles; fc, q, k, v, o, gate, up; groups of 32 do not divide the 80 columns of down.
        EXPECT_EQ(projections, (std::map<std::string, std::size_t>{{"f32", 1}, {"i8", 1}, {"u4", 7}}));
    }
    StatefulEngine whole(compiled);
    StatefulEngine restored(compile_f32(decompress(*model)));
    EXPECT_LE(relative_error(in_chunks(whole, {}), in_chunks(restored, {})), kBound);
}

std::string case_name(const testing::TestParamInfo<std::string>& tested) {
    return tested.param.substr(tested.param.find('/') + 1);
}

INSTANTIATE_TEST_SUITE_P(Golden, MtpModel, testing::Values("mtp/dense", "mtp/moe"), case_name);

TEST(MtpFiles, LeaveTheTextModelAsItIs) {
    const TemporaryDirectory directory;
    for (const char* format : {"", "int4"}) {
        const std::string name = std::string("with") + format;
        export_case("mtp/dense", directory.path() / name, format);
        ExportOptions options;
        options.model = golden_directory("mtp/dense");
        options.output = directory.path() / ("without" + std::string(format));
        options.compression.weight_format = format;
        options.compression.group_size = *format != 0 ? std::optional<std::int64_t>(32) : std::nullopt;
        options.convert_tokenizer = false;
        options.mtp = false;
        SilentProgress progress;
        export_model(options, progress);
        EXPECT_FALSE(std::filesystem::exists(options.output / "openvino_mtp_model.xml"));
        for (const char* file : {"openvino_model.xml", "openvino_model.bin"}) {
            EXPECT_EQ(read_text_file(directory.path() / name / file), read_text_file(options.output / file)) << file;
        }
    }
}

}  // namespace
}  // namespace deltavino::test
