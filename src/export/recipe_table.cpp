#include "export/recipe_table.hpp"

#include <algorithm>

namespace deltavino::exporter {

std::span<const RecipeRow> recipe_rows() {
    using enum WeightClass;
    static const std::vector<RecipeRow> kRows{
        {"balanced", "one size of groups for all projections, the table in 8 bit", false, 128, 64, {}},
        {"smallest", "embedding and head in 4 bit, too", false, 128, 64,
         {{TiedTable, 4, 128}, {Embedding, 4, 128}, {Head, 4, 128}}},
        {"fastest", "symmetric, embedding and head in 4 bit, too", true, 64, 64,
         {{TiedTable, 4, 128}, {Embedding, 4, 128}, {Head, 4, 128}}},
        {"best", "groups of 32, out_proj in 8 bit", false, 32, 32, {{DeltaOutput, 8, 0}}},
    };
    return kRows;
}

const RecipeRow* find_recipe(std::string_view name) {
    const std::span<const RecipeRow> rows = recipe_rows();
    const auto row = std::find_if(rows.begin(), rows.end(), [&](const RecipeRow& r) { return r.name == name; });
    return row == rows.end() ? nullptr : &*row;
}

}  // namespace deltavino::exporter
