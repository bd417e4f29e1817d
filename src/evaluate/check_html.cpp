// The report of a check as one page that a person can attach to a bug report: no scripts, no links, plots as SVG.
#include <deltavino/check.hpp>
#include <deltavino/version.hpp>

#include "base/text.hpp"
#include "evaluate/finding.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

namespace deltavino {
namespace {

using evaluation::finding_name;

constexpr const char* kStyle =
    "body{font:15px/1.5 system-ui,sans-serif;max-width:62em;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em .8em;border-bottom:1px solid #ddd;text-align:left;"
    "vertical-align:top}.good{color:#17692b}.bad{color:#a61b1b;font-weight:bold}.note{color:#7a5c00}"
    "h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em}code{background:#f4f4f4;padding:.1em .3em}"
    "svg{max-width:100%}text{font:12px system-ui,sans-serif;fill:#444}";

constexpr std::array kColours{"#1b6ca8", "#c0392b", "#2e8b57", "#8e5ea2"};

const char* css_class(Finding finding) {
    return finding == Finding::Good ? "good" : finding == Finding::Note ? "note" : "bad";
}

// A plot of some series over x, with a logarithmic y axis from `low` to `high`.
class Plot {
public:
    Plot(double first, double last, double low, double high)
        : first_(first), last_(std::max(last, first + 1)), low_(std::log10(low)), high_(std::log10(high)) {
        svg_ =
            fmt::format("<svg viewBox=\"0 0 {:.0f} {:.0f}\" width=\"{:.0f}\" role=\"img\">", kWidth, kHeight, kWidth);
        for (double power = std::ceil(low_); power <= high_; power += std::max(1.0, std::floor((high_ - low_) / 6))) {
            const double y = place_y(std::pow(10.0, power));
            svg_ += fmt::format(
                "<line x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"#e4e4e4\"/>"
                "<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">1e{:.0f}</text>",
                kLeft, kWidth - kRight, y, y, kLeft - 6, y + 4, power);
        }
        for (double share : {0.0, 0.25, 0.5, 0.75, 1.0}) {
            const double x = first_ + share * (last_ - first_);
            svg_ += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{:.0f}</text>", place_x(x),
                                kHeight - 8, x);
        }
    }

    void line(const std::vector<std::pair<double, double>>& points, const std::string& name) {
        std::string path;
        for (const auto& [x, y] : points) {
            path += fmt::format("{:.1f},{:.1f} ", place_x(x), place_y(y));
        }
        const char* colour = kColours[series_ % kColours.size()];
        svg_ += fmt::format("<polyline fill=\"none\" stroke=\"{}\" stroke-width=\"1.5\" points=\"{}\"/>", colour, path);
        svg_ += fmt::format(
            "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"12\" height=\"3\" fill=\"{}\"/>"
            "<text x=\"{:.1f}\" y=\"{:.1f}\">{}</text>",
            kWidth - kRight + 10, kTop + 18.0 * static_cast<double>(series_), colour, kWidth - kRight + 27,
            kTop + 5 + 18.0 * static_cast<double>(series_), xml_escaped(name));
        ++series_;
    }

    std::string done() const { return svg_ + "</svg>"; }

private:
    double place_x(double x) const { return kLeft + (x - first_) / (last_ - first_) * (kWidth - kLeft - kRight); }
    double place_y(double y) const {
        const double at = std::clamp(std::isfinite(y) && y > 0.0 ? std::log10(y) : y > 0.0 ? high_ : low_, low_, high_);
        return kTop + (high_ - at) / (high_ - low_) * (kHeight - kTop - kBottom);
    }

