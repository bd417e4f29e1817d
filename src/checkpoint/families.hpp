// The model types that can be exported: one row each, and everything that differs by type stands in it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace deltavino::checkpoint {

struct Family {
    // Of the text model, as config.json names it; the exported config.json says this.
    const char* text_type;
    // Every model_type that means it, at the top level or nested. Later generations keep the names of the
    // first; some training stacks write the name of their own generation.
    std::vector<std::string_view> model_types;
    // The classes of transformers, by which consumers choose theirs.
    const char* text_class;
    const char* base_class;        // without a head
    const char* classifier_class;  // with a score for whole texts
    const char* vision_type;       // model_type of the vision-language model; null when the family has none
    const char* vision_class;
    bool experts;                  // each layer is a mixture of experts
    bool always_normalises_top_k;  // the router's weights add up to one whatever norm_topk_prob says
    bool interleaved_projections;  // q, k, v and z of one head stand together in one tensor
};

const std::vector<Family>& families();

// The row whose model_types hold `model_type`; null when there is none.
const Family* find_family(std::string_view model_type);

// The row of a text type that read_config() returned. Throws ErrorKind::Internal for any other.
const Family& require_family(std::string_view text_type);

// The published names, for messages and help.
const std::vector<std::string>& known_model_types();

}  // namespace deltavino::checkpoint
