#include "export/weight_class.hpp"

#include <algorithm>
#include <array>

namespace deltavino::exporter {
namespace {

using graph::Role;

// The costs are means over the models of docs/sensitivity.json (bench/sensitivity.py).
constexpr std::array kRows{
    WeightClassRow{WeightClass::Delta, Role::DeltaProjection, ".in_proj_qkv", "in_proj_qkv", 0.22},
    WeightClassRow{WeightClass::DeltaGate, Role::DeltaProjection, ".in_proj_z", "in_proj_z", 0.10},
    WeightClassRow{WeightClass::DeltaOutput, Role::DeltaProjection, ".out_proj", "out_proj", 0.16},
    WeightClassRow{WeightClass::AttentionOutput, Role::AttentionProjection, ".o_proj", "o_proj", 0.017},
    WeightClassRow{WeightClass::Attention, Role::AttentionProjection, "", "q, k and v_proj", 0.052},
    WeightClassRow{WeightClass::FeedForwardOutput, Role::FeedForward, ".down_proj", "down_proj", 0.23},
    WeightClassRow{WeightClass::FeedForward, Role::FeedForward, "", "gate and up_proj", 0.21},
    WeightClassRow{WeightClass::ExpertsOutput, Role::Expert, ".down_proj", "experts, down_proj", 0.12},
    WeightClassRow{WeightClass::Experts, Role::Expert, "", "experts, gate and up_proj", 0.054},
    WeightClassRow{WeightClass::SharedExpert, Role::SharedExpert, "", "shared experts", 0.14},
    WeightClassRow{WeightClass::Embedding, Role::Embedding, "", "embedding", 0.086},
    WeightClassRow{WeightClass::Head, Role::Head, "", "head", 1.0},
};
constexpr WeightClassRow kTied{WeightClass::TiedTable, Role::Embedding, "", "embedding and head", 0.80};
constexpr WeightClassRow kOther{WeightClass::Other, Role::DraftProjection, "", "others", 0.0};

}  // namespace

const WeightClassRow& weight_class(Role role, std::string_view name, bool tied) {
    constexpr std::string_view kWeight = ".weight";
    if (name.ends_with(kWeight)) {
        name.remove_suffix(kWeight.size());
    }
    if (tied && (role == Role::Embedding || role == Role::Head)) {
        return kTied;
    }
    const auto* const row = std::find_if(kRows.begin(), kRows.end(), [&](const WeightClassRow& candidate) {
        return candidate.role == role && name.ends_with(candidate.end);
    });
    return row == kRows.end() ? kOther : *row;
}

std::string_view weight_class_name(WeightClass value) {
    const auto* const row =
        std::find_if(kRows.begin(), kRows.end(), [&](const WeightClassRow& r) { return r.value == value; });
    return row != kRows.end() ? row->name : value == WeightClass::TiedTable ? kTied.name : kOther.name;
}

bool is_table(WeightClass value) {
    return value == WeightClass::Embedding || value == WeightClass::Head || value == WeightClass::TiedTable;
}

bool is_of_experts(WeightClass value) {
    return value == WeightClass::Experts || value == WeightClass::ExpertsOutput || value == WeightClass::SharedExpert;
}

bool is_feed_forward(WeightClass value) {
    return value == WeightClass::FeedForward || value == WeightClass::FeedForwardOutput;
}

}  // namespace deltavino::exporter
