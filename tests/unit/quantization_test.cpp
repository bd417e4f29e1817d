// What quantization_config says, in the words of each vendor.
#include "checkpoint/quantization.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "support/golden.hpp"

#include <gtest/gtest.h>

namespace deltavino::checkpoint {
namespace {

std::optional<Quantization> read(const std::string& config) {
    const test::TemporaryDirectory directory;
    return read_quantization(config, directory.path());
}

std::optional<Quantization> read_entry(const std::string& entry) {
    return read("{\"quantization_config\":" + entry + "}");
}

std::string refusal(const std::string& config, ErrorKind kind) {
    try {
        read(config);
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), kind) << error.what();
        return error.what();
    }
    return "nothing was refused";
}

TEST(Quantization, PlainCheckpointsHaveNone) {
    EXPECT_FALSE(read("{}"));
    EXPECT_FALSE(read(R"({"quantization_config":null})"));
    EXPECT_FALSE(read(R"({"quantization_config":{}})"));
    EXPECT_FALSE(read(R"({"text_config":{"hidden_size":4}})"));
}

TEST(Quantization, Fp8WithAndWithoutFormat) {
    for (const char* format : {R"("fmt":"e4m3",)", ""}) {
        const auto fp8 = read_entry(std::string("{") + format +
                                    R"("activation_scheme":"dynamic","quant_method":"fp8","weight_block_size":[128,64],
                                       "modules_to_not_convert":["lm_head","model.embed_tokens"]})");
        ASSERT_TRUE(fp8);
        EXPECT_EQ(fp8->method, "fp8");
        EXPECT_EQ(fp8->block_sizes, (std::vector<std::array<std::uint64_t, 2>>{{128, 64}}));
        EXPECT_EQ(fp8->plain_modules.size(), 2u);
        EXPECT_TRUE(fp8->plain_modules_known);
    }
}

TEST(Quantization, SizesOfGroupsAreFew) {
    std::string rules = R"("a":{"group_size":1})";
    for (int size = 2; size < 200; ++size) {
        rules += ",\"a" + std::to_string(size) + "\":{\"group_size\":" + std::to_string(size) + "}";
    }
    EXPECT_NE(refusal(R"({"quantization_config":{"quant_method":"gptq","bits":4,"group_size":128,"dynamic":{)" + rules +
                          "}}}",
                      ErrorKind::Input)
                  .find("more than 64 sizes"),
              std::string::npos);
}

TEST(Quantization, NestedOnceOrTwiceAlike) {
    const std::string entry = R"({"quant_method":"fp8","weight_block_size":[128,128]})";
    EXPECT_TRUE(read("{\"text_config\":{\"quantization_config\":" + entry + "}}"));
    EXPECT_TRUE(
        read("{\"quantization_config\":" + entry + ",\"text_config\":{\"quantization_config\":" + entry + "}}"));
    EXPECT_NE(refusal("{\"quantization_config\":" + entry +
                          R"(,"text_config":{"quantization_config":{"quant_method":"fp8"}}})",
                      ErrorKind::Input)
                  .find("contradict each other"),
              std::string::npos);
}

TEST(Quantization, GptqVersions) {
    const auto first = read_entry(R"({"quant_method":"gptq","bits":4,"group_size":128,"desc_act":true})");
    EXPECT_TRUE(first->zero_points_less_one);
    EXPECT_TRUE(first->desc_act);
    EXPECT_EQ(first->packing, quant::Packing::Gptq);
    const auto second = read_entry(R"({"quant_method":"gptq","bits":8,"group_size":-1,"checkpoint_format":"gptq_v2",
        "dynamic":{"+:.*down.*":{"bits":8,"group_size":32},"-:.*mtp.*":{}}})");
    EXPECT_FALSE(second->zero_points_less_one);
    EXPECT_EQ(second->group_sizes, (std::vector<std::uint64_t>{0, 32}));
    EXPECT_FALSE(second->plain_modules_known);
}

