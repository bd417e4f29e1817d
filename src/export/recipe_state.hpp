// What recipe.cpp, recipe_options.cpp and recipe_rules.cpp share.
#pragma once

#include "export/recipe.hpp"
#include "export/recipe_table.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace deltavino::exporter {

using graph::Role;
using graph::Storage;
using graph::WeightRequest;
using quant::Format;
using quant::Scheme;

enum class Family { AsStored, Float, Int8, FourBit };

// A --weight-format.
struct FormatRow {
    std::string_view name;
    Family family;
    ov::element::Type type;        // Float
    std::optional<Format> format;  // nf4, mxfp4
};

// Null for a name that is none.
const FormatRow* find_weight_format(std::string_view name);

// A --keep rule.
struct Keep {
    std::string pattern;
    std::string type;         // without the group
    std::uint64_t group = 0;  // int4: of "int4_asym_g64"; 0: that of the export
    bool matched = false;
    bool used = false;  // no rule before it matched, too

    // The type as it was given.
    std::string text() const { return group == 0 ? type : type + "_g" + std::to_string(group); }
};

bool is_always_float32(Role role);
// Few bytes, large effect.
bool is_delicate(Role role);
bool is_embedding_or_head(Role role);

// Whether the checkpoint's codes can be kept; the storage that keeps them.
bool can_import(const WeightRequest& request);
Storage import(const WeightRequest& request);

// The rules, in recipe_rules.cpp.
struct Recipe::State {
    CompressionOptions options;
    const FormatRow* format = nullptr;
    std::vector<Keep> keep;
    bool mixture_of_experts = false;
    ExpertSizes experts;
    bool tied_head = false;
    const RecipeRow* recipe = nullptr;          // of int4; null for other formats
    std::uint64_t target_bytes = 0;             // --target-size; 0: none
    std::map<std::string, WeightRequest> seen;  // with a target: weights of the language model
    std::map<std::string, Scheme> assigned;     // by the target
    std::vector<std::string> assigned_lines;    // what it came to, for people
    bool told_about_down_proj = false;
    std::set<std::string> demoted;  // by --ratio
    std::vector<std::string> fallbacks;
    std::vector<std::string> group_errors;
    // What became of weights that are quantized in the checkpoint: its form and ours, and of how many.
    std::map<std::pair<std::string, std::string>, std::size_t> kept_codes;
    std::map<std::pair<std::string, std::string>, std::size_t> restored;
    std::set<std::string> counted;  // an embedding is in two files
    std::uint64_t scales = 0;
    std::uint64_t inexact_scales = 0;
    double largest_change = 0.0;

    // Whether the checkpoint's own codes are what was asked for: the same number of bits, and nothing said
    // that they are not.
    bool imports(const WeightRequest& request) const;
    void count(const WeightRequest& request, const Storage& storage);
    Format four_bit() const;
    // The plugin widens stacks of experts in nf4 and mxfp4 to float32 when it loads the model.
    Format four_bit(Role role) const;
    // Columns that a group must divide. The three products of an expert are stored alike, or the GPU plugin
    // does not fuse them.
    std::uint64_t grouped_columns(const WeightRequest& request, std::uint64_t group) const;
    // The GPU plugin takes the size of the groups from down_proj, and one group of a whole row for "per channel"; then
    // it refuses gate_proj and up_proj with more. So down_proj gets two groups, or all three are stored per channel.
    bool is_refused(const WeightRequest& request, std::uint64_t group) const;
    Scheme accepted(const WeightRequest& request, Scheme scheme) const;
    std::uint64_t group_size() const;
    Storage backup(const WeightRequest& request, const std::string& reason, bool prefer_symmetric) const;
    // Leaves a weight alone that its storage does not fit, for example one with a single column.
    static Storage fit(const WeightRequest& request, Storage storage);
    // The scheme that a weight gets in 4 bit; none when no allowed group divides its columns.
    std::optional<Scheme> four_bit_scheme(const WeightRequest& request, Scheme wanted) const;
    Storage four_bit_storage(const WeightRequest& request, Scheme wanted, const std::string& reason);
    Storage below_one_group(const Scheme& scheme);
    std::optional<Storage> kept(const WeightRequest& request);
    Storage kept_by(const Keep& rule, const WeightRequest& request) const;
    Storage other_part(const WeightRequest& request) const;
    Storage language_part(const WeightRequest& request);
    Storage four_bit_part(const WeightRequest& request);
    // What the recipe does otherwise with this weight; null for nothing.
    const ClassRule* class_rule(const WeightRequest& request) const;
    // What the recipe does otherwise, one line each, of weights that the architecture has.
    std::vector<std::string> rule_lines() const;
    bool has_four_bit_table() const;
    bool is_kept(const WeightRequest& request) const;
    bool is_symmetric() const;
    Storage wanted(const WeightRequest& request, ModelPart part);
};

}  // namespace deltavino::exporter
