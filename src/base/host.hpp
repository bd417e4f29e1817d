// What the machine says of itself.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace deltavino {

struct Host {
    std::string processor;    // empty: not said
    unsigned processors = 0;  // that this process may use
    std::vector<std::string> instruction_sets;
};

Host this_host();

// Of the text of /proc/cpuinfo: the processor's name, and which of the instruction sets that matter to products of
// matrices it has, in a fixed order. `processors` stays 0.
Host host_of(std::string_view cpuinfo);

// The most memory that this process had so far; empty when the system does not say.
std::optional<std::uint64_t> peak_memory_bytes();

// Memory that can be had without swapping; empty when the system does not say.
std::optional<std::uint64_t> free_memory_bytes();

}  // namespace deltavino
