#include "export/recipe_table.hpp"

#include <algorithm>

namespace deltavino::exporter {

std::span<const RecipeRow> recipe_rows() {
    using enum WeightClass;
    static const std::vector<RecipeRow> kRows{
        {"balanced",
         "one size of groups for all projections; finer ones gain no more for a byte than 8-bit tables do",
         false,
         128,
         64,
         {}},
        {"smallest",
         "embedding and head in 4 bit, too, in smaller groups: what that costs falls most with them",
         false,
         128,
         128,
         {{TiedTable, 4, 64}, {Embedding, 4, 64}, {Head, 4, 64}}},
        {"fastest",
         "no zero points, which cost the CPU time at every token, and 4 bit where every token passes",
         true,
         64,
         64,
         {{TiedTable, 4, 64}, {Embedding, 4, 64}, {Head, 4, 64}}},
        {"best",
         "small groups, which are read faster without zero points, and 8 bit where 4 bit costs most for its size: "
         "out_proj, and beside experts all that every token passes",
         true,
         32,
         64,
         {{DeltaOutput, 8, 0},
          {Delta, 8, 0, true},
          {DeltaGate, 8, 0, true},
          {Attention, 8, 0, true},
          {AttentionOutput, 8, 0, true},
          {SharedExpert, 8, 0, true}}},
        {"npu", "no zero points and one scale for a whole row, the 4-bit format of NPUs", true, 0, 0, {}},
    };
    return kRows;
}

const RecipeRow* find_recipe(std::string_view name) {
    const std::span<const RecipeRow> rows = recipe_rows();
    const auto row = std::find_if(rows.begin(), rows.end(), [&](const RecipeRow& r) { return r.name == name; });
    return row == rows.end() ? nullptr : &*row;
}

}  // namespace deltavino::exporter
