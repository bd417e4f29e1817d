// Every tensor is used, left out on purpose, or a problem; every row is used.
#include "graph/tensor_table.hpp"

#include "base/error.hpp"
#include "support/checkpoint_writer.hpp"
#include "support/golden.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

namespace deltavino::graph {
namespace {

using ::testing::HasSubstr;

template <typename Call>
std::string refusal(ErrorKind kind, const Call& call) {
    try {
        call();
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), kind) << error.what();
        return error.what();
    }
    ADD_FAILURE() << "accepted";
    return {};
}

TEST(TensorTable, DuplicateRowsAreBugs) {
    TensorTable table;
    table.add("a.weight", {1}, Role::Vector);
    table.assemble("b.weight", {1}, Role::Vector, {});
    for (const char* name : {"a.weight", "b.weight"}) {
        EXPECT_THAT(refusal(ErrorKind::Internal, [&] { table.add(name, {1}, Role::Vector); }),
                    HasSubstr(std::string(name) + "' is in the model's table twice"));
        EXPECT_THAT(refusal(ErrorKind::Internal, [&] { table.assemble(name, {1}, Role::Vector, {}); }),
                    HasSubstr(std::string(name) + "' is in the model's table twice"));
    }
}

TEST(TensorTable, RowsThatNothingReadsAreBugs) {
    TensorTable table;
    table.add("a.weight", {1}, Role::Vector);
    table.add("b.weight", {1}, Role::Vector);
    table.require("a.weight");
    EXPECT_THAT(refusal(ErrorKind::Internal, [&] { table.check_all_used(); }),
                HasSubstr("'b.weight' is in the model's table and nothing reads it"));
    table.require("b.weight");
    table.check_all_used();
}

TEST(TensorTable, EveryTensorIsAccountedFor) {
    const test::TemporaryDirectory directory;
    test::write_checkpoint(directory.path(), "{}",
                           {{"model.norm.weight", {1}, {1.0f}},
                            {"mtp.fc.weight", {2}, {1.0f, 2.0f}},
                            {"model.layers.0.rotary_emb.inv_freq", {1}, {1.0f}}});
    std::filesystem::rename(directory.path() / "model.safetensors", directory.path() / "a.safetensors");
    std::ofstream(directory.path() / "model.safetensors.index.json")
        << R"({"weight_map":{"model.norm.weight":"a.safetensors","visual.x":"a.safetensors"}})";
    const checkpoint::Checkpoint checkpoint(directory.path());
    TensorTable table;
    table.add("model.norm.weight", {1}, Role::Vector);
    table.leave_out("mtp.*", "prediction");
    EXPECT_THAT(refusal(ErrorKind::Input, [&] { table.check(checkpoint); }),
                HasSubstr("'model.layers.0.rotary_emb.inv_freq' [1] in 'a.safetensors' is unexpected"));
    table.leave_out("*rotary_emb.inv_freq", "frequencies");
    const std::vector<TensorTable::LeftOut> left_out = table.check(checkpoint);
    ASSERT_EQ(left_out.size(), 3u);
    EXPECT_EQ(left_out[0].why, "prediction");
    EXPECT_EQ(left_out[0].bytes, 8u);
    EXPECT_EQ(left_out[1].why, "frequencies");
    EXPECT_EQ(left_out[2].why, "what the index lists and no file holds");
    EXPECT_EQ(left_out[2].tensors, 1u);
    table.add("visual.x", {1}, Role::Vector);
    EXPECT_THAT(refusal(ErrorKind::Input, [&] { table.check(checkpoint); }),
                HasSubstr("'visual.x' [1] is missing: the index names a file that does not hold it"));
}

}  // namespace
}  // namespace deltavino::graph
