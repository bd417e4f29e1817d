#include "evaluate/advice.hpp"

#include "base/error.hpp"

#include <openvino/runtime/properties.hpp>

#include <algorithm>
#include <array>

namespace deltavino::evaluation {
namespace {

struct Advice {
    const char* device;    // begins so
    const char* openvino;  // the version that it was measured on; it may not hold for others
    const char* backend;   // openvino_genai's ATTENTION_BACKEND
    const char* reason;
};

constexpr std::array kBackends{
    Advice{
        "CPU", "2026.4", "SDPA",
        "the paged form runs the delta rule in a reference kernel on the CPU: a prompt takes about five times as long"},
    Advice{
        "GPU", "2026.4", "PA",
        "the stateful form runs the delta rule in a reference kernel on the GPU, the paged one has an optimised one"},
};

}  // namespace

const std::string_view kBuiltInText =
    "The old lighthouse keeper counted the ships each evening and wrote their number into a book with a green cover. "
    "On calm days there were seven or eight; in the autumn storms he often wrote a zero and drew a small wave beside "
    "it. "
    "His daughter, who had learned to read from that book, asked him once why he bothered, since nobody had ever come "
    "to "
    "look at the figures. He thought about it while he trimmed the lamp. A number that nobody needs today, he said, "
    "may be "
    "the only answer to a question that somebody asks in a hundred years.\n\n"
    "She kept the book after him. When engineers planned the new harbour in 1931, they wanted to know how the traffic "
    "had "
    "changed with the seasons, and the green book was the only record on the whole coast. They copied 14,610 entries "
    "by "
    "hand. The mean was 6.2 ships a day, the highest count 23, on the third of June 1904, when a fleet of herring "
    "boats had "
    "waited for the tide.\n\n"
    "What makes a record useful is seldom what its writer had in mind. A good one says what was counted, when, by "
    "whom, and "
    "how; it does not round, it does not leave out the days on which nothing happened, and it admits its gaps: \"ill "
    "from "
    "the 4th to the 9th, no count\". Such lines are worth more than a smooth curve, because they let others judge how "
    "far "
    "the rest can be trusted. The same holds for measurements of machines. def mean(values): return sum(values) / "
    "len(values) is easy to write; to say which values were thrown away, and why, is the harder and the more important "
    "part of the work.\n";

std::string device_precision(ov::Core& core, const std::string& device) {
    try {
        return core.get_property(device, ov::hint::inference_precision).get_type_name();
    } catch (const ov::Exception&) {
        return "unknown";
    }
}

void advise(CheckReport& report, const CheckOptions& options) {
    for (const Advice& row : kBackends) {
        if (options.device.starts_with(row.device) && report.openvino.starts_with(row.openvino)) {
            report.advice.push_back(
                fmt::format("on {} with OpenVINO {} give openvino_genai ATTENTION_BACKEND=\"{}\": {}", row.device,
                            row.openvino, row.backend, row.reason));
        }
    }
    for (const Divergence& divergence : report.divergences) {
        if (divergence.name != "precision" || divergence.positions.empty()) {
            continue;
        }
        const std::size_t part = std::max<std::size_t>(1, divergence.positions.size() / 4);
        const auto mean = [&](auto begin, auto end) {
            double sum = 0.0;
            for (auto at = begin; at != end; ++at) {
                sum += at->kl;
            }
            return sum / static_cast<double>(end - begin);
        };
        const double early =
            mean(divergence.positions.begin(), divergence.positions.begin() + static_cast<std::ptrdiff_t>(part));
        const double late =
            mean(divergence.positions.end() - static_cast<std::ptrdiff_t>(part), divergence.positions.end());
        if (late > 0.01) {
            report.advice.push_back(
                fmt::format("{} costs a KL of {:.4f} in the last quarter of the text ({:.4f} in the first): "
                            "INFERENCE_PRECISION_HINT=f32 "
                            "avoids it",
                            report.precision, late, early));
        }
    }
}

}  // namespace deltavino::evaluation
