// How much memory a model needs on a device, from what is stored.
#pragma once

#include <deltavino/inspect.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace deltavino::inspection {

struct StoredWeight {
    std::string name;
    std::string type;  // of the stored bytes: "f32", "bf16", "u4", ...
    std::uint64_t elements = 0;
    std::uint64_t bytes = 0;
    bool expert = false;  // a stack of experts
    bool table = false;   // only looked up
};

// One of the keys or values of a layer: [1, heads, tokens, width].
struct GrowingState {
    std::string name;
    std::uint64_t heads = 0;
    std::uint64_t width = 0;
    bool keys = false;
};

struct Contents {
    std::vector<StoredWeight> weights;
    std::vector<GrowingState> growing;
    std::uint64_t fixed_states = 0;  // elements
};

// Throws ErrorKind::Usage for a device that is neither CPU nor GPU.
DeviceMemory memory_on(const std::string& device, const Contents& contents);

}  // namespace deltavino::inspection
