// Writes an ov::Model as OpenVINO IR (version 11): the text of the .xml and the layout of the .bin.
//
// Unlike ov::serialize it never needs the bytes of the large weights: constants whose bytes are
// streamed later are only given a place in the .bin. Names and layout depend on the graph alone, so the
// same model always gives the same file.
#pragma once

#include "base/checked.hpp"

#include <openvino/core/model.hpp>
#include <openvino/op/constant.hpp>

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

namespace deltavino::graph {

// rt_info entries of the model as "a/b/c" paths and values, for example
// {"runtime_options/KV_CACHE_PRECISION", "f16"}.
using RuntimeInfo = std::vector<std::pair<std::string, std::string>>;

struct IrLayout {
    std::string xml;
    std::uint64_t bin_bytes = 0;
    // Where each streamed constant goes in the .bin.
    std::unordered_map<const ov::Node*, std::uint64_t> streamed_offsets;
    // Constants whose bytes are in memory, each once.
    std::vector<std::pair<std::uint64_t, const ov::op::v0::Constant*>> inline_constants;

    std::uint64_t bytes() const { return checked_add(bin_bytes, xml.size()); }
};

// `streamed`: the constants whose bytes come later. `decompressions`: Convert nodes that widen a stored
// weight; they are marked as such so that no plugin folds them into a larger constant.
IrLayout lay_out_ir(const ov::Model& model, const RuntimeInfo& runtime_info,
                    const std::unordered_set<const ov::Node*>& streamed,
                    const std::unordered_set<const ov::Node*>& decompressions);

}  // namespace deltavino::graph