    static constexpr double kWidth = 860, kHeight = 280, kLeft = 52, kRight = 160, kTop = 12, kBottom = 30;
    double first_, last_, low_, high_;
    std::size_t series_ = 0;
    std::string svg_;
};

std::string facts(const CheckReport& report) {
    std::string html = "<table>";
    for (const auto& [name, value] : {std::pair<std::string, std::string>{"deltavino", version()},
                                      {"OpenVINO", report.openvino},
                                      {"device", report.device},
                                      {"its own precision", report.precision},
                                      {"made by", report.recipe},
                                      {"tokens read", std::to_string(report.tokens)},
                                      {"command", report.command}}) {
        if (!value.empty()) {
            html += fmt::format("<tr><th>{}</th><td>{}</td></tr>", name, xml_escaped(value));
        }
    }
    return html + "</table>";
}

std::string divergences(const CheckReport& report) {
    if (report.divergences.empty()) {
        return {};
    }
    std::string html =
        "<h2>What each step costs</h2><table><tr><th>cost of</th><th>mean KL</th><th>same top token</th><th>largest "
        "difference</th><th>compares</th></tr>";
    double last = 1.0;
    for (const Divergence& one : report.divergences) {
        html += fmt::format("<tr><td>{}</td><td>{:.6f}</td><td>{:.2f} %</td><td>{:.1e}</td><td>{}</td></tr>",
                            xml_escaped(one.name), one.mean_kl, 100.0 * one.top1_agreement, one.largest_difference,
                            xml_escaped(one.means));
        last = one.positions.empty() ? last : static_cast<double>(one.positions.back().position);
    }
    html += "</table><p>KL by position in the text (nats, logarithmic; below 1e-10 is drawn at 1e-10):</p>";
    Plot plot(1.0, last, 1e-10, 10.0);
    for (const Divergence& one : report.divergences) {
        std::vector<std::pair<double, double>> points;
        for (const PositionDivergence& at : one.positions) {
            points.emplace_back(static_cast<double>(at.position), at.kl);
        }
        plot.line(points, one.name);
    }
    return html + plot.done();
}

std::string layers(const CheckReport& report) {
    if (report.layers.empty()) {
        return {};
    }
    Plot plot(1.0, static_cast<double>(report.layers.size()), 1e-8, 10.0);
    std::vector<std::pair<double, double>> points;
    const LayerDivergence* worst = &report.layers.front();
    for (const LayerDivergence& layer : report.layers) {
        points.emplace_back(static_cast<double>(points.size() + 1), layer.error);
        worst = layer.error > worst->error ? &layer : worst;
    }
    plot.line(points, "runtime, float32");
    return fmt::format(
        "<h2>Layer by layer</h2><p>Error of the hidden states after each half of each layer (mixer, "
        "feed-forward), runtime in float32 against the reference on the same weights. Worst: {}, "
        "{:.1e}.</p>{}",
        xml_escaped(worst->place), worst->error, plot.done());
}

std::string weights(const CheckReport& report) {
    if (report.weights.empty()) {
        return {};
    }
    constexpr std::size_t kShown = 20;
    std::vector<WeightDivergence> sorted = report.weights;
    std::sort(sorted.begin(), sorted.end(),
              [](const WeightDivergence& a, const WeightDivergence& b) { return a.relative_error > b.relative_error; });
    std::string html = fmt::format(
        "<h2>Weights</h2><p>The worst of {} stored weights against the "
        "checkpoint.</p><table><tr><th>weight</th><th>stored "
        "as</th><th>error</th><th>worst row</th></tr>",
        sorted.size());
    for (std::size_t i = 0; i < std::min(kShown, sorted.size()); ++i) {
        html += fmt::format("<tr><td>{}</td><td>{}</td><td>{:.3f} %</td><td>{}: {:.3f} %</td></tr>",
                            xml_escaped(sorted[i].name), xml_escaped(sorted[i].stored_as),
                            100.0 * sorted[i].relative_error, sorted[i].worst_row, 100.0 * sorted[i].worst_row_error);
    }
    return html + "</table>";
}

}  // namespace

std::string check_html(const CheckReport& report) {
    std::string html = fmt::format(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>deltavino check</title><style>{}</style>"
        "</head><body><h1>deltavino check: <span class=\"{}\">{}</span></h1><p>{}</p>{}",
        kStyle, report.good ? "good" : "bad", report.good ? "good" : "bad", xml_escaped(report.verdict), facts(report));
    for (const std::string& advice : report.advice) {
        html += fmt::format("<p class=\"note\">{}</p>", xml_escaped(advice));
    }
    html += divergences(report) + layers(report) + weights(report);
    html += "<h2>Everything that was looked at</h2><table>";
    for (const CheckItem& item : report.items) {
        html += fmt::format("<tr><td class=\"{}\">{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                            css_class(item.finding), finding_name(item.finding), xml_escaped(item.part),
                            xml_escaped(item.subject), xml_escaped(item.says));
    }
    return html + "</table></body></html>\n";
}

}  // namespace deltavino
