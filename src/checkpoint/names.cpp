// Seen in checkpoints of: transformers (vision-language class), text-only saves of vision-language training
// stacks, stacks that put the head inside the language model, bare base models, torch.compile, data
// parallelism, activation checkpointing and PEFT.
#include "checkpoint/names.hpp"

#include <algorithm>
#include <array>

namespace deltavino::checkpoint {
namespace {

// Wrappers that stand before the whole path.
constexpr std::array<std::string_view, 2> kOuter{"module.", "base_model.model."};
// Wrappers that stand before any segment.
constexpr std::array<std::string_view, 4> kAnywhere{"_orig_mod.", "_checkpoint_wrapped_module.",
                                                    "_fsdp_wrapped_module.", "_forward_module."};

void note_once(std::vector<std::string>& list, std::string_view item) {
    if (std::find(list.begin(), list.end(), item) == list.end()) {
        list.emplace_back(item);
    }
}

bool take(std::string_view& text, std::string_view prefix) {
    if (!text.starts_with(prefix)) {
        return false;
    }
    text.remove_prefix(prefix.size());
    return true;
}

std::string without_wrappers(std::string_view stored, std::vector<std::string>& taken_off) {
    std::string path;
    bool at_start = true;
    while (!stored.empty()) {
        const auto wraps = [&](std::string_view wrapper) {
            return stored.starts_with(wrapper);
        };
        const auto inner = std::find_if(kAnywhere.begin(), kAnywhere.end(), wraps);
        if (inner != kAnywhere.end()) {
            note_once(taken_off, *inner);
            stored.remove_prefix(inner->size());
            continue;
        }
        const auto outer = std::find_if(kOuter.begin(), kOuter.end(), wraps);
        if (at_start && outer != kOuter.end()) {
            note_once(taken_off, *outer);
            stored.remove_prefix(outer->size());
            continue;
        }
        at_start = false;
        const std::size_t length = std::min(stored.find('.'), stored.size() - 1) + 1;  // a segment and its dot
        path += stored.substr(0, length);
        stored.remove_prefix(length);
    }
    return path;
}

}  // namespace

TensorName parse_tensor_name(std::string_view stored_name) {
    constexpr std::string_view kModel = "model.";
    constexpr std::string_view kLanguage = "language_model.";
    TensorName name;
    name.published = without_wrappers(stored_name, name.taken_off);

    // 'language_model.' once is a form of its own; more of them come from saving a wrapped model again.
    const std::string doubled = std::string(kLanguage) + std::string(kLanguage);
    for (std::size_t at = name.published.find(doubled); at != std::string::npos; at = name.published.find(doubled)) {
        name.published.erase(at, kLanguage.size());
        note_once(name.taken_off, kLanguage);
    }

    std::string_view rest = name.published;
    bool inside = false;  // of the model, by a prefix
    while (take(rest, kLanguage) || take(rest, kModel)) {
        inside = true;
    }
    for (std::string_view own : {"lm_head.", "visual.", "mtp."}) {
        if (rest.starts_with(own)) {
            name.canonical = rest;
            return name;
        }
    }
    for (std::string_view decoder : {"layers.", "embed_tokens.", "norm."}) {
        inside |= rest.starts_with(decoder);
    }
    name.canonical = std::string(inside ? kModel : std::string_view()) + std::string(rest);
    return name;
}

std::string canonical_name(std::string_view stored_name) {
    return parse_tensor_name(stored_name).canonical;
}

}  // namespace deltavino::checkpoint
