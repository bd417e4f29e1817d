// Names of tensors. Training stacks put different prefixes before the same module path; the canonical names
// are those of the text-only class: 'model.layers.0...', 'model.embed_tokens.weight', 'lm_head.weight',
// 'visual.blocks.0...', 'mtp.layers.0...'.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace deltavino::checkpoint {

struct TensorName {
    std::string canonical;
    // As published: the stored name without what wrappers of training stacks added to it.
    std::string published;
    // What they added, for example '_orig_mod.'; each once.
    std::vector<std::string> taken_off;
};

TensorName parse_tensor_name(std::string_view stored_name);

// 'model.language_model.norm.weight' -> 'model.norm.weight'.
std::string canonical_name(std::string_view stored_name);

}  // namespace deltavino::checkpoint
