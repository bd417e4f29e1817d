#include "checkpoint/unbuilt_families.hpp"

#include <array>
#include <utility>

namespace deltavino::checkpoint {
namespace {

constexpr std::string_view kFlashNext =
    "a sparse attention indexer, hyper-connections between layers and n-gram embeddings in single layers";
constexpr std::string_view kPerChannel =
    "linear attention whose decay differs by channel (KDA); the fused delta rule of OpenVINO takes one decay per head";
constexpr std::string_view kPlain = "no gated delta rule; optimum-intel exports this type";

constexpr std::array<std::pair<std::string_view, std::string_view>, 10> kTypes{{
    {"qwen4_exp", kFlashNext},
    {"qwen3_8_flash_next", kFlashNext},
    {"kimi_linear", kPerChannel},
    {"bailing_hybrid", kPerChannel},
    {"glm5_next", kPerChannel},
    {"olmo_hybrid", "a convolution each for queries, keys and values, a doubled beta and norms after the layers"},
    {"qwen3", kPlain},
    {"qwen3_moe", kPlain},
    {"qwen3_vl", kPlain},
    {"qwen3_vl_moe", kPlain},
}};

}  // namespace

std::string_view why_not_built(std::string_view model_type) {
    constexpr std::string_view kText = "_text";
    for (const auto& [type, why] : kTypes) {
        if (model_type.starts_with(type) &&
            (model_type.size() == type.size() || model_type.substr(type.size()) == kText)) {
            return why;
        }
    }
    return {};
}

}  // namespace deltavino::checkpoint
