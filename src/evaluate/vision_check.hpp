// A vision-language directory with a picture: the tower's rows, and the logits of a prompt with them, the runtime in
// float32 against the reference on the exported weights.
#pragma once

#include "evaluate/directory_model.hpp"
#include "evaluate/truth.hpp"

#include <deltavino/check.hpp>

#include <filesystem>
#include <memory>
#include <vector>

namespace deltavino::evaluation {

// The models of the tower; empty when the directory has none of them or lacks one.
std::vector<std::shared_ptr<ov::Model>> read_vision_models(ov::Core& core, const std::filesystem::path& directory);

struct PictureCheck {
    ov::Core& core;
    const CheckOptions& options;
    DirectoryModel& model;                    // takes embeddings
    const Truth& truth;                       // with a vision tower
    const reference::WeightSource& exported;  // of the language model and the tower
    const Ids& text;
};

struct PictureFindings {
    std::vector<CheckItem> items;
    std::vector<Divergence> divergences;
};

// The picture is options.image, else a built-in one. A tower that is wrong is named with the first stage that goes
// wrong: patch embeddings, position embeddings, block N, merger. Throws Error when the picture cannot be read.
PictureFindings check_picture(const PictureCheck& check);

}  // namespace deltavino::evaluation
