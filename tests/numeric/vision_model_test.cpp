// Exported vision-language models against transformers: the tower stage by stage, the logits with pictures
// and videos whatever the way the tokens come in, and the fused operations in the graphs that run.
#include "support/engine.hpp"
#include "support/golden.hpp"
#include "support/tower.hpp"

#include "base/file.hpp"
#include "checkpoint/checkpoint.hpp"
#include "checkpoint/config.hpp"
#include "graph/names.hpp"
#include "json/document.hpp"

#include <deltavino/export.hpp>

#include <gtest/gtest.h>
#include <openvino/op/scaled_dot_product_attention.hpp>
#include <openvino/pass/sdpa_to_vlsdpa.hpp>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>

namespace deltavino::test {
namespace {

namespace fs = std::filesystem;
namespace names = graph::names;

constexpr double kBound = 1e-4;       // of the largest value
constexpr double kTowerBound = 1e-5;  // few layers; the two forms of GELU differ by 2e-4 here

fs::path checkpoint_of(const std::string& name) {
    return name == "kjv-tiny" ? fs::path(DELTAVINO_SOURCE_DIR) / "examples" / name : golden_directory(name);
}

// The random checkpoints come without processor settings; any will do, as the tests cut no patches.
void with_processor_settings(const fs::path& from, const fs::path& to, std::uint64_t patch_size) {
    fs::create_directory(to);
    for (const fs::directory_entry& entry : fs::directory_iterator(from)) {
        fs::create_symlink(entry.path(), to / entry.path().filename());
    }
    if (!fs::exists(to / "preprocessor_config.json")) {
        write_text_file(to / "preprocessor_config.json", "{\"patch_size\": " + std::to_string(patch_size) + "}");
    }
}

// One exported case, shared by the tests of the case.
struct Exported {
    TemporaryDirectory directory;
    checkpoint::ModelConfig config;
    std::int64_t image_token = 0;
    std::int64_t video_token = 0;
    Golden tower_golden;
    Golden prompts;
    std::unique_ptr<Tower> tower;
    ov::CompiledModel text_embeddings;
    ov::CompiledModel language;

    explicit Exported(const std::string& name) {
        const std::string text = checkpoint::Checkpoint(checkpoint_of(name)).config_text();
        config = checkpoint::read_config(text, "config.json");
        const Json json = parse_json(text, "config.json");
        image_token = json["image_token_id"];
        video_token = json["video_token_id"];
        with_processor_settings(checkpoint_of(name), directory.path() / "checkpoint", config.vision->patch_size);
        ExportOptions options;
        options.model = directory.path() / "checkpoint";
        options.output = directory.path() / "model";
        options.convert_tokenizer = false;
        SilentProgress progress;
        export_model(options, progress);
        tower_golden = read_golden(golden_directory("vision") / (name + ".tower.safetensors"));
        prompts = read_golden(golden_directory("vision") / (name + ".prompts.safetensors"));
        tower = std::make_unique<Tower>(directory.path() / "model", *config.vision);
        text_embeddings = compile_f32(model(names::kTextEmbeddings));
        language = compile_f32(model(names::kLanguageModel));
    }

    std::shared_ptr<ov::Model> model(const std::string& model_name) const {
        return read_model(directory.path() / "model" / (model_name + ".xml"));
    }

