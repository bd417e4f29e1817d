#include "evaluate/fusions.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace deltavino::evaluation {
namespace {

constexpr LayerCounts kDense{6, 2, 0};
constexpr LayerCounts kExperts{3, 1, 4};

std::size_t count(const std::vector<CheckItem>& items, Finding finding) {
    return static_cast<std::size_t>(
        std::count_if(items.begin(), items.end(), [&](const CheckItem& item) { return item.finding == finding; }));
}

// Counted in graphs that each device compiled from the bundled model.
const OperationCounts kCpu{{"GatedDeltaNet", 6}, {"ScaledDotProductAttention", 2}, {"RoPE", 4}, {"RMS", 27}};
const OperationCounts kGpu{
    {"GatedDeltaNet", 6}, {"scaled_dot_product_attention", 2}, {"RoPE", 4}, {"rms", 27}, {"kv_cache", 4}};
const OperationCounts kGpuPaged{
    {"paged_gated_delta_net", 6}, {"PagedCausalConv1D", 6}, {"paged_attention", 2}, {"rope", 4}, {"rms", 27}};

TEST(Fusions, RightGraphsAreGood) {
    for (const auto& [counts, device, form] :
         {std::tuple(kCpu, "CPU", Form::Stateful), std::tuple(kGpu, "GPU", Form::Stateful),
          std::tuple(kGpu, "GPU.1", Form::Stateful), std::tuple(kGpuPaged, "GPU", Form::Paged)}) {
        const auto items = check_fusions(counts, kDense, device, form, "f16");
        EXPECT_GE(items.size(), 5u) << device;
        EXPECT_EQ(count(items, Finding::Good), items.size()) << device;
    }
}

TEST(Fusions, ALostDeltaRuleIsBadAndALostNormIsNoted) {
    OperationCounts counts = kGpu;
    counts["GatedDeltaNet"] = 5;
    counts.erase("rms");
    const auto items = check_fusions(counts, kDense, "GPU", Form::Stateful, "f16");
    EXPECT_EQ(count(items, Finding::Bad), 1u);
    EXPECT_EQ(count(items, Finding::Note), 1u);
    EXPECT_NE(items.front().says.find("5, expected 6"), std::string::npos);
}

TEST(Fusions, AttentionOfTheGpuIsOneOperationInFloat16Only) {
    OperationCounts counts = kGpu;
    counts.erase("scaled_dot_product_attention");
    EXPECT_EQ(count(check_fusions(counts, kDense, "GPU", Form::Stateful, "f32"), Finding::Note), 0u);
    EXPECT_EQ(count(check_fusions(counts, kDense, "GPU", Form::Stateful, "f16"), Finding::Note), 1u);
}

TEST(Fusions, ExpertsAreCountedWhereThereAreAny) {
    const OperationCounts counts{
        {"GatedDeltaNet", 3}, {"ScaledDotProductAttention", 1}, {"RoPE", 2}, {"RMS", 14}, {"GatherMatmul", 12}};
    EXPECT_EQ(count(check_fusions(counts, kExperts, "CPU", Form::Stateful, "bf16"), Finding::Good), 6u);
    OperationCounts all = counts;
    all["GatherMatmul"] = 0;
    EXPECT_EQ(count(check_fusions(all, kExperts, "CPU", Form::Stateful, "bf16"), Finding::Note), 1u);
}

TEST(Fusions, LoopsAreBadOnAnyDevice) {
    const auto items = check_fusions({{"TensorIterator", 1}}, kDense, "NPU", Form::Stateful, "f16");
    ASSERT_EQ(items.size(), 1u);
    EXPECT_EQ(items.front().finding, Finding::Bad);
}

}  // namespace
}  // namespace deltavino::evaluation
