// Names of tensors, and which files of a folder are read.
#include "checkpoint/checkpoint.hpp"

#include "base/error.hpp"
#include "checkpoint/files.hpp"
#include "support/checkpoint_writer.hpp"
#include "support/golden.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace deltavino::checkpoint {
namespace {

namespace fs = std::filesystem;
using test::NamedTensor;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(TensorNames, CanonicalWhateverTheTrainingStackPutsBefore) {
    const std::string path = "layers.0.mlp.up_proj.weight";
    for (const char* prefix :
         {"model.", "model.language_model.", "language_model.model.", "language_model.", "", "model.model.",
          "model.language_model.model.", "model.language_model.language_model.language_model.", "_orig_mod.model.",
          "module.model.language_model.", "base_model.model.model.", "module.module._orig_mod.model.",
          "base_model.model.model.language_model.", "model._orig_mod.", "model.language_model._fsdp_wrapped_module."}) {
        EXPECT_EQ(canonical_name(prefix + path), "model." + path) << prefix;
    }
    const std::pair<const char*, const char*> kNames[] = {
        {"language_model.lm_head.weight", "lm_head.weight"},
        {"model.language_model.lm_head.weight", "lm_head.weight"},
        {"_orig_mod.lm_head.weight", "lm_head.weight"},
        {"model.visual.blocks.0.norm1.weight", "visual.blocks.0.norm1.weight"},
        {"module.visual.blocks.0.norm1.weight", "visual.blocks.0.norm1.weight"},
        {"model.language_model.mtp.fc.weight", "mtp.fc.weight"},
        {"mtp.layers.0.mlp.up_proj.weight", "mtp.layers.0.mlp.up_proj.weight"},
        {"norm.weight", "model.norm.weight"},
        {"model.layers.0._checkpoint_wrapped_module.mlp.up_proj.weight", "model.layers.0.mlp.up_proj.weight"},
        {"model.layers.0.module.weight", "model.layers.0.module.weight"},  // a wrapper at the start only
        {"score.weight", "score.weight"},
        {"", ""},
        {".", "."},
        {"model.", "model."},
        {"_orig_mod.", ""},
        {"normal.weight", "normal.weight"},
    };
    for (const auto& [stored, canonical] : kNames) {
        EXPECT_EQ(canonical_name(stored), canonical) << stored;
    }
}

TEST(TensorNames, PublishedNameIsWithoutTheWrappers) {
    const TensorName name =
        parse_tensor_name("module._orig_mod.model.language_model.language_model.layers.0._orig_mod.mlp.up_proj.weight");
    EXPECT_EQ(name.published, "model.language_model.layers.0.mlp.up_proj.weight");
    EXPECT_THAT(name.taken_off, ElementsAre("module.", "_orig_mod.", "language_model."));
    EXPECT_TRUE(parse_tensor_name("language_model.model.layers.0.mlp.up_proj.weight").taken_off.empty());
}

class CheckpointFolder : public testing::Test {
protected:
    fs::path folder() const { return directory_.path() / "checkpoint"; }
    fs::path file(const std::string& name) const { return folder() / name; }
    // A folder with config.json and one tensor under each name.
    void write(const std::vector<std::string>& names, const std::string& as = "model.safetensors") {
        std::vector<NamedTensor> tensors;
        for (const std::string& name : names) {
            tensors.push_back({name, {1}, {0.5f}});
        }
        test::write_checkpoint(folder(), "{}", tensors);
        if (as != "model.safetensors") {
            fs::rename(file("model.safetensors"), file(as));
        }
    }
    void text(const std::string& name, const std::string& content) { std::ofstream(file(name)) << content; }
    std::string refusal(ErrorKind kind) const {
        try {
            const Checkpoint checkpoint(folder());
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), kind) << error.what();
            return error.what();
        }
        ADD_FAILURE() << "accepted";
        return {};
    }

    test::TemporaryDirectory directory_;
};

TEST_F(CheckpointFolder, NamesMayBeMixedAndWrappersAreNoted) {
    write({"_orig_mod.model.layers.0.a", "language_model.model.layers.0.b", "layers.0.c", "_orig_mod.lm_head.weight"});
    const Checkpoint checkpoint(folder());
    for (const char* name : {"model.layers.0.a", "model.layers.0.b", "model.layers.0.c", "lm_head.weight"}) {
        EXPECT_NE(checkpoint.find(name), nullptr) << name;
    }
    EXPECT_EQ(checkpoint.require("model.layers.0.a").published, "model.layers.0.a");
    EXPECT_EQ(checkpoint.require("model.layers.0.a").info.name, "_orig_mod.model.layers.0.a");
    EXPECT_THAT(checkpoint.notes(), ElementsAre("taken off the names of 2 tensors: '_orig_mod.'"));
}