    std::vector<float> embed(const Ids& ids) {
        ov::InferRequest request = text_embeddings.create_infer_request();
        ov::Tensor tensor(ov::element::i64, {1, ids.size()});
        std::copy(ids.begin(), ids.end(), tensor.data<std::int64_t>());
        request.set_tensor(names::kInput, tensor);
        request.infer();
        const ov::Tensor values = request.get_tensor(names::kInputsEmbeds);
        return {values.data<float>(), values.data<float>() + values.get_size()};
    }
};

Exported& exported(const std::string& name) {
    return shared_case<Exported>(name);
}

// One row of a [rows, tokens] tensor.
Ids row_of(const GoldenTensor& tensor, std::size_t row) {
    const std::size_t length = tensor.shape.back();
    const auto begin = tensor.integers.begin() + static_cast<std::ptrdiff_t>(row * length);
    return {begin, begin + static_cast<std::ptrdiff_t>(length)};
}

// positions [3, rows, tokens] of one row as the model's four; it must not use the first.
std::array<Ids, 4> positions_of_row(const GoldenTensor& tensor, std::size_t row) {
    const std::size_t rows = tensor.dim(1);
    return {Ids(tensor.dim(2), 987654), row_of(tensor, row), row_of(tensor, rows + row),
            row_of(tensor, 2 * rows + row)};
}

void replace_placeholders(Embedded& embedded, const Ids& ids, std::int64_t placeholder,
                          const std::vector<float>& merged) {
    const std::size_t width = embedded.values.size() / ids.size();
    std::size_t used = 0;
    for (std::size_t t = 0; t < ids.size(); ++t) {
        if (ids[t] == placeholder) {
            ASSERT_LE(used + width, merged.size());
            std::copy_n(merged.begin() + static_cast<std::ptrdiff_t>(used), width,
                        embedded.values.begin() + static_cast<std::ptrdiff_t>(t * width));
            used += width;
        }
    }
    ASSERT_EQ(used, merged.size()) << "placeholders and merged patches differ in number";
}

float largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
    EXPECT_EQ(a.size(), b.size());
    float largest = 0.0f;
    for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
        largest = std::max(largest, std::abs(a[i] - b[i]));
    }
    return largest;
}

std::vector<float> tail(const std::vector<float>& logits, std::size_t from, std::size_t vocabulary) {
    return {logits.begin() + static_cast<std::ptrdiff_t>(from * vocabulary), logits.end()};
}

class VisionModel : public testing::TestWithParam<std::string> {
protected:
    Exported& exported_case() { return exported(GetParam()); }
    std::size_t vocabulary() { return exported_case().config.text.vocab_size; }
    const GoldenTensor& prompt(const std::string& name) { return exported_case().prompts.at(name); }
    bool has(const std::string& name) { return exported_case().prompts.contains(name); }

    // A row of a prompt with its pictures and videos in place: `media` is the prefix of the pixel tensors.
    Embedded embed(const Ids& ids, const std::array<Ids, 4>& positions, const std::string& media) {
        Embedded embedded{exported_case().embed(ids), positions};
        if (has(media + ".pixel_values")) {
            replace_placeholders(embedded, ids, exported_case().image_token,
                                 exported_case().tower->run(prompt(media + ".pixel_values").floats,
                                                            grids_of(prompt(media + ".image_grid_thw"))));
        }
        if (has(media + ".pixel_values_videos")) {
            replace_placeholders(embedded, ids, exported_case().video_token,
                                 exported_case().tower->run(prompt(media + ".pixel_values_videos").floats,
                                                            grids_of(prompt(media + ".video_grid_thw"))));
        }
        return embedded;
    }
    Embedded embed_prompt(const std::string& name) {
        return embed(row_of(prompt(name + ".input_ids"), 0), positions_of_row(prompt(name + ".position_ids"), 0), name);
    }
    Embedded embed_next(const std::string& name) {
        return embed(row_of(prompt(name + ".next_ids"), 0), positions_of_row(prompt(name + ".next_position_ids"), 0),
                     "none");
    }
    std::size_t logits_from(const std::string& name) {
        return static_cast<std::size_t>(prompt(name + ".logits_from").integers.at(0));
    }

    // The cases that have a file of logits, pictures or not.
    std::vector<std::string> prompt_names() {
        std::vector<std::string> found;
        for (const char* name : {"text", "picture", "pictures", "video", "mixed"}) {
            if (has(std::string(name) + ".input_ids")) {
                found.emplace_back(name);
            }
        }
        return found;
    }
};

