// What the plugins of OpenVINO 2026.4 keep: the GPU's was measured by tests/gpu/test_memory.py.
#include "inspect/memory.hpp"

#include "base/error.hpp"

#include <fmt/format.h>

#include <array>

namespace deltavino::inspection {
namespace {

constexpr std::array<std::uint64_t, 5> kContexts{4096, 16384, 65536, 131072, 262144};
constexpr std::uint64_t kGibibyte = std::uint64_t{1} << 30;
// What drivers for Arc A and integrated GPUs allow in one buffer unless told otherwise.
constexpr std::uint64_t kLargestBuffer = 4 * kGibibyte;
constexpr std::uint64_t kHalf = 2;
constexpr std::uint64_t kFloat = 4;

bool is_integer(const std::string& type) {
    return type.starts_with("u") || type.starts_with("i");
}

bool is_small_float(const std::string& type) {
    return type.starts_with("nf4") || type.starts_with("f4") || type.starts_with("f8");
}

// The GPU plugin computes in f16 and widens everything to it but integers.
std::uint64_t on_gpu(const StoredWeight& weight) {
    return is_integer(weight.type) ? weight.bytes : weight.elements * kHalf;
}

// The CPU plugin in float32, as on a host without bf16; tables are looked up as they are stored.
std::uint64_t on_cpu(const StoredWeight& weight) {
    const bool kept = is_integer(weight.type) || is_small_float(weight.type) || weight.table;
    return kept ? weight.bytes : weight.elements * kFloat;
}

// Bytes of a token in 8 bit. The GPU has a scale and a zero point in f16 for each head and token. The CPU has
// two floats for each head and token of the values, and for each channel and 32 tokens of the keys.
std::uint64_t eight_bit(const GrowingState& state, bool gpu) {
    const std::uint64_t more = gpu ? 2 * kHalf : state.keys ? state.width * 2 * kFloat / 32 : 2 * kFloat;
    return state.heads * (state.width + more);
}

}  // namespace

DeviceMemory memory_on(const std::string& device, const Contents& contents) {
    if (device != "CPU" && device != "GPU") {
        fail(ErrorKind::Usage, "--device is '{}', expected CPU or GPU", device);
    }
    const bool gpu = device == "GPU";
    DeviceMemory memory;
    memory.device = device;
    memory.buffer_limit = gpu ? kLargestBuffer : 0;
    const auto consider = [&](std::uint64_t bytes, const std::string& what) {
        if (bytes > memory.largest_bytes) {
            memory.largest_bytes = bytes;
            memory.largest_buffer = what;
        }
    };
    for (const StoredWeight& weight : contents.weights) {
        const std::uint64_t bytes = gpu ? on_gpu(weight) : on_cpu(weight);
        memory.weights_in_files += weight.bytes;
        memory.weights += bytes;
        if (gpu && weight.expert) {
            memory.widened_experts += weight.elements * kHalf - bytes;
        }
        consider(bytes, weight.name);
    }
    memory.fixed_states = contents.fixed_states * (gpu ? kHalf : kFloat);
    for (const std::uint64_t tokens : kContexts) {
        ContextBytes context{tokens, 0, 0};
        for (const GrowingState& state : contents.growing) {
            const std::uint64_t bytes = state.heads * state.width * kHalf * tokens;
            context.f16 += bytes;
            context.u8 += eight_bit(state, gpu) * tokens;
            consider(bytes, fmt::format("{} at {} tokens in f16", state.name, tokens));
        }
        memory.contexts.push_back(context);
    }
    return memory;
}

}  // namespace deltavino::inspection
