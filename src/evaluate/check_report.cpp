// The report of a check for people and for programs. The page of HTML is in check_html.cpp.
#include <deltavino/check.hpp>
#include <deltavino/version.hpp>

#include "base/text.hpp"
#include "evaluate/finding.hpp"
#include "json/document.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace deltavino {
namespace {

using evaluation::finding_name;

// The positions where public failures begin.
constexpr std::size_t kNamed[] = {1, 20, 64, 65, 80, 128, 300};

// JSON has no infinity: what could not be compared is null.
Json number(double value) {
    return std::isfinite(value) ? Json(value) : Json(nullptr);
}

std::string items_text(const CheckReport& report) {
    std::string text;
    for (const CheckItem& item : report.items) {
        text += fmt::format("{:5} {}: {}: {}\n", finding_name(item.finding), item.part, item.subject, item.says);
    }
    return text;
}

std::string divergences_text(const CheckReport& report) {
    std::vector<std::vector<std::string>> rows{{"cost of", "mean KL", "same top token", "largest difference", "is"}};
    for (const Divergence& divergence : report.divergences) {
        rows.push_back({divergence.name, fmt::format("{:.6f}", divergence.mean_kl),
                        fmt::format("{:.2f} %", 100.0 * divergence.top1_agreement),
                        fmt::format("{:.1e}", divergence.largest_difference), divergence.means});
    }
    return format_table(rows);
}

std::string positions_text(const CheckReport& report) {
    std::vector<std::vector<std::string>> rows{{"KL at token"}};
    for (const Divergence& divergence : report.divergences) {
        rows.front().push_back(divergence.name);
    }
    std::vector<std::size_t> wanted(std::begin(kNamed), std::end(kNamed));
    wanted.push_back(report.tokens);
    std::sort(wanted.begin(), wanted.end());
    for (std::size_t position : wanted) {
        std::vector<std::string> row{std::to_string(position)};
        for (const Divergence& divergence : report.divergences) {
            const auto found = std::find_if(divergence.positions.begin(), divergence.positions.end(),
                                            [&](const PositionDivergence& at) { return at.position == position; });
            if (found != divergence.positions.end()) {
                row.push_back(fmt::format("{:.2e}", found->kl));
            }
        }
        if (row.size() == rows.front().size() && row != rows.back()) {
            rows.push_back(std::move(row));
        }
    }
    return rows.size() > 1 ? format_table(rows) : std::string();
}

}  // namespace

std::string check_text(const CheckReport& report) {
    std::string text = items_text(report);
    if (!report.divergences.empty()) {
        text += "\n" + divergences_text(report) + "\n" + positions_text(report);
    }
    if (!report.weights.empty()) {
        const auto worst = std::max_element(
            report.weights.begin(), report.weights.end(),
            [](const WeightDivergence& a, const WeightDivergence& b) { return a.relative_error < b.relative_error; });
        text += fmt::format("\nworst of {} weights: '{}', {}, {:.2f} %\n", report.weights.size(), worst->name,
                            worst->stored_as, 100.0 * worst->relative_error);
    }
    if (!report.layers.empty()) {
        const auto worst =
            std::max_element(report.layers.begin(), report.layers.end(),
                             [](const LayerDivergence& a, const LayerDivergence& b) { return a.error < b.error; });
        text += fmt::format("largest difference of {} layer outputs: {}, {:.1e} of its values\n", report.layers.size(),
                            worst->place, worst->error);
    }
    for (const std::string& advice : report.advice) {
        text += "advice: " + advice + "\n";
    }
    return text + fmt::format("\n{}: {}\n", report.good ? "good" : "BAD", report.verdict);
}

std::string check_json(const CheckReport& report) {
    Json json{{"good", report.good},         {"verdict", report.verdict},    {"deltavino", version()},
              {"openvino", report.openvino}, {"device", report.device},      {"precision", report.precision},
              {"tokens", report.tokens},     {"command", report.command},    {"advice", report.advice},
              {"items", Json::array()},      {"divergences", Json::array()}, {"layers", Json::array()},
              {"weights", Json::array()}};
    for (const CheckItem& item : report.items) {
        json["items"].push_back({{"part", item.part},
                                 {"subject", item.subject},
                                 {"finding", finding_name(item.finding)},
                                 {"says", item.says}});
    }
    for (const Divergence& divergence : report.divergences) {
        Json entry{{"name", divergence.name},
                   {"means", divergence.means},
                   {"mean_kl", number(divergence.mean_kl)},
                   {"largest_difference", number(divergence.largest_difference)},
                   {"top1_agreement", divergence.top1_agreement},
                   {"positions", Json::array()}};
        for (const PositionDivergence& at : divergence.positions) {
            entry["positions"].push_back({{"position", at.position},
                                          {"kl", number(at.kl)},
                                          {"difference", number(at.difference)},
                                          {"same_top", at.same_top}});
        }
        json["divergences"].push_back(std::move(entry));
    }
    for (const LayerDivergence& layer : report.layers) {
        json["layers"].push_back({{"place", layer.place}, {"error", number(layer.error)}});
    }
    for (const WeightDivergence& weight : report.weights) {
        json["weights"].push_back({{"name", weight.name},
                                   {"stored_as", weight.stored_as},
                                   {"relative_error", number(weight.relative_error)},
                                   {"worst_row", weight.worst_row},
                                   {"worst_row_error", number(weight.worst_row_error)}});
    }
    return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace deltavino