TEST_F(CheckpointFolder, TwoNamesOfOneTensorAreBothNamed) {
    write({"model.norm.weight", "model.language_model.norm.weight"});
    EXPECT_THAT(refusal(ErrorKind::Input),
                AllOf(HasSubstr("'model.norm.weight'"), HasSubstr("'model.language_model.norm.weight'"),
                      HasSubstr("stands a second time")));
}

TEST_F(CheckpointFolder, IndexUnderAnyNameAndShardsUnderAnyName) {
    write({"norm.weight"}, "layers-0.safetensors");
    text("model.bf16.safetensors.index.json",
         R"({"metadata":{"a":1},"weight_map":{"norm.weight":"layers-0.safetensors"}})");
    EXPECT_EQ(Checkpoint(folder()).shard_count(), 1u);
    text("other.safetensors.index.json", "{}");
    EXPECT_THAT(refusal(ErrorKind::Input), HasSubstr("it has 2 indexes"));
}

TEST_F(CheckpointFolder, IndexThatCannotBeRight) {
    write({"norm.weight"}, "a.safetensors");
    const std::pair<const char*, const char*> kIndexes[] = {
        {R"({"weight_map":{"norm.weight":"../a.safetensors"}})", "'norm.weight' is mapped to \"../a.safetensors\""},
        {R"({"weight_map":{"norm.weight":"a\\b"}})", "expected a file name"},
        {R"({"weight_map":{"norm.weight":"a.safetensors\u0000x"}})", "a.safetensors\\u0000x"},
        {R"({"weight_map":{"norm.weight":""}})", "expected a file name"},
        {R"({"weight_map":{"norm.weight":".."}})", "expected a file name"},
        {R"({"weight_map":{"norm.weight":3}})", "mapped to 3"},
        {R"({"weight_map":{"a":"a.safetensors","a":"b.safetensors"}})", "key 'a' stands twice"},
        {R"({"weight_map":{}})", "its weight_map is empty"},
        {R"({"weight_map":[]})", "no weight_map object"},
        {R"({"metadata":{"weight_map":{"a":"b"}}})", "no weight_map object"},
        {R"([])", "no weight_map object"},
        {R"({"weight_map":{"a":"a.safetensors"})", "parse error"},
        {"", "parse error"},
    };
    for (const auto& [index, word] : kIndexes) {
        text("model.safetensors.index.json", index);
        EXPECT_THAT(refusal(ErrorKind::Input), HasSubstr(word)) << index;
    }
}

TEST_F(CheckpointFolder, IndexAndShardsThatDiffer) {
    write({"norm.weight", "layers.0.a"}, "a.safetensors");
    text("model.safetensors.index.json",
         R"({"weight_map":{"model.norm.weight":"a.safetensors","mtp.fc.weight":"a.safetensors"}})");
    const Checkpoint checkpoint(folder());
    EXPECT_NE(checkpoint.find("model.layers.0.a"), nullptr);
    ASSERT_EQ(checkpoint.promised_but_absent().size(), 1u);
    EXPECT_EQ(checkpoint.promised_but_absent().begin()->second, "mtp.fc.weight");
    EXPECT_THAT(checkpoint.notes(),
                ElementsAre("the files hold 1 tensors that the index does not list: they are read, too"));
}

TEST_F(CheckpointFolder, MissingShardsAndUnfinishedDownloadsAreNamed) {
    write({"norm.weight"}, "a.safetensors");
    text("model.safetensors.index.json",
         R"({"weight_map":{"norm.weight":"a.safetensors","x":"b.safetensors","y":"b.safetensors"}})");
    text("b.safetensors.incomplete", "");
    EXPECT_THAT(refusal(ErrorKind::Input), AllOf(HasSubstr("1 of 2 files usable"),
                                                 HasSubstr("'b.safetensors' is missing, it should hold 2 tensors"),
                                                 HasSubstr("unfinished downloads: 'b.safetensors.incomplete'")));
    fs::copy_file(file("a.safetensors"), file("b.safetensors"));
    text("a.safetensors.aria2", "");
    EXPECT_THAT(refusal(ErrorKind::Input), HasSubstr("'a.safetensors' is not complete: 'a.safetensors.aria2'"));
}

TEST_F(CheckpointFolder, NumbersTellWhatIsMissingWithoutAnIndex) {
    write({"norm.weight"}, "model-00002-of-00003.safetensors");
    EXPECT_THAT(refusal(ErrorKind::Input), AllOf(HasSubstr("'model-00001-of-00003.safetensors' is missing"),
                                                 HasSubstr("'model-00003-of-00003.safetensors' is missing")));
    fs::rename(file("model-00002-of-00003.safetensors"), file("model-00001-of-00001.safetensors"));
    EXPECT_EQ(Checkpoint(folder()).shard_count(), 1u);
    fs::rename(file("model-00001-of-00001.safetensors"), file("model.safetensors-00001-of-00002.safetensors"));
    EXPECT_THAT(refusal(ErrorKind::Input), HasSubstr("'model.safetensors-00002-of-00002.safetensors' is missing"));
}

