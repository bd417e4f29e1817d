// The multi-token-prediction model of an exported directory against the reference.
#pragma once

#include "evaluate/directory_model.hpp"
#include "evaluate/ir_weights.hpp"
#include "evaluate/truth.hpp"

#include <deltavino/check.hpp>

#include <filesystem>
#include <memory>
#include <vector>

namespace deltavino::evaluation {

// Null when the directory has none.
std::shared_ptr<ov::Model> read_prediction_model(ov::Core& core, const std::filesystem::path& directory);

// Its ports and states, as consumers look them up.
std::vector<CheckItem> check_prediction_graph(const ov::Model& model);

// What the reference says of it and what it says itself, both of the reference's hidden states, so that a fault here is
// one of this model.
struct DraftCheck {
    ov::Core& core;
    const CheckOptions& options;
    const std::shared_ptr<ov::Model>& model;
    const Truth& truth;
    const IrWeights& exported;  // with the weights of `model`
    const Ids& ids;
    const Matrix& hidden;  // [tokens, width] after the final norm, of the text model on the exported weights
};

struct DraftFindings {
    std::vector<CheckItem> items;
    std::vector<Divergence> divergences;
};

// Of at least two tokens.
DraftFindings check_drafts(const DraftCheck& check);

}  // namespace deltavino::evaluation