TEST(Quantization, AutoRoundOfAPublishedCheckpoint) {
    const auto config =
        read_entry(R"({"autoround_version":"0.10.0","bits":4,"data_type":"int","group_size":128,"sym":true,
        "packing_format":"auto_round:auto_gptq","quant_method":"auto-round","extra_config":{
        "model.layers.0.mlp.shared_expert_gate":{"bits":16,"data_type":"fp"},"a.b":{"bits":8,"group_size":32}}})");
    EXPECT_TRUE(config->zero_points_less_one);
    EXPECT_EQ(config->plain_modules, (std::vector<std::string>{"model.layers.0.mlp.shared_expert_gate"}));
    EXPECT_EQ(config->group_sizes, (std::vector<std::uint64_t>{128, 32}));
    EXPECT_FALSE(
        read_entry(R"({"quant_method":"auto-round","bits":4,"packing_format":"auto_round"})")->zero_points_less_one);
    EXPECT_EQ(read_entry(R"({"quant_method":"auto-round","bits":4,"packing_format":"auto_round:auto_awq"})")->packing,
              quant::Packing::Awq);
}

TEST(Quantization, CompressedTensorsOfAPublishedCheckpoint) {
    const auto config = read_entry(R"({"config_groups":{"group_0":{"format":"pack-quantized","input_activations":null,
        "output_activations":null,"targets":["Linear"],
        "weights":{"actorder":"static","block_structure":null,"dynamic":false,
        "group_size":128,"num_bits":4,"observer":"memoryless_minmax","observer_kwargs":{},"scale_dtype":null,"strategy":"group",
        "symmetric":true,"type":"int","zp_dtype":null}}},"format":"pack-quantized","global_compression_ratio":null,
        "ignore":["lm_head"],"kv_cache_scheme":null,"quant_method":"compressed-tensors","sparsity_config":{},
        "transform_config":{}})");
    EXPECT_EQ(config->group_sizes, (std::vector<std::uint64_t>{128}));
    EXPECT_FALSE(config->desc_act) << "static order leaves the columns where they are";
    EXPECT_FALSE(config->packing);
}

TEST(Quantization, ModelOptFileBesideTheConfig) {
    const test::TemporaryDirectory directory;
    write_text_file(directory.path() / "hf_quant_config.json",
                    R"({"producer":{},"quantization":{"quant_algo":"FP8"}})");
    EXPECT_EQ(read_quantization("{}", directory.path())->method, "modelopt");
    write_text_file(directory.path() / "hf_quant_config.json",
                    R"({"quantization":{"quant_algo":null,"kv_cache_quant_algo":"FP8"}})");
    EXPECT_FALSE(read_quantization("{}", directory.path())) << "only the cache is quantized";
    write_text_file(directory.path() / "hf_quant_config.json", "[]");
    EXPECT_THROW(read_quantization("{}", directory.path()), Error);
}

