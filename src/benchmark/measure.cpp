// What one process measures.
#include <deltavino/bench.hpp>

#include "base/host.hpp"
#include "benchmark/timed_model.hpp"
#include "runtime/pieces.hpp"

#include <algorithm>
#include <chrono>
#include <limits>
#include <span>

namespace deltavino {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

std::int64_t most_likely(std::span<const float> logits) {
    return std::max_element(logits.begin(), logits.end()) - logits.begin();
}

// Ids that no checkpoint lacks when the model does not say how many it knows.
std::vector<std::int64_t> prompt_of(std::uint64_t tokens, std::int64_t vocabulary) {
    constexpr std::int64_t kSurely = 256;
    const auto most = static_cast<std::uint64_t>(
        vocabulary == std::numeric_limits<std::int64_t>::max() ? kSurely : std::max<std::int64_t>(vocabulary, 1));
    benchmark::Numbers numbers;
    std::vector<std::int64_t> ids(tokens);
    std::generate(ids.begin(), ids.end(), [&]() { return static_cast<std::int64_t>(numbers.next() % most); });
    return ids;
}

// Time of every kind of operation since the model was loaded. The CPU plugin's counters are means over all inferences,
// in whole microseconds.
OperationTimes counters(const benchmark::TimedModel& model, std::uint64_t inferences) {
    OperationTimes times;
    for (const ov::ProfilingInfo& node : model.profile()) {
        if (node.status == ov::ProfilingInfo::Status::EXECUTED) {
            times[node.node_type] += static_cast<double>(node.real_time.count()) * static_cast<double>(inferences);
        }
    }
    return times;
}

OperationTimes between(const OperationTimes& before, const OperationTimes& after) {
    OperationTimes times;
    for (const auto& [kind, time] : after) {
        const auto earlier = before.find(kind);
        times[kind] = std::max(0.0, time - (earlier == before.end() ? 0.0 : earlier->second));
    }
    return times;
}

class Measuring {
public:
    Measuring(benchmark::TimedModel& model, const BenchOptions& options) : model_(model), options_(options) {}

    LengthMeasurement length(std::uint64_t tokens) {
        LengthMeasurement result{tokens, 0.0, 0.0, 0.0, options_.new_tokens, {}, {}};
        const std::vector<std::int64_t> prompt = prompt_of(tokens, model_.vocabulary());
        std::int64_t next = 0;
        const auto read_prompt = [&]() {
            model_.reset();
            const auto start = Clock::now();
            next = read(prompt);
            return seconds_since(start);
        };
        result.first_token_seconds = read_prompt();
        const OperationTimes first = snapshot();
        result.prefill_seconds = read_prompt();
        const OperationTimes second = snapshot();
        const auto start = Clock::now();
        for (std::uint64_t i = 0; i < options_.new_tokens; ++i) {
            next = read(std::span(&next, 1));
        }
        result.decode_seconds = seconds_since(start);
        if (options_.profile) {
            result.prefill_operations = between(first, second);
            result.decode_operations = between(second, snapshot());
        }
        return result;
    }

private:
    // The most likely token after `ids`, which are read in pieces as the runner reads them.
    std::int64_t read(std::span<const std::int64_t> ids) {
        std::int64_t next = 0;
        for (std::size_t begin = 0, size = 0; begin < ids.size(); begin += size) {
            size = std::min(runtime::tokens_of_piece(model_.pieces(), begin), ids.size() - begin);
            next = most_likely(model_.read(ids.subspan(begin, size)));
            ++inferences_;
        }
        return next;
    }

    OperationTimes snapshot() const { return options_.profile ? counters(model_, inferences_) : OperationTimes(); }

    benchmark::TimedModel& model_;
    const BenchOptions& options_;
    std::uint64_t inferences_ = 0;
};

// Empty when the device does not know the property.
std::string property_of(const ov::CompiledModel& model, const std::string& name) {
    try {
        return model.get_property(name).as<std::string>();
    } catch (const std::exception&) {
        return {};
    }
}

std::string full_name(ov::Core& core, const std::string& device) {
    try {
        return core.get_property(device, ov::device::full_name);
    } catch (const std::exception&) {
        return {};
    }
}

}  // namespace

Measurement measure(const BenchOptions& options, ProgressSink& progress) {
    const runtime::StopCheck stop = [&]() {
        return progress.cancelled();
    };
    const auto start = Clock::now();
    benchmark::TimedModel model(options, stop);
    Measurement result;
    result.load_seconds = seconds_since(start);
    const ov::CompiledModel& compiled = model.compiled();
    result.device = full_name(model.core(), options.device);
    result.precision = property_of(compiled, ov::hint::inference_precision.name());
    result.kv_cache = property_of(compiled, ov::hint::kv_cache_precision.name());
    result.dynamic_quantization_group = property_of(compiled, ov::hint::dynamic_quantization_group_size.name());
    result.inference_threads = property_of(compiled, ov::inference_num_threads.name());
    result.random_embeddings = model.random_embeddings();
    Measuring measuring(model, options);
    for (const std::uint64_t tokens : options.prompt_tokens) {
        result.lengths.push_back(measuring.length(tokens));
    }
    result.peak_memory_bytes = peak_memory_bytes();
    return result;
}

}  // namespace deltavino
