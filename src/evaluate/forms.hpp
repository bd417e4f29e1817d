// The forms in which runtimes execute a language model must give what the whole prompt gives.
#pragma once

#include "evaluate/directory_model.hpp"
#include "evaluate/fusions.hpp"

#include <deltavino/check.hpp>

#include <string>
#include <vector>

namespace deltavino::evaluation {

// The model, compiled in float32, and what it said of the whole prompt.
struct WholePrompt {
    DirectoryModel& model;
    std::string device;
    const Ids& ids;
    const std::vector<std::size_t>& wanted;
    const Matrix& logits;  // [wanted, vocabulary]
};

// The prompt in pieces; a batch whose shorter row is padded on the left; the paged form, whole and in pieces, with
// its fusions. What is wrong is named with the first layer that goes wrong.
std::vector<CheckItem> check_forms(ov::Core& core, const WholePrompt& whole, const LayerCounts& layers);

}  // namespace deltavino::evaluation
