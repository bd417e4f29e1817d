#include "checkpoint/checkpoint.hpp"

#include <gtest/gtest.h>

namespace deltavino::checkpoint {
namespace {

TEST(CanonicalName, StripsThePrefixesOfTrainingStacks) {
    for (const char* name : {"model.layers.0.mlp.up_proj.weight", "model.language_model.layers.0.mlp.up_proj.weight",
                             "language_model.model.layers.0.mlp.up_proj.weight",
                             "language_model.layers.0.mlp.up_proj.weight", "layers.0.mlp.up_proj.weight"}) {
        EXPECT_EQ(canonical_name(name), "model.layers.0.mlp.up_proj.weight") << name;
    }
    EXPECT_EQ(canonical_name("language_model.lm_head.weight"), "lm_head.weight");
    EXPECT_EQ(canonical_name("lm_head.weight"), "lm_head.weight");
    EXPECT_EQ(canonical_name("model.visual.blocks.0.norm1.weight"), "visual.blocks.0.norm1.weight");
    EXPECT_EQ(canonical_name("mtp.layers.0.mlp.up_proj.weight"), "mtp.layers.0.mlp.up_proj.weight");
    EXPECT_EQ(canonical_name("norm.weight"), "model.norm.weight");
}

}  // namespace
}  // namespace deltavino::checkpoint