TEST_P(VisionModel, TowerStages) {
    const Golden& golden = exported_case().tower_golden;
    std::size_t cases = 0;
    for (const char* name : {"one", "wide", "two", "video"}) {
        const std::string p = std::string(name) + ".";
        if (!golden.contains(p + "grid_thw")) {
            continue;
        }
        SCOPED_TRACE(name);
        ++cases;
        Tower& tower = *exported_case().tower;
        const TowerInputs inputs = tower_inputs(grids_of(golden.at(p + "grid_thw")), *exported_case().config.vision);
        // what the test itself computes, as the callers of the models do
        for (std::size_t c = 0; c < 4; ++c) {
            EXPECT_EQ(inputs.corners[c], row_of(golden.at(p + "pos_indices"), c));
            const GoldenTensor& weights = golden.at(p + "pos_weights");
            const auto begin = weights.floats.begin() + static_cast<std::ptrdiff_t>(c * weights.dim(1));
            EXPECT_LE(
                largest_difference(inputs.weights[c], {begin, begin + static_cast<std::ptrdiff_t>(weights.dim(1))}),
                1e-6f);
        }
        EXPECT_LE(largest_difference(inputs.angles, golden.at(p + "rotary").floats), 1e-6f);
        // the models
        EXPECT_LE(relative_error(tower.patch_embeddings(golden.at(p + "pixel_values").floats),
                                 golden.at(p + "patch_embeds").floats),
                  kTowerBound);
        EXPECT_LE(relative_error(tower.position_embeddings(inputs), golden.at(p + "pos_embeds").floats), kTowerBound);
        std::vector<float> hidden = golden.at(p + "patch_embeds").floats;
        for (std::size_t i = 0; i < hidden.size(); ++i) {
            hidden[i] += golden.at(p + "pos_embeds").floats[i];
        }
        EXPECT_LE(relative_error(tower.merge(hidden, inputs), golden.at(p + "merged").floats), kTowerBound);
        EXPECT_LE(relative_error(tower.run(golden.at(p + "pixel_values").floats, grids_of(golden.at(p + "grid_thw"))),
                                 golden.at(p + "merged").floats),
                  kTowerBound);
    }
    EXPECT_GE(cases, 2u);
}

TEST_P(VisionModel, WholePromptThenDecoding) {
    ASSERT_GE(prompt_names().size(), 3u);
    for (const std::string& name : prompt_names()) {
        SCOPED_TRACE(name);
        StatefulEngine engine(exported_case().language);
        const std::vector<float> logits = engine.step(std::vector{embed_prompt(name)})[0];
        EXPECT_LE(relative_error(tail(logits, logits_from(name), vocabulary()), prompt(name + ".logits").floats),
                  kBound);
        const Embedded next = embed_next(name);
        std::vector<float> decoded;
        for (std::size_t t = 0; t < next.tokens(); ++t) {
            const std::vector<float> step = engine.step(std::vector{next.part(t, t + 1)})[0];
            decoded.insert(decoded.end(), step.begin(), step.end());
        }
        EXPECT_LE(relative_error(decoded, prompt(name + ".next_logits").floats), kBound);
    }
}

// The borders of the chunks fall inside the placeholders of a picture.
TEST_P(VisionModel, PromptInChunks) {
    for (const std::string& name : prompt_names()) {
        SCOPED_TRACE(name);
        StatefulEngine engine(exported_case().language);
        const Embedded whole = embed_prompt(name);
        std::vector<float> logits;
        for (const auto& [begin, end] : {std::pair<std::size_t, std::size_t>{0, 1}, {1, 8}, {8, whole.tokens()}}) {
            const std::vector<float> chunk = engine.step(std::vector{whole.part(begin, end)})[0];
            logits.insert(logits.end(), chunk.begin(), chunk.end());
        }
        EXPECT_LE(relative_error(tail(logits, logits_from(name), vocabulary()), prompt(name + ".logits").floats),
                  kBound);
    }
}

