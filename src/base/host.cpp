// Linux side of host.hpp: what stands in /proc.
#include "base/host.hpp"

#include <sched.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <iterator>
#include <sstream>
#include <thread>

namespace deltavino {
namespace {

// As the kernel names them, on x86 and on Arm.
constexpr std::array kInstructionSets{"avx2",        "fma",         "f16c",     "avx_vnni", "avx512f",  "avx512_vnni",
                                      "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16", "amx_fp16",
                                      "asimd",       "asimddp",     "i8mm",     "bf16",     "sve"};

// Files of /proc say nothing of their size.
std::string text_of(const char* path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// What stands behind "key", white space and ':' in the first such line.
std::string_view line_value(std::string_view text, std::string_view key) {
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        const std::string_view line = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        const std::size_t colon = line.find(':');
        if (colon == std::string_view::npos) {
            continue;
        }
        const std::string_view name = line.substr(0, line.find_last_not_of(" \t", colon - 1) + 1);
        if (colon > 0 && name == key) {
            const std::size_t begin = line.find_first_not_of(" \t", colon + 1);
            return begin == std::string_view::npos ? std::string_view() : line.substr(begin);
        }
    }
    return {};
}

// "123 kB"
std::optional<std::uint64_t> kilobytes(std::string_view value) {
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    const std::string_view rest = value.substr(static_cast<std::size_t>(end - value.data()));
    if (error != std::errc() || rest != " kB" || number > (std::uint64_t{1} << 50)) {
        return std::nullopt;
    }
    return number * 1024;
}

}  // namespace

Host host_of(std::string_view cpuinfo) {
    Host host;
    host.processor = line_value(cpuinfo, "model name");
    std::string_view flags = line_value(cpuinfo, "flags");
    if (flags.empty()) {
        flags = line_value(cpuinfo, "Features");
    }
    std::istringstream words{std::string(flags)};
    const std::vector<std::string> all{std::istream_iterator<std::string>(words), {}};
    for (const char* wanted : kInstructionSets) {
        if (std::find(all.begin(), all.end(), wanted) != all.end()) {
            host.instruction_sets.emplace_back(wanted);
        }
    }
    return host;
}

Host this_host() {
    Host host = host_of(text_of("/proc/cpuinfo"));
    ::cpu_set_t set;
    CPU_ZERO(&set);
    host.processors = ::sched_getaffinity(0, sizeof set, &set) == 0 ? static_cast<unsigned>(CPU_COUNT(&set))
                                                                    : std::thread::hardware_concurrency();
    return host;
}

std::optional<std::uint64_t> peak_memory_bytes() {
    return kilobytes(line_value(text_of("/proc/self/status"), "VmHWM"));
}

std::optional<std::uint64_t> free_memory_bytes() {
    return kilobytes(line_value(text_of("/proc/meminfo"), "MemAvailable"));
}

}  // namespace deltavino
