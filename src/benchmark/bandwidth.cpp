#include "benchmark/bandwidth.hpp"

#include "base/error.hpp"
#include "base/host.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <thread>
#include <vector>

namespace deltavino::benchmark {
namespace {

constexpr std::uint64_t kMostBytes = 512ull << 20;  // more than the caches of one machine, mostly
constexpr std::uint64_t kLeastBytes = 64ull << 20;
constexpr int kPasses = 5;

// Sums side by side: a single one would wait for its own additions.
std::uint64_t sum_of(std::span<const std::uint64_t> words) {
    constexpr std::size_t kSums = 32;
    std::array<std::uint64_t, kSums> sums{};
    for (std::size_t i = 0; i + kSums <= words.size(); i += kSums) {
        for (std::size_t j = 0; j < kSums; ++j) {
            sums[j] += words[i + j];
        }
    }
    std::uint64_t sum = 0;
    for (const std::uint64_t part : sums) {
        sum += part;
    }
    return sum;
}

template <typename Work>
void in_threads(unsigned threads, const Work& work) {
    std::vector<std::jthread> running;
    for (unsigned i = 1; i < threads; ++i) {
        running.emplace_back([&work, i]() { work(i); });
    }
    work(0);
}

}  // namespace

std::optional<double> read_bandwidth(unsigned threads, const std::function<bool()>& stop) {
    threads = std::max(threads, 1u);
    const std::uint64_t bytes = std::min(kMostBytes, free_memory_bytes().value_or(0) / 4);
    if (bytes < kLeastBytes) {
        return std::nullopt;
    }
    const std::size_t words = bytes / sizeof(std::uint64_t);
    const std::unique_ptr<std::uint64_t[]> memory(new (std::nothrow) std::uint64_t[words]);
    if (memory == nullptr) {
        return std::nullopt;
    }
    const std::size_t share = words / threads;
    const auto part = [&](unsigned thread) {
        return std::span(memory.get() + thread * share, share);
    };
    // Written by the thread that reads it: its pages are near that thread then.
    in_threads(threads, [&](unsigned thread) { std::ranges::fill(part(thread), thread + 1); });
    double best = 0.0;
    std::atomic<std::uint64_t> total{0};  // so that the sums are not left out
    for (int pass = 0; pass < kPasses; ++pass) {
        if (stop && stop()) {
            fail(ErrorKind::Cancelled, "stopped");
        }
        const auto start = std::chrono::steady_clock::now();
        in_threads(threads, [&](unsigned thread) { total += sum_of(part(thread)); });
        const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        best = std::max(best, static_cast<double>(share * threads * sizeof(std::uint64_t)) / std::max(seconds, 1e-9));
    }
    std::uint64_t expected = 0;
    for (unsigned thread = 0; thread < threads; ++thread) {
        constexpr std::size_t kSums = 32;
        expected += (thread + 1ull) * (share / kSums * kSums) * kPasses;
    }
    if (total != expected) {
        fail(ErrorKind::Internal, "the read of memory gives {}, expected {}", total.load(), expected);
    }
    return best;
}

}  // namespace deltavino::benchmark