TEST_P(VisionModel, SecondTurnFromTheKeptState) {
    StatefulEngine engine(exported_case().language);
    engine.step(std::vector{embed(row_of(prompt("turn.first_ids"), 0),
                                  positions_of_row(prompt("turn.first_position_ids"), 0), "turn.first")});
    const std::vector<float> logits =
        engine.step(std::vector{embed(row_of(prompt("turn.second_ids"), 0),
                                      positions_of_row(prompt("turn.second_position_ids"), 0), "turn.second")})[0];
    EXPECT_LE(relative_error(tail(logits, logits_from("turn"), vocabulary()), prompt("turn.logits").floats), kBound);
}

TEST_P(VisionModel, LeftPaddedBatch) {
    std::vector<Embedded> rows;
    std::vector<Ids> mask;
    for (std::size_t i = 0; i < 2; ++i) {
        rows.push_back(embed(row_of(prompt("batch.input_ids"), i), positions_of_row(prompt("batch.position_ids"), i),
                             i == 0 ? "batch" : "none"));
        mask.push_back(row_of(prompt("batch.attention_mask"), i));
    }
    StatefulEngine engine(exported_case().language);
    const Logits logits = engine.step(rows, mask);
    const std::size_t from = logits_from("batch");
    std::vector<float> flat;
    for (std::size_t i = 0; i < 2; ++i) {
        std::vector<float> row = logits[i];
        for (std::size_t t = 0; t < mask[i].size(); ++t) {
            if (mask[i][t] == 0) {  // what a model says about padding does not matter
                std::fill_n(row.begin() + static_cast<std::ptrdiff_t>(t * vocabulary()), vocabulary(), 0.0f);
            }
        }
        const std::vector<float> recorded = tail(row, from, vocabulary());
        flat.insert(flat.end(), recorded.begin(), recorded.end());
    }
    EXPECT_LE(relative_error(flat, prompt("batch.logits").floats), kBound);
}

// Each prompt beside another one, both in chunks, then decoded.
TEST_P(VisionModel, PagedTwoSequencesInChunks) {
    const Embedded beside = embed_prompt("text");
    for (const std::string& name : prompt_names()) {
        SCOPED_TRACE(name);
        PagedEngine engine(exported_case().model(names::kLanguageModel), 2);
        const Embedded whole = embed_prompt(name);
        Logits all(2);
        const auto append = [&](const Logits& logits) {
            for (std::size_t i = 0; i < 2; ++i) {
                all[i].insert(all[i].end(), logits[i].begin(), logits[i].end());
            }
        };
        append(engine.step(std::vector{whole.part(0, 7), beside.part(0, 12)}));
        append(engine.step(std::vector{whole.part(7, 8), beside.part(12, 16)}));
        append(engine.step(std::vector{whole.part(8, whole.tokens()), beside.part(16, beside.tokens())}));
        EXPECT_LE(relative_error(tail(all[0], logits_from(name), vocabulary()), prompt(name + ".logits").floats),
                  kBound);
        EXPECT_LE(relative_error(tail(all[1], logits_from("text"), vocabulary()), prompt("text.logits").floats),
                  kBound);

        const Embedded next = embed_next(name);
        const Embedded next_beside = embed_next("text");
        all.assign(2, {});
        for (std::size_t t = 0; t < next.tokens(); ++t) {
            append(engine.step(std::vector{next.part(t, t + 1), next_beside.part(t, t + 1)}));
        }
        EXPECT_LE(relative_error(all[0], prompt(name + ".next_logits").floats), kBound);
        EXPECT_LE(relative_error(all[1], prompt("text.next_logits").floats), kBound);
    }
}