TEST_F(CheckpointFolder, SingleFileGoesBeforeAnIndexThatDoesNotListIt) {
    write({"norm.weight"});
    text("model.safetensors.index.json", R"({"weight_map":{"x":"gone.safetensors"}})");
    const Checkpoint checkpoint(folder());
    EXPECT_NE(checkpoint.find("model.norm.weight"), nullptr);
    EXPECT_TRUE(checkpoint.promised_but_absent().empty());
    EXPECT_THAT(checkpoint.notes(), ElementsAre(HasSubstr("'model.safetensors.index.json' is ignored")));
}

TEST_F(CheckpointFolder, StrayFilesAreNamedAndNotRead) {
    write({"norm.weight"});
    fs::copy_file(file("model.safetensors"), file("adapter_model.safetensors"));
    text("consolidated.safetensors", "no tensors");
    EXPECT_THAT(Checkpoint(folder()).notes(),
                ElementsAre("not read, because they are not part of the checkpoint: 'adapter_model.safetensors', "
                            "'consolidated.safetensors'"));
}

TEST_F(CheckpointFolder, CacheOfLinks) {
    write({"norm.weight"});
    const fs::path blobs = directory_.path() / "models--a--b" / "blobs";
    const fs::path snapshot = directory_.path() / "models--a--b" / "snapshots" / "0123";
    fs::create_directories(blobs);
    fs::create_directories(snapshot);
    fs::copy_file(file("config.json"), blobs / "c");
    fs::copy_file(file("model.safetensors"), blobs / "m");
    fs::create_symlink("../../blobs/c", snapshot / "config.json");
    fs::create_symlink("../../blobs/m", snapshot / "model.safetensors");
    EXPECT_NE(Checkpoint(snapshot).find("model.norm.weight"), nullptr);
    fs::rename(blobs / "m", blobs / "m.incomplete");
    try {
        const Checkpoint checkpoint(snapshot);
        ADD_FAILURE() << "accepted";
    } catch (const Error& error) {
        EXPECT_THAT(error.what(), AllOf(HasSubstr("'model.safetensors' is a link to '../../blobs/m', which does not"),
                                        HasSubstr("unfinished downloads: 'm.incomplete'")));
    }
    fs::remove(blobs / "c");
    try {
        const Checkpoint checkpoint(snapshot / "");
        ADD_FAILURE() << "accepted";
    } catch (const Error& error) {
        EXPECT_THAT(error.what(),
                    AllOf(HasSubstr("its config.json is a link to '../../blobs/c'"), HasSubstr("'m.incomplete'")));
    }
}

TEST_F(CheckpointFolder, OtherFormatsAreNamed) {
    const std::pair<const char*, const char*> kFiles[] = {
        {"adapter_config.json", "it holds a LoRA adapter (adapter_config.json)"},
        {"model-Q4_K_M.gguf", "'model-Q4_K_M.gguf' is a GGUF file"},
        {"pytorch_model.bin", "'pytorch_model.bin' and no .safetensors file; pickled"},
        {"pytorch_model.bin.index.json", "'pytorch_model.bin.index.json' and no .safetensors file"},
        {"consolidated.00.pth", "'consolidated.00.pth'"},
        {"openvino_model.xml", "it is an exported model already"},
    };
    for (const bool with_config : {false, true}) {
        for (const auto& [name, word] : kFiles) {
            fs::remove_all(folder());
            fs::create_directories(folder());
            text(name, "{}");
            if (with_config) {
                text("config.json", "{}");
            }
            EXPECT_THAT(refusal(ErrorKind::Unsupported), HasSubstr(word)) << name;
        }
    }
    fs::remove_all(folder());
    write({"norm.weight"});
    text("adapter_config.json", "{}");  // beside a model
    EXPECT_THAT(refusal(ErrorKind::Unsupported), HasSubstr("it holds a LoRA adapter"));
    fs::remove_all(folder());
    EXPECT_THAT(refusal(ErrorKind::Input), HasSubstr("no such folder"));
    fs::create_directories(folder());
    EXPECT_THAT(refusal(ErrorKind::Input), HasSubstr("it has no config.json"));
    text("config.json", "{}");
    EXPECT_THAT(refusal(ErrorKind::Input), HasSubstr("no .safetensors file"));
}

}  // namespace
}  // namespace deltavino::checkpoint
