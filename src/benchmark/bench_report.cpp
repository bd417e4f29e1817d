// The report of a benchmark, for people and for programs.
#include <deltavino/bench.hpp>

#include "base/text.hpp"
#include "benchmark/measurement_json.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>
#include <utility>

namespace deltavino {
namespace {

using ReportJson = nlohmann::ordered_json;
using ReportTable = std::vector<std::vector<std::string>>;

constexpr const char* kNotKnown = "?";

std::string or_unknown(const std::string& text) {
    return text.empty() ? kNotKnown : text;
}

std::string bytes_or_unknown(const std::optional<double>& bytes) {
    return bytes ? human_bytes(static_cast<std::uint64_t>(*bytes)) : kNotKnown;
}

double total(const OperationTimes& times) {
    return std::accumulate(times.begin(), times.end(), 0.0,
                           [](double sum, const auto& entry) { return sum + entry.second; });
}

std::string machine_text(const BenchReport& report) {
    std::string text = fmt::format(
        "{}, {} processor{}: {}\n", or_unknown(report.processor), report.processors, report.processors == 1 ? "" : "s",
        report.instruction_sets.empty() ? std::string("instruction sets are not known")
                                        : fmt::format("{}", fmt::join(report.instruction_sets, " ")));
    text += report.read_bandwidth ? fmt::format("memory: {}/s read by all processors together\n",
                                                human_bytes(static_cast<std::uint64_t>(*report.read_bandwidth)))
                                  : "memory: its bandwidth was not measured, there is too little free memory\n";
    return text + fmt::format("OpenVINO {}; {} round{}, {} new tokens\n\n", report.openvino, report.rounds,
                              report.rounds == 1 ? "" : "s", report.new_tokens);
}

std::string models_text(const BenchReport& report) {
    ReportTable rows{{"", "model", "precision", "KV cache", "activations in groups", "threads", "loads in",
                      "peak memory", "weights per token"}};
    bool random = false;
    for (std::size_t i = 0; i < report.results.size(); ++i) {
        const DirectoryResult& result = report.results[i];
        const std::string& group = result.first.dynamic_quantization_group;
        random = random || result.first.random_embeddings;
        rows.push_back({std::string(1, static_cast<char>('A' + i % 26)), result.model.string(),
                        or_unknown(result.first.precision), or_unknown(result.first.kv_cache),
                        group == "0" ? "no" : or_unknown(group), or_unknown(result.first.inference_threads),
                        fmt::format("{:.2f} s", result.load_seconds.median),
                        bytes_or_unknown(result.peak_memory_bytes ? std::optional(result.peak_memory_bytes->median)
                                                                  : std::nullopt),
                        bytes_or_unknown(result.weight_bytes_per_token)});
    }
    return format_table(rows) + (random ? "embeddings were random numbers where the directory has no model that makes "
                                          "them\n\n"
                                        : "\n");
}

std::string times(const Spread& ratio) {
    return fmt::format("{:.2f} ({:.2f}-{:.2f})", ratio.median, ratio.least, ratio.most);
}

std::string lengths_text(const BenchReport& report) {
    ReportTable rows{{"prompt", "", "first token", "prompt tokens/s", "new tokens/s", "of the bandwidth"}};
    const bool compared = report.results.size() > 1;
    if (compared) {
        rows.front().insert(rows.front().end(), {"A: first token", "A: prompt", "A: new tokens"});
    }
    const std::size_t lengths = report.results.front().lengths.size();
    for (std::size_t length = 0; length < lengths; ++length) {
        for (std::size_t i = 0; i < report.results.size(); ++i) {
            const LengthResult& result = report.results[i].lengths[length];
            rows.push_back({std::to_string(result.prompt_tokens), std::string(1, static_cast<char>('A' + i % 26)),
                            fmt::format("{:.3f} s", result.first_token_seconds.median),
                            fmt::format("{:.1f}", result.prefill_rate.median),
                            fmt::format("{:.1f}", result.decode_rate.median),
                            result.bandwidth_share ? fmt::format("{:.0f} %", 100.0 * *result.bandwidth_share)
                                                   : std::string(kNotKnown)});
            if (compared && i == 0) {
                rows.back().insert(rows.back().end(), {"1", "1", "1"});
            } else if (compared) {
                rows.back().insert(rows.back().end(), {times(result.first_token_ratio), times(result.prefill_ratio),
                                                       times(result.decode_ratio)});
            }
        }
    }
    std::string text = format_table(rows) + "medians; the first token is that of the first prompt of this length\n";
    if (compared) {
        text += "A: how many times as fast A is, in the same round: median (least-most)\n";
    }
    return text;
}

std::string operations_text(const OperationTimes& operations) {
    std::vector<std::pair<double, std::string>> sorted;
    for (const auto& [kind, time] : operations) {
        sorted.emplace_back(time, kind);
    }
    std::sort(sorted.rbegin(), sorted.rend());
    const double all = std::max(total(operations), 1e-9);
    constexpr double kShown = 0.005;
    double rest = all;
    std::string text;
    for (const auto& [time, kind] : sorted) {
        if (time / all >= kShown) {
            text += fmt::format("{}{} {:.0f} %", text.empty() ? "" : ", ", kind, 100.0 * time / all);
            rest -= time;
        }
    }
    return text + fmt::format("{}others {:.0f} %\n", text.empty() ? "" : ", ", std::max(0.0, 100.0 * rest / all));
}

std::string profile_text(const BenchReport& report) {
    std::string text;
    for (std::size_t i = 0; i < report.results.size(); ++i) {
        for (const LengthResult& length : report.results[i].lengths) {
            if (length.prefill_operations.empty()) {
                continue;
            }
            const char name = static_cast<char>('A' + i % 26);
            text += fmt::format("{}, prompt of {}: {}", name, length.prompt_tokens,
                                operations_text(length.prefill_operations));
            text += fmt::format("{}, new tokens after {}: {}", name, length.prompt_tokens,
                                operations_text(length.decode_operations));
        }
    }
    return text.empty() ? text : "\ntime by kind of operation, in a process of its own:\n" + text;
}

ReportJson spread_json(const Spread& spread) {
    return {{"median", spread.median}, {"least", spread.least}, {"most", spread.most}};
}

ReportJson length_result_json(const LengthResult& length) {
    ReportJson json{{"prompt_tokens", length.prompt_tokens},
                    {"first_token_seconds", spread_json(length.first_token_seconds)},
                    {"prefill_tokens_per_second", spread_json(length.prefill_rate)},
                    {"decode_tokens_per_second", spread_json(length.decode_rate)},
                    {"bandwidth_share", nullptr},
                    {"first_token_ratio", spread_json(length.first_token_ratio)},
                    {"prefill_ratio", spread_json(length.prefill_ratio)},
                    {"decode_ratio", spread_json(length.decode_ratio)}};
    if (length.bandwidth_share) {
        json["bandwidth_share"] = *length.bandwidth_share;
    }
    for (const auto& [name, operations] : {std::pair("prefill_microseconds_by_operation", &length.prefill_operations),
                                           std::pair("decode_microseconds_by_operation", &length.decode_operations)}) {
        if (!operations->empty()) {
            json[name] = *operations;
        }
    }
    return json;
}

ReportJson result_json(const DirectoryResult& result) {
    ReportJson json{{"model", result.model.string()},
                    {"device", result.first.device},
                    {"precision", result.first.precision},
                    {"kv_cache", result.first.kv_cache},
                    {"dynamic_quantization_group", result.first.dynamic_quantization_group},
                    {"inference_threads", result.first.inference_threads},
                    {"random_embeddings", result.first.random_embeddings},
                    {"weight_bytes_per_token", nullptr},
                    {"load_seconds", spread_json(result.load_seconds)},
                    {"peak_memory_bytes", nullptr},
                    {"lengths", ReportJson::array()},
                    {"processes", ReportJson::array()}};
    if (result.weight_bytes_per_token) {
        json["weight_bytes_per_token"] = *result.weight_bytes_per_token;
    }
    if (result.peak_memory_bytes) {
        json["peak_memory_bytes"] = spread_json(*result.peak_memory_bytes);
    }
    for (const LengthResult& length : result.lengths) {
        json["lengths"].push_back(length_result_json(length));
    }
    for (const Measurement& measurement : result.measurements) {
        json["processes"].push_back(benchmark::json_of(measurement));
    }
    return json;
}

}  // namespace

std::string bench_text(const BenchReport& report) {
    return machine_text(report) + models_text(report) + lengths_text(report) + profile_text(report);
}

std::string bench_json(const BenchReport& report) {
    ReportJson json{{"openvino", report.openvino},      {"processor", report.processor},
                    {"processors", report.processors},  {"instruction_sets", report.instruction_sets},
                    {"read_bytes_per_second", nullptr}, {"new_tokens", report.new_tokens},
                    {"rounds", report.rounds},          {"order", report.order},
                    {"models", ReportJson::array()}};
    if (report.read_bandwidth) {
        json["read_bytes_per_second"] = *report.read_bandwidth;
    }
    for (const DirectoryResult& result : report.results) {
        json["models"].push_back(result_json(result));
    }
    return json.dump(2, ' ', false, ReportJson::error_handler_t::replace) + "\n";
}

}  // namespace deltavino