TEST_P(VisionModel, PagedSecondTurn) {
    PagedEngine engine(exported_case().model(names::kLanguageModel), 1);
    engine.step(std::vector{embed(row_of(prompt("turn.first_ids"), 0),
                                  positions_of_row(prompt("turn.first_position_ids"), 0), "turn.first")});
    const std::vector<float> logits =
        engine.step(std::vector{embed(row_of(prompt("turn.second_ids"), 0),
                                      positions_of_row(prompt("turn.second_position_ids"), 0), "turn.second")})[0];
    EXPECT_LE(relative_error(tail(logits, logits_from("turn"), vocabulary()), prompt("turn.logits").floats), kBound);
}

TEST_P(VisionModel, LanguageGraphIsFused) {
    const checkpoint::TextConfig& config = exported_case().config.text;
    const std::size_t linear = config.count(checkpoint::LayerKind::LinearAttention);
    const std::size_t full = config.count(checkpoint::LayerKind::FullAttention);
    const std::size_t norms = 2 * config.num_hidden_layers + 1 + 2 * full + linear;

    auto counts = runtime_counts(exported_case().language);
    EXPECT_EQ(counts["GatedDeltaNet"], linear);
    EXPECT_EQ(counts["TensorIterator"] + counts["Loop"], 0u);
    EXPECT_EQ(counts["RMS"], norms);
    EXPECT_EQ(counts["RoPE"], 2 * full);
    EXPECT_EQ(counts["ScaledDotProductAttention"], full);
    for (const auto& node : exported_case().language.get_runtime_model()->get_ordered_ops()) {
        if (node->get_rt_info().at("layerType").as<std::string>() == "ScaledDotProductAttention") {
            EXPECT_EQ(node->get_input_size(), 8u) << "the key/value cache is not fused into attention";
        }
    }

    const PagedEngine paged(exported_case().model(names::kLanguageModel), 1);
    auto operations = paged.operations();
    EXPECT_EQ(operations["PagedCausalConv1D"], linear);
    EXPECT_EQ(operations["PagedGatedDeltaNet"], linear);
    EXPECT_EQ(operations["PagedAttentionExtension"], full);
    for (const char* gone : {"ReadValue", "Assign", "Loop", "ScaledDotProductAttention", "GroupConvolution"}) {
        EXPECT_EQ(operations[gone], 0u) << gone;
    }
    counts = runtime_counts(paged.compiled());
    EXPECT_EQ(counts["RMS"], norms);
    EXPECT_EQ(counts["RoPE"], 2 * full);
}

TEST_P(VisionModel, MergerGraphIsFused) {
    const checkpoint::VisionConfig& config = *exported_case().config.vision;
    auto counts = runtime_counts(exported_case().tower->merger());
    EXPECT_EQ(counts["MVN"], 2 * config.depth + 1);
    EXPECT_EQ(counts["RoPE"], 2 * config.depth);
    EXPECT_EQ(counts["FullyConnected"], 4 * config.depth + 2);
    EXPECT_EQ(counts["Softmax"] + counts["MatMul"], 0u) << "attention is not one operation";
}

// GenAI marks the merger so; the GPU plugin then exchanges the mask for the lengths of the pictures.
TEST_P(VisionModel, MergerTakesLengthsInPlaceOfTheMask) {
    const auto model = exported_case().model(names::kVisionMerger);
    model->set_rt_info("QWenVL", "model_type_hint");
    ASSERT_TRUE(ov::pass::SDPAToVLSDPA().run_on_model(model));
    EXPECT_EQ(model->input("cu_seq_lens").get_element_type(), ov::element::i32);
    EXPECT_EQ(operation_counts(*model)["VLSDPA"], exported_case().config.vision->depth);
    EXPECT_EQ(operation_counts(*model)["ScaledDotProductAttention"], 0u);
}

struct Port {
    std::string name;
    ov::element::Type type;
    ov::PartialShape shape;
};

