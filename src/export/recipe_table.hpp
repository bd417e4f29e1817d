// The named recipes of int4: one row each. docs/quantization.md has the figures that they were chosen by.
#pragma once

#include "export/weight_class.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace deltavino::exporter {

// What a recipe does otherwise with some weights.
struct ClassRule {
    WeightClass value;
    unsigned bits;              // 4 or 8
    std::uint64_t group;        // columns of 4 bit; 8 bit is per channel
    bool experts_only = false;  // of mixtures of experts only
};

struct RecipeRow {
    std::string_view name;
    std::string_view reason;      // for people
    bool symmetric;               // 4 bit without zero points
    std::uint64_t group;          // columns of all other 4-bit weights; 0: a whole row
    std::uint64_t experts_group;  // the same in mixtures of experts
    std::vector<ClassRule> rules;
};

std::span<const RecipeRow> recipe_rows();
// Null for a name that is none.
const RecipeRow* find_recipe(std::string_view name);
inline constexpr std::string_view kDefaultRecipe = "balanced";

}  // namespace deltavino::exporter
