// Decides how each weight is stored, from its role and shape and from what the user asked for.
//
// The defaults depend on the architecture alone, never on names of models or folders. What is small and
// whose errors compound in the recurrence or choose experts (in_proj_a, in_proj_b, routers, gates, conv1d,
// norms, A_log, dt_bias) is never compressed unless --keep says so.
#pragma once

#include "export/recipe_table.hpp"
#include "graph/weights.hpp"
#include "models/products.hpp"
#include "quant/quantize.hpp"

#include <deltavino/export.hpp>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace deltavino::exporter {

using models::ModelPart;

// Columns of an expert's products: gate_proj and up_proj have `hidden`, down_proj has `intermediate`. Zeros: no experts.
struct ExpertSizes {
    std::uint64_t hidden = 0;
    std::uint64_t intermediate = 0;
};

// A --calibrate that is no file.
inline constexpr const char* kSelf = "self";

class Recipe {
public:
    // Throws ErrorKind::Usage for a bad option or combination, naming the rule.
    explicit Recipe(const CompressionOptions& options);
    ~Recipe();
    Recipe(Recipe&&) noexcept;

    // For models of experts, whose small matrices want smaller groups; and for a tied embedding.
    void set_architecture(bool mixture_of_experts, bool tied_head, const ExpertSizes& experts = {});

    // With --ratio below 1: chooses which weights stay in 4 bit. `errors`: relative error of each
    // candidate in 4 bit, by ratio_group.
    void set_sensitivities(const std::map<std::string, double>& errors,
                           const std::map<std::string, std::uint64_t>& sizes);
    bool needs_sensitivities() const;
    // What --ratio chooses as one: a weight by its canonical name, or the three stacks of a layer's experts.
    static std::string ratio_group(const graph::WeightRequest& request);
    // The 4-bit storage that a weight would get, when it is one of those that --ratio chooses among.
    std::optional<quant::Scheme> ratio_candidate(const graph::WeightRequest& request) const;

    // With --target-size or --target-bits: how the weights are stored is chosen when all of them are known. In bytes of
    // the models' .bin files; 0 with --target-bits.
    bool has_target() const;
    std::uint64_t target_bytes() const;
    // Every weight of the language model that was chosen so far, by its canonical name.
    const std::map<std::string, graph::WeightRequest>& seen() const;
    // The storages that a target may choose among for a weight; none when it has no say.
    std::vector<quant::Scheme> allowed(const graph::WeightRequest& request) const;
    // What a named recipe does with each of some weights that a target may choose for.
    std::vector<std::optional<quant::Scheme>> schemes_under(const RecipeRow& row,
                                                            std::span<const graph::WeightRequest> requests) const;
    // Takes the target's choice, by canonical name, and what to tell people of it; all weights are then chosen anew.
    void assign(std::map<std::string, quant::Scheme> schemes, std::vector<std::string> lines);

    graph::Storage choose(const graph::WeightRequest& request, ModelPart part);
    graph::StoragePolicy policy(ModelPart part);

    bool compresses() const;
    // Whether the bulk of the language model gets 4 bit: int4, nf4 or mxfp4.
    bool is_four_bit() const;
    // int4: of the recipe; empty for other formats.
    std::string recipe_name() const;
    // Whether the bulk of the language model has no zero points.
    bool is_symmetric() const;
    // As the user gave them.
    const CompressionOptions& options() const;
    // Of 4 bit, defaults filled in for the architecture: -1 is a whole row.
    std::int64_t group_size() const;
    std::string group_size_fallback() const;
    quant::Search search() const;
    // What --calibrate runs on, for people, without the folder; empty without it. And how many tokens of it at most.
    std::string calibration_text() const;
    std::uint64_t calibration_tokens() const;
    // "int4", or "as stored"
    std::string format_name() const;
    // One sentence per group of weights, with the reason.
    std::vector<std::string> description() const;
    // What became of weights that are quantized in the checkpoint, one sentence per kind; whether the codes of any
    // are kept. Both when every weight was chosen.
    std::vector<std::string> origins() const;
    bool keeps_codes() const;
    // Throws ErrorKind::Usage when a --keep pattern matched nothing, and with --group-size-fallback error
    // when a group size did not divide: all at once. Call when every weight was chosen.
    void check_all_used() const;
    // Weights that got another storage than asked for, one sentence each.
    const std::vector<std::string>& fallbacks() const;

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace deltavino::exporter