TEST(Quantization, RefusesByName) {
    struct Row {
        const char* config;
        ErrorKind kind;
        const char* text;
    };
    constexpr ErrorKind kNo = ErrorKind::Unsupported;
    constexpr ErrorKind kBad = ErrorKind::Input;
    const std::vector<Row> rows{
        {R"({"quant_method":"bitsandbytes"})", kNo, "quantized by bitsandbytes, which is not read"},
        {R"({"load_in_4bit":true})", kNo, "quantized by bitsandbytes"},
        {R"({"quant_method":"hqq"})", kNo, "quantized by HQQ"},
        {R"({"quant_method":"mxfp4"})", kNo, "quantized by MXFP4"},
        {R"({"quant_method":"modelopt_fp4"})", kNo, "quantized by NVFP4 of ModelOpt"},
        {R"({"quant_method":"other"})", kNo, "quantized by other"},
        {R"({"quant_method":3})", kBad, "it has no quant_method"},
        {R"([])", kBad, "expected an object"},
        {R"("fp8")", kBad, "expected an object"},
        {R"({"quant_algo":"MIXED_PRECISION"})", kNo, "quant_algo is 'MIXED_PRECISION'"},
        {R"({"quant_method":"fp8","fmt":"e3m4"})", kNo, "fmt is 'e3m4'"},
        {R"({"quant_method":"fp8","weight_block_size":[128]})", kBad, "expected two sizes"},
        {R"({"quant_method":"fp8","weight_block_size":[128,-1]})", kBad, "expected two sizes"},
        {R"({"quant_method":"fp8","weight_block_size":[128,99999999999999999999]})", kBad, "expected two sizes"},
        {R"({"quant_method":"fp8","modules_to_not_convert":"lm_head"})", kBad, "a list of names"},
        {R"({"quant_method":"fp8","modules_to_not_convert":[1]})", kBad, "a list of names"},
        {R"({"quant_method":"gptq","bits":3})", kNo, "bits is 3, read are 4 and 8"},
        {R"({"quant_method":"gptq","bits":"4"})", kBad, "expected a whole number"},
        {R"({"quant_method":"gptq","bits":4,"group_size":-2})", kBad, "expected -1 or a number of columns"},
        {R"({"quant_method":"gptq","bits":4,"group_size":1e30})", kBad, "expected -1 or a number of columns"},
        {R"({"quant_method":"gptq","bits":4,"desc_act":"yes"})", kBad, "expected true or false"},
        {R"({"quant_method":"gptq","bits":4,"dynamic":{"+:x":{"bits":2}}})", kNo, "bits is 2"},
        {R"({"quant_method":"gptq","bits":4,"checkpoint_format":"marlin"})", kNo, "checkpoint_format is 'marlin'"},
        {R"({"quant_method":"awq","bits":4,"version":"GEMV"})", kNo, "version is 'gemv'"},
        {R"({"quant_method":"awq","w_bit":8})", kNo, "bits are 8, read are 4"},
        {R"({"quant_method":"auto-round","bits":4,"data_type":"mx_fp"})", kNo, "data_type is 'mx_fp'"},
        {R"({"quant_method":"auto-round","bits":4,"packing_format":"auto_round:fp8"})", kNo,
         "packing_format is 'auto_round:fp8'"},
        {R"({"quant_method":"compressed-tensors"})", kBad, "config_groups is missing"},
        {R"({"quant_method":"compressed-tensors","config_groups":{"a":3}})", kBad, "config_groups/a is not an object"},
        {R"({"quant_method":"compressed-tensors","format":"nvfp4-pack-quantized","config_groups":{"a":{}}})", kNo,
         "'nvfp4-pack-quantized'"},
        {R"({"quant_method":"compressed-tensors","format":"mxfp4-pack-quantized","config_groups":{"a":{}}})", kNo,
         "'mxfp4-pack-quantized'"},
        {R"({"quant_method":"compressed-tensors","format":"pack-quantized","config_groups":{"a":{"weights":{"num_bits":3,"type":"int"}}}})",
         kNo, "type int in 3 bits"},
        {R"({"quant_method":"compressed-tensors","format":"float-quantized","config_groups":{"a":{"weights":{"num_bits":4,"type":"float"}}}})",
         kNo, "type float in 4 bits"},
        {R"({"quant_method":"compressed-tensors","format":"dense","config_groups":{},"transform_config":{"x":1}})", kNo,
         "rotated"},
        {R"({"quant_method":"compressed-tensors","format":"dense","config_groups":{},"sparsity_config":{"format":"sparse-24-bitmask"}})",
         kNo, "sparse"},
    };
    for (const Row& row : rows) {
        const std::string message = refusal(std::string("{\"quantization_config\":") + row.config + "}", row.kind);
        EXPECT_NE(message.find(row.text), std::string::npos) << row.config << "\n" << message;
    }
    EXPECT_NE(refusal(R"({"quantization":{"group_size":64,"bits":4}})", kNo).find("quantized by MLX"),
              std::string::npos);
    std::cout << rows.size() + 1 << " refusals\n";
}

}  // namespace
}  // namespace deltavino::checkpoint
