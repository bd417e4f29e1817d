#include "evaluate/comparison.hpp"

#include "base/error.hpp"
#include "evaluate/divergence.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <set>

namespace deltavino::evaluation {
namespace {

using reference::Index;

// Float32 against float32, over the largest logit. The two engines sum in other orders; deep models and routers
// enlarge what that makes, real faults are a hundred times larger.
constexpr double kExact = 2e-3;

std::span<const float> row(const Matrix& matrix, std::size_t index) {
    return {matrix.row(static_cast<Index>(index)).data(), static_cast<std::size_t>(matrix.cols())};
}

// Largest difference over the truth's largest value; infinite for values that are not finite.
double largest_difference(std::span<const float> truth, std::span<const float> judged) {
    double difference = 0.0;
    double largest = 0.0;
    for (std::size_t i = 0; i < truth.size(); ++i) {
        difference = std::max(difference, std::abs(static_cast<double>(truth[i]) - judged[i]));
        largest = std::max(largest, std::abs(static_cast<double>(truth[i])));
        if (!std::isfinite(truth[i]) || !std::isfinite(judged[i])) {
            return std::numeric_limits<double>::infinity();
        }
    }
    return largest > 0.0 ? difference / largest : difference;
}

const Divergence* find(const CheckReport& report, const std::string& name) {
    for (const Divergence& divergence : report.divergences) {
        if (divergence.name == name) {
            return &divergence;
        }
    }
    return nullptr;
}

// Sharp enough to see one wrong token among many, blind to single flips of a router.
bool agrees(const Divergence& divergence) {
    std::size_t apart = 0;
    for (const PositionDivergence& position : divergence.positions) {
        apart += position.difference > kExact ? 1 : 0;
    }
    return apart * 50 <= divergence.positions.size() && divergence.mean_kl < 1e-3;
}

std::string first_wrong_layer(const std::vector<LayerDivergence>& layers) {
    for (const LayerDivergence& layer : layers) {
        if (!(layer.error <= kHiddenStates)) {
            return fmt::format("; the first place to go wrong is {} ({:.1e} of its values)", layer.place, layer.error);
        }
    }
    return layers.empty() ? std::string() : "; every layer is right, so it is the final norm or the head";
}

// All forms that are wrong, in one sentence; empty: none.
std::string wrong_forms(const CheckReport& report) {
    std::string sentence;
    for (const CheckItem& item : report.items) {
        if (item.part == "forms" && item.finding == Finding::Bad) {
            sentence += sentence.empty() ? fmt::format("the {} is wrong: it {}", item.subject, item.says)
                                         : fmt::format(". So is the {}: it {}", item.subject, item.says);
        }
    }
    return sentence;
}

}  // namespace

std::vector<std::size_t> compared_positions(std::size_t tokens, std::size_t whole) {
    std::set<std::size_t> positions;
    if (tokens <= whole) {
        for (std::size_t i = 0; i < tokens; ++i) {
            positions.insert(i);
        }
        return {positions.begin(), positions.end()};
    }
    for (std::size_t named : {1, 20, 64, 65, 80, 128, 300}) {
        positions.insert(std::min(named, tokens) - 1);
    }
    for (std::size_t i = 0; i < whole / 2; ++i) {
        positions.insert(i * tokens / (whole / 2));
    }
    positions.insert(tokens - 1);
    return {positions.begin(), positions.end()};
}

Matrix rows_of(const Matrix& matrix, const std::vector<std::size_t>& rows) {
    Matrix chosen(static_cast<Index>(rows.size()), matrix.cols());
    for (std::size_t i = 0; i < rows.size(); ++i) {
        chosen.row(static_cast<Index>(i)) = matrix.row(static_cast<Index>(rows[i]));
    }
    return chosen;
}

double relative_distance(reference::ConstMatrixRef truth, reference::ConstMatrixRef judged) {
    if (truth.rows() != judged.rows() || truth.cols() != judged.cols() || !judged.allFinite()) {
        return std::numeric_limits<double>::infinity();
    }
    const double norm = truth.cast<double>().norm();
    const double distance = (truth - judged).cast<double>().norm();
    return norm > 0.0 ? distance / norm : distance;
}

Divergence compare(std::string name, std::string means, const Matrix& truth, const Matrix& judged,
                   const std::vector<std::size_t>& positions) {
    Divergence divergence{std::move(name), std::move(means), 0.0, 0.0, 1.0, {}};
    if (truth.rows() != judged.rows() || truth.cols() != judged.cols()) {
        fail(ErrorKind::Input, "cannot compare logits of {} entries with logits of {}: the vocabularies differ",
             truth.cols(), judged.cols());
    }
    std::size_t same = 0;
    for (std::size_t i = 0; i < positions.size(); ++i) {
        const LogitRow a = make_row(row(truth, i));
        const LogitRow b = make_row(row(judged, i));
        const PositionDivergence here{positions[i] + 1, std::max(0.0, kl_divergence(a, b)),
                                      largest_difference(a.logits, b.logits), a.best == b.best};
        same += here.same_top ? 1 : 0;
        divergence.mean_kl += here.kl / static_cast<double>(positions.size());
        divergence.largest_difference = std::max(divergence.largest_difference, here.difference);
        divergence.positions.push_back(here);
    }
    divergence.top1_agreement = static_cast<double>(same) / static_cast<double>(positions.size());
    return divergence;
}

std::string first_difference(const LayerOutputs& truth, const LayerOutputs& judged) {
    std::vector<LayerDivergence> layers;
    for (const auto& [place, output] : truth) {
        if (const auto other = judged.find(place); other != judged.end()) {
            layers.push_back({place.text(), relative_distance(output, other->second)});
        }
    }
    return first_wrong_layer(layers);
}

CheckItem form_item(const std::string& form, const Matrix& whole, const Matrix& other) {
    if (whole.rows() != other.rows() || whole.cols() != other.cols()) {
        return {"forms", form, Finding::Bad, "gives logits of another shape"};
    }
    std::size_t apart = 0;
    std::size_t first = 0;
    double worst = 0.0;
    for (std::size_t i = 0; i < static_cast<std::size_t>(whole.rows()); ++i) {
        const double difference = largest_difference(row(whole, i), row(other, i));
        first = difference > kExact && apart == 0 ? i : first;
        apart += difference > kExact ? 1 : 0;
        worst = std::max(worst, difference);
    }
    const bool good = apart * 50 <= static_cast<std::size_t>(whole.rows());
    return {"forms", form, good ? Finding::Good : Finding::Bad,
            good ? fmt::format("the logits of the whole prompt, within {:.1e} of the largest", worst)
                 : fmt::format("differs from the whole prompt by {:.1e} of the largest logit, from row {} on", worst,
                               first + 1)};
}

void conclude(CheckReport& report) {
    const CheckItem* worst = nullptr;
    for (const CheckItem& item : report.items) {
        if (item.finding == Finding::Bad && worst == nullptr) {
            worst = &item;
        }
    }
    const auto bad_part = [&](const char* part) {
        return std::find_if(report.items.begin(), report.items.end(),
                            [&](const CheckItem& item) { return item.part == part && item.finding == Finding::Bad; });
    };
    const Divergence* graph = find(report, "graph");
    const Divergence* compression = find(report, "compression");
    const Divergence* precision = find(report, "precision");
    report.good = false;
    if (const auto weight = bad_part("weights"); weight != report.items.end()) {
        report.verdict = fmt::format("the weights are wrong: {} {}", weight->subject, weight->says);
    } else if (graph != nullptr && !agrees(*graph)) {
        report.verdict = fmt::format(
            "the graph or the device's kernels are wrong: in float32 the runtime's logits differ from the reference's "
            "on "
            "the same weights by {:.1e} of the largest{}",
            graph->largest_difference, first_wrong_layer(report.layers));
    } else if (const auto tower = bad_part("vision tower"); tower != report.items.end()) {
        report.verdict = fmt::format("the vision tower is wrong: {}: {}", tower->subject, tower->says);
    } else if (const Divergence* picture = find(report, "with a picture"); picture != nullptr && !agrees(*picture)) {
        report.verdict = fmt::format(
            "the language model is wrong with a picture: its logits differ from the reference's by {:.1e} of the "
            "largest, though the picture's rows and plain text are right",
            picture->largest_difference);
    } else if (const std::string forms = wrong_forms(report); !forms.empty()) {
        report.verdict = forms;
    } else if (worst != nullptr) {
        report.verdict = fmt::format("the {} is wrong: {}: {}", worst->part, worst->subject, worst->says);
    } else {
        report.good = true;
        report.verdict =
            graph == nullptr
                ? "the structure is right and all forms agree; --against CHECKPOINT compares with the checkpoint, too"
                : fmt::format(
                      "the export is right: the graph gives the reference's logits within {:.1e}, its weights "
                      "cost a KL of {:.5f}, the device's precision {:.5f}",
                      graph->largest_difference, compression->mean_kl, precision == nullptr ? 0.0 : precision->mean_kl);
    }
}

}  // namespace deltavino::evaluation
