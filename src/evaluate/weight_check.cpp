#include "evaluate/weight_check.hpp"

#include "base/error.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

namespace deltavino::evaluation {
namespace {

// The largest relative error that a storage explains: rounding of floats, and 8 or 4 bits with one scale for many
// values, of which outliers can waste a part.
double explained(const StoredWeight& weight) {
    const ov::element::Type type = weight.codes->get_element_type();
    if (type == ov::element::f32) {
        return 1e-6;
    }
    if (type == ov::element::f16 || type == ov::element::bf16) {
        return 5e-3;
    }
    return type.bitwidth() == 8 ? 0.05 : 0.35;
}

// From squares; infinite for what is not finite.
double relative(double error, double size) {
    const double relative = size > 0.0 ? std::sqrt(error / size) : error > 0.0 ? INFINITY : 0.0;
    return std::isfinite(relative) ? relative : INFINITY;
}

// Of at least one value, none of which is NaN; reorders them.
double median(std::vector<double>& values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

// 'model.layers.3.mlp.up_proj.weight' -> 'mlp.up_proj.weight'
std::string role_of(const std::string& name) {
    const std::size_t layers = name.find("layers.");
    const std::size_t end = layers == std::string::npos ? layers : name.find('.', layers + 7);
    return end == std::string::npos ? name : name.substr(end + 1);
}

// Most rows closer than this were kept as they were: codes of a quantized checkpoint, or floats. Then a row further
// off than kOneRow is no rounding.
constexpr double kKept = 2e-3;
constexpr double kOneRow = 0.02;

struct Compared {
    WeightDivergence divergence;
    double usual_row_error = 0.0;  // the median over its rows
};

Compared compare_weight(const std::string& name, const StoredWeight& weight, const IrWeights& exported,
                        const reference::WeightSource& truth) {
    constexpr std::uint64_t kRows = 64;
    std::vector<double> errors;  // squares, row by row
    std::vector<double> sizes;
    for (std::uint64_t begin = 0; begin < weight.rows; begin += kRows) {
        const auto rows = static_cast<reference::Index>(std::min(kRows, weight.rows - begin));
        reference::Matrix own(rows, static_cast<reference::Index>(weight.columns));
        reference::Matrix other(rows, own.cols());
        truth.read_rows(weight.name, begin, own);
        exported.read_rows(name, begin, other);
        for (reference::Index r = 0; r < rows; ++r) {
            sizes.push_back(own.row(r).cast<double>().squaredNorm());
            errors.push_back((own.row(r) - other.row(r)).cast<double>().squaredNorm());
        }
    }
    const double error = std::accumulate(errors.begin(), errors.end(), 0.0);
    const double size = std::accumulate(sizes.begin(), sizes.end(), 0.0);
    WeightDivergence divergence{name, weight.text(), relative(error, size), 0.0, 0};
    // Rows of next to nothing, as those of tokens that no text has, round to anything.
    const double least = 1e-6 * size / static_cast<double>(weight.rows);
    for (std::size_t r = 0; r < errors.size(); ++r) {
        errors[r] = relative(errors[r], std::max(sizes[r], least));
        if (errors[r] > divergence.worst_row_error) {
            divergence.worst_row_error = errors[r];
            divergence.worst_row = r;
        }
    }
    const double usual = median(errors);
    return {std::move(divergence), usual};
}

}  // namespace

std::vector<WeightDivergence> compare_weights(const IrWeights& exported, const reference::WeightSource& truth,
                                              std::vector<CheckItem>& items) {
    std::vector<WeightDivergence> all;
    std::vector<double> usual_rows;
    std::map<std::string, std::vector<double>> by_role;
    for (const auto& [name, weight] : exported.stored()) {
        Compared compared = compare_weight(name, weight, exported, truth);
        all.push_back(std::move(compared.divergence));
        usual_rows.push_back(compared.usual_row_error);
        by_role[role_of(name) + " " + all.back().stored_as].push_back(all.back().relative_error);
    }
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < all.size(); ++i) {
        const WeightDivergence& one = all[i];
        std::vector<double>& peers = by_role[role_of(one.name) + " " + one.stored_as];
        const double usual = median(peers);
        const double bound = explained(exported.stored().at(one.name));
        // One row may be all outliers; a wrong scale or another expert's row is wrong by its whole size.
        const bool bad = !(one.relative_error <= bound) || !(one.worst_row_error <= std::max(0.7, 2 * bound)) ||
                         (usual_rows[i] < kKept && one.worst_row_error > kOneRow) ||
                         (peers.size() > 3 && one.relative_error > std::max(4 * usual, bound / 4));
        if (bad) {
            ++wrong;
            items.push_back(
                {"weights", fmt::format("'{}'", one.name), Finding::Bad,
                 fmt::format("stored as {} is off by {:.1f} % of its size (usual in its role: {:.1f} %), worst in "
                             "row {}: {:.1f} %",
                             one.stored_as, 100 * one.relative_error, 100 * usual, one.worst_row,
                             100 * one.worst_row_error)});
        }
    }
    if (wrong == 0) {
        items.push_back({"weights", "stored weights", all.empty() ? Finding::Bad : Finding::Good,
                         all.empty()
                             ? "none was found by the names of the family"
                             : fmt::format("{} are the checkpoint's, as close as their storage allows", all.size())});
    }
    return all;
}

}  // namespace deltavino::evaluation
