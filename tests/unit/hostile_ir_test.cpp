// Graphs that no exporter writes, as somebody may hand them over.
#include "base/error.hpp"
#include "base/file.hpp"
#include "evaluate/directory_model.hpp"
#include "evaluate/fusions.hpp"
#include "evaluate/ir_weights.hpp"
#include "evaluate/structure.hpp"
#include "graph/read_ir.hpp"
#include "support/golden.hpp"

#include <deltavino/inspect.hpp>

#include <gtest/gtest.h>
#include <openvino/op/ops.hpp>
#include <openvino/openvino.hpp>

#include <algorithm>
#include <string>

namespace deltavino::evaluation {
namespace {

using ov::op::v0::Constant;

std::shared_ptr<ov::Model> model_of(const ov::OutputVector& outputs, const ov::ParameterVector& inputs = {},
                                    const ov::SinkVector& sinks = {}) {
    ov::ResultVector results;
    for (const auto& output : outputs) {
        results.push_back(std::make_shared<ov::op::v0::Result>(output));
    }
    return std::make_shared<ov::Model>(results, sinks, inputs);
}

// A model that adds a state called `id` to its input, which is called `name`.
std::shared_ptr<ov::Model> model_with_state(const std::string& id, const std::string& name) {
    const auto variable =
        std::make_shared<ov::op::util::Variable>(ov::op::util::VariableInfo{ov::PartialShape{1}, ov::element::f32, id});
    const auto begin = Constant::create(ov::element::f32, {1}, {0.0f});
    const auto read = std::make_shared<ov::op::v6::ReadValue>(begin, variable);
    const auto write = std::make_shared<ov::op::v6::Assign>(read, variable);
    const auto ids = std::make_shared<ov::op::v0::Parameter>(ov::element::f32, ov::PartialShape{1});
    ids->set_friendly_name(name);
    const auto sum = std::make_shared<ov::op::v1::Add>(ids, read);
    sum->set_friendly_name(name);
    return model_of({sum}, {ids}, {write});
}

class NoWeights : public reference::WeightSource {
public:
    void read_rows(const std::string&, std::uint64_t, reference::MatrixRef) const override {}
};

// A weight of u8 codes [4, 8] with zero points and scales of any shape.
IrWeights weights_of(const ov::Shape& zero_points, const ov::Shape& scales, const NoWeights& otherwise) {
    const auto codes = Constant::create(ov::element::u8, {4, 8}, std::vector<std::uint8_t>(32, 3));
    codes->set_friendly_name("model.layers.0.mlp.up_proj.weight");
    const auto wide = std::make_shared<ov::op::v0::Convert>(codes, ov::element::f32);
    const auto zeros =
        Constant::create(ov::element::f32, zero_points, std::vector<float>(ov::shape_size(zero_points), 1.0f));
    const auto scale = Constant::create(ov::element::f32, scales, std::vector<float>(ov::shape_size(scales), 2.0f));
    const auto value =
        std::make_shared<ov::op::v1::Multiply>(std::make_shared<ov::op::v1::Subtract>(wide, zeros), scale);
    return IrWeights({model_of({value})}, otherwise);
}

TEST(HostileIr, WeightsWhoseGroupsDoNotFitAreNotRead) {
    const NoWeights otherwise;
    const auto is_read = [&](const ov::Shape& zero_points, const ov::Shape& scales) {
        const IrWeights weights = weights_of(zero_points, scales, otherwise);
        reference::Matrix rows(4, 8);
        weights.read_rows("model.layers.0.mlp.up_proj.weight", 0, rows);
        return !weights.stored().empty();
    };
    EXPECT_TRUE(is_read({4, 1}, {4, 1}));
    EXPECT_TRUE(is_read({1}, {4, 1}));
    EXPECT_FALSE(is_read({2, 1, 1}, {4, 1}));   // zero points of other groups than the scales
    EXPECT_FALSE(is_read({4, 1}, {16, 4, 8}));  // more scales than values
    EXPECT_FALSE(is_read({1}, {5, 1, 1}));      // groups that go over the end of rows
    EXPECT_FALSE(is_read({1}, {1}));            // one scale for all rows
}

TEST(HostileIr, ValuesWidenedByThemselvesAreWalkedOnce) {
    const test::TemporaryDirectory directory;
    ov::Output<ov::Node> value = Constant::create(ov::element::f32, {128, 128}, std::vector<float>(1u << 14, 1.0f));
    for (int i = 0; i < 60; ++i) {  // 2^60 paths
        value = std::make_shared<ov::op::v1::Multiply>(value, value);
    }
    ov::serialize(model_of({value}), (directory.path() / "openvino_model.xml").string());
    const Inspection inspection = inspect(directory.path());
    ASSERT_TRUE(inspection.directory);
    EXPECT_EQ(inspection.directory->models.at(0).facts.types.at("f32").bytes, 1u << 16);
}

TEST(HostileIr, LongNamesOfStatesAreNoNamesOfStates) {
    const test::TemporaryDirectory directory;
    const std::string digits(1u << 20, '1');
    const std::string id = "cache_params.past.conv." + digits + "cache_params.present.conv." + digits;
    ov::serialize(model_with_state(id, "layers." + digits + "/residual"),
                  (directory.path() / "openvino_model.xml").string());
    ov::Core core;
    DirectoryModel model(core, directory.path());
    EXPECT_EQ(count_layers(*model.language()).linear, 0u);
    bool named = false;
    for (const CheckItem& item : check_graph(model)) {
        named = named || (item.subject == "names of states" && item.finding == Finding::Bad);
    }
    EXPECT_TRUE(named);
}

// Of what `inspect` says of a directory that it cannot read; 0: it can.
std::ptrdiff_t lines_of_refusal(const std::filesystem::path& directory) {
    try {
        inspect(directory);
    } catch (const Error& error) {
        const std::string text = error.what();
        return 1 + std::count(text.begin(), text.end(), '\n');
    }
    return 0;
}

TEST(HostileIr, StatesWithoutNamesAreRefused) {
    const test::TemporaryDirectory directory;
    const auto file = directory.path() / "openvino_model.xml";
    ov::serialize(model_with_state("a state", "an input"), file.string());
    const std::string whole = read_text_file(file);
    ov::Core core;
    EXPECT_EQ(graph::read_ir(core, file)->get_variables().size(), 1u);
    for (const std::string kind : {"ReadValue", "Assign"}) {
        std::string text = whole;
        const std::size_t name = text.find("variable_id", text.find("type=\"" + kind));
        ASSERT_NE(name, std::string::npos);
        text.replace(name, 8, "variably");
        write_text_file(file, text);
        EXPECT_THROW(graph::read_ir(core, file), ov::Exception) << kind;
        EXPECT_EQ(lines_of_refusal(directory.path()), 1) << kind;
        EXPECT_THROW(DirectoryModel(core, directory.path()), Error) << kind;
    }
}

TEST(HostileIr, FilesThatCannotBeOpenedAreNamedOnce) {
    const test::TemporaryDirectory directory;
    const auto file = directory.path() / "openvino_model.xml";
    std::filesystem::create_directory(file);
    write_text_file(directory.path() / "openvino_model.bin", "");
    std::string of_file;
    try {
        const InputFile opened(file);
    } catch (const Error& error) {
        of_file = error.what();
    }
    ASSERT_FALSE(of_file.empty());
    try {
        inspect(directory.path());
        FAIL() << "a folder is no model";
    } catch (const Error& error) {
        EXPECT_EQ(error.what(), of_file);
    }
}

TEST(HostileIr, PositionsOfManyAxesAreRefused) {
    EXPECT_EQ(position_axes(ov::PartialShape{4, -1, -1}), 4u);
    EXPECT_EQ(position_axes(ov::PartialShape{-1, -1, -1}), 3u);
    EXPECT_THROW(position_axes(ov::PartialShape({ov::Dimension(std::int64_t{1} << 40), -1, -1})), Error);
    EXPECT_THROW(position_axes(ov::PartialShape{4}), Error);
}

}  // namespace
}  // namespace deltavino::evaluation