void expect_ports(const ov::Model& model, const std::vector<Port>& inputs, const Port& output) {
    ASSERT_EQ(model.inputs().size(), inputs.size());
    for (std::size_t i = 0; i < inputs.size(); ++i) {
        const auto port = model.input(i);
        EXPECT_EQ(port.get_names(), (std::unordered_set<std::string>{inputs[i].name}));
        EXPECT_EQ(port.get_node()->get_friendly_name(), inputs[i].name);
        EXPECT_EQ(port.get_element_type(), inputs[i].type) << inputs[i].name;
        EXPECT_EQ(port.get_partial_shape(), inputs[i].shape) << inputs[i].name;
    }
    ASSERT_EQ(model.outputs().size(), 1u);
    EXPECT_EQ(model.output(0).get_names(), (std::unordered_set<std::string>{output.name}));
    EXPECT_EQ(model.output(0).get_element_type(), output.type);
    EXPECT_EQ(model.output(0).get_partial_shape(), output.shape);
}

TEST_P(VisionModel, PortsAreThoseThatConsumersLookUp) {
    const checkpoint::TextConfig& text = exported_case().config.text;
    const checkpoint::VisionConfig& vision = *exported_case().config.vision;
    const auto hidden = static_cast<std::int64_t>(text.hidden_size);
    const auto width = static_cast<std::int64_t>(vision.hidden_size);
    const auto patch =
        static_cast<std::int64_t>(3 * vision.temporal_patch_size * vision.patch_size * vision.patch_size);
    const auto angles = width / static_cast<std::int64_t>(vision.num_heads) / 2;
    const auto f32 = ov::element::f32;
    const auto i64 = ov::element::i64;

    const auto language = exported_case().model("openvino_language_model");
    expect_ports(*language,
                 {{"attention_mask", i64, {-1, -1}},
                  {"inputs_embeds", f32, {-1, -1, hidden}},
                  {"position_ids", i64, {4, -1, -1}},
                  {"beam_idx", ov::element::i32, {-1}}},
                 {"logits", f32, {-1, -1, static_cast<std::int64_t>(text.vocab_size)}});
    EXPECT_STREQ(language->output("logits").get_node()->get_input_node_ptr(0)->get_type_name(), "MatMul");
    EXPECT_EQ(language->get_variables().size(), 2 * text.num_hidden_layers);
    for (const auto& variable : language->get_variables()) {
        EXPECT_EQ(variable->get_info().variable_id.rfind("cache_params.past.", 0), 0u)
            << variable->get_info().variable_id;
    }
    expect_ports(*exported_case().model("openvino_text_embeddings_model"), {{"input", i64, {-1, -1}}},
                 {"inputs_embeds", f32, {-1, -1, hidden}});
    expect_ports(*exported_case().model("openvino_vision_embeddings_model"), {{"hidden_states", f32, {-1, patch}}},
                 {"last_hidden_state", f32, {-1, width}});
    expect_ports(*exported_case().model("openvino_vision_embeddings_pos_model"), {{"input", i64, {4, -1}}},
                 {"last_hidden_state", f32, {4, -1, width}});
    const auto merger = exported_case().model("openvino_vision_embeddings_merger_model");
    expect_ports(*merger,
                 {{"hidden_states", f32, {-1, width}},
                  {"attention_mask", f32, {1, -1, -1}},
                  {"rotary_pos_emb", f32, {-1, angles}}},
                 {"last_hidden_state", f32, {-1, hidden}});
}

std::string case_name(const testing::TestParamInfo<std::string>& tested) {
    std::string name = tested.param;
    std::replace(name.begin(), name.end(), '-', '_');
    return name;
}

INSTANTIATE_TEST_SUITE_P(Dense, VisionModel, testing::Values("dense-vl", "kjv-tiny", "vl-yarn"), case_name);
INSTANTIATE_TEST_SUITE_P(Moe, VisionModel, testing::Values("moe-vl"), case_name);

}  // namespace
}  // namespace deltavino::test
