#include "benchmark/statistics.hpp"

#include "base/error.hpp"

#include <algorithm>
#include <functional>

namespace deltavino::benchmark {
namespace {

double per_second(std::uint64_t tokens, double seconds) {
    return static_cast<double>(tokens) / std::max(seconds, 1e-9);
}

double prefill_rate(const LengthMeasurement& length) {
    return per_second(length.prompt_tokens, length.prefill_seconds);
}

double decode_rate(const LengthMeasurement& length) {
    return per_second(length.new_tokens, length.decode_seconds);
}

double first_token_rate(const LengthMeasurement& length) {
    return per_second(1, length.first_token_seconds);
}

using LengthNumber = std::function<double(const LengthMeasurement&)>;

Spread over_rounds(const DirectoryResult& result, std::size_t length, const LengthNumber& number) {
    std::vector<double> values;
    for (const Measurement& round : result.measurements) {
        values.push_back(number(round.lengths.at(length)));
    }
    return spread_of(std::move(values));
}

// Within each round, so that a slow minute of the machine counts for both.
Spread ratio(const DirectoryResult& model, const DirectoryResult& other, std::size_t length, const LengthNumber& rate) {
    std::vector<double> values;
    const std::size_t rounds = std::min(model.measurements.size(), other.measurements.size());
    for (std::size_t round = 0; round < rounds; ++round) {
        values.push_back(rate(model.measurements[round].lengths.at(length)) /
                         rate(other.measurements[round].lengths.at(length)));
    }
    return spread_of(std::move(values));
}

LengthResult summary_of(const DirectoryResult& model, const DirectoryResult& result, std::size_t length,
                        std::optional<double> read_bandwidth) {
    LengthResult summary;
    summary.prompt_tokens = result.measurements.front().lengths.at(length).prompt_tokens;
    summary.first_token_seconds =
        over_rounds(result, length, [](const LengthMeasurement& l) { return l.first_token_seconds; });
    summary.prefill_rate = over_rounds(result, length, prefill_rate);
    summary.decode_rate = over_rounds(result, length, decode_rate);
    const std::optional<std::uint64_t> bytes = result.weight_bytes_per_token;
    if (bytes && read_bandwidth && *read_bandwidth > 0.0) {
        summary.bandwidth_share = static_cast<double>(*bytes) * summary.decode_rate.median / *read_bandwidth;
    }
    summary.prefill_ratio = ratio(model, result, length, prefill_rate);
    summary.decode_ratio = ratio(model, result, length, decode_rate);
    summary.first_token_ratio = ratio(model, result, length, first_token_rate);
    return summary;
}

}  // namespace

std::vector<std::size_t> schedule(std::size_t directories, std::size_t rounds) {
    std::vector<std::size_t> order;
    for (std::size_t round = 0; round < rounds; ++round) {
        for (std::size_t i = 0; i < directories; ++i) {
            order.push_back(round % 2 == 0 ? i : directories - 1 - i);
        }
    }
    return order;
}

Spread spread_of(std::vector<double> values) {
    if (values.empty()) {
        fail(ErrorKind::Internal, "there is nothing to take the median of");
    }
    std::sort(values.begin(), values.end());
    const std::size_t half = values.size() / 2;
    const double median = values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2.0;
    return {median, values.front(), values.back()};
}

void summarize(std::vector<DirectoryResult>& results, std::optional<double> read_bandwidth) {
    for (DirectoryResult& result : results) {
        std::vector<double> loads;
        std::vector<double> peaks;
        for (const Measurement& round : result.measurements) {
            loads.push_back(round.load_seconds);
            if (round.peak_memory_bytes) {
                peaks.push_back(static_cast<double>(*round.peak_memory_bytes));
            }
        }
        result.load_seconds = spread_of(std::move(loads));
        if (!peaks.empty()) {
            result.peak_memory_bytes = spread_of(std::move(peaks));
        }
        result.first = result.measurements.front();
        for (std::size_t length = 0; length < result.first.lengths.size(); ++length) {
            result.lengths.push_back(summary_of(results.front(), result, length, read_bandwidth));
        }
    }
}

}  // namespace deltavino::benchmark
