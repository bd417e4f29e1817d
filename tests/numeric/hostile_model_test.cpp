// Language models whose logits have shapes that no exporter writes: an error, and no memory that is not theirs.
#include "base/error.hpp"
#include "evaluate/directory_model.hpp"
#include "graph/names.hpp"
#include "support/golden.hpp"

#include <gtest/gtest.h>
#include <openvino/op/ops.hpp>
#include <openvino/openvino.hpp>

namespace deltavino::evaluation {
namespace {

using ov::op::v0::Constant;
using Make = std::function<ov::Output<ov::Node>(const ov::Output<ov::Node>& ids)>;

ov::Output<ov::Node> number(std::int64_t value) {
    return Constant::create(ov::element::i64, {1}, {value});
}

ov::Output<ov::Node> unsqueezed(const ov::Output<ov::Node>& value, std::int64_t axis) {
    return std::make_shared<ov::op::v0::Unsqueeze>(value, number(axis));
}

// [1, tokens] of float32 -> logits by `make`.
void write_model(const std::filesystem::path& directory, const Make& make) {
    namespace names = graph::names;
    ov::ParameterVector inputs;
    for (const char* name : {names::kInputIds, names::kAttentionMask, names::kBeamIdx}) {
        const bool beam = name == std::string_view(names::kBeamIdx);
        inputs.push_back(std::make_shared<ov::op::v0::Parameter>(
            beam ? ov::element::i32 : ov::element::i64, beam ? ov::PartialShape{-1} : ov::PartialShape{-1, -1}));
        inputs.back()->get_output_tensor(0).set_names({name});
    }
    const auto wide = std::make_shared<ov::op::v0::Convert>(inputs[0], ov::element::f32);
    const ov::Output<ov::Node> logits = make(wide);
    logits.get_tensor().set_names({names::kLogits});
    ov::serialize(std::make_shared<ov::Model>(ov::OutputVector{logits}, inputs),
                  (directory / "openvino_model.xml").string());
}

std::string refusal(const Make& make, std::size_t piece) {
    const test::TemporaryDirectory directory;
    write_model(directory.path(), make);
    ov::Core core;
    DirectoryModel model(core, directory.path());
    model.compile("CPU", "f32");
    const std::vector<std::size_t> wanted{0, 1, 2, 3, 4};
    try {
        model.logits({1, 2, 3, 4, 5}, wanted, piece);
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::Input);
        return error.what();
    }
    return "no refusal";
}

TEST(HostileModel, LogitsOfTheLastTokenOnly) {
    const Make last = [](const ov::Output<ov::Node>& ids) {
        return unsqueezed(
            std::make_shared<ov::op::v8::Gather>(ids, number(-1), Constant::create(ov::element::i64, {}, {1})), 2);
    };
    EXPECT_NE(refusal(last, 5).find("its logits for 5 tokens have shape"), std::string::npos);
}

TEST(HostileModel, LogitsOfAnotherRank) {
    EXPECT_NE(
        refusal([](const ov::Output<ov::Node>& ids) { return ids; }, 5).find("its logits for 5 tokens have shape"),
        std::string::npos);
}

TEST(HostileModel, AVocabularyThatChanges) {
    const Make square = [](const ov::Output<ov::Node>& ids) -> ov::Output<ov::Node> {
        return std::make_shared<ov::op::v1::Multiply>(unsqueezed(ids, 1), unsqueezed(ids, 2));
    };
    EXPECT_NE(refusal(square, 2).find("2 and then 1 columns"), std::string::npos);
}

}  // namespace
}  // namespace deltavino::evaluation
