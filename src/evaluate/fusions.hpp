// Which operations of the graph that a device compiled carry the layers of the model: a table per device and form.
#pragma once

#include "evaluate/directory_model.hpp"

#include <deltavino/check.hpp>

#include <string>
#include <vector>

namespace deltavino::evaluation {

// Layers of a model, counted by its states and by the names of its experts.
struct LayerCounts {
    std::size_t linear = 0;
    std::size_t full = 0;
    std::size_t with_experts = 0;
};
LayerCounts count_layers(const ov::Model& language);

enum class Form : std::uint8_t { Stateful, Paged };

// A layer that is left as many small operations is right and slow; one that should be a single operation and is not
// is BAD where the device is known to make one, else a note. Of a device without rows only loops are looked for.
// `precision`: that the graph was compiled for, as "f32".
std::vector<CheckItem> check_fusions(const OperationCounts& compiled, const LayerCounts& layers,
                                     const std::string& device, Form form, const std::string& precision);

// What OpenVINO's own transformation made of the layers, before any device sees them.
std::vector<CheckItem> check_paged_operations(const OperationCounts& transformed, const LayerCounts& layers);

}  // namespace deltavino::evaluation
