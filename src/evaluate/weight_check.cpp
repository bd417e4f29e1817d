#include "evaluate/weight_check.hpp"

#include "base/error.hpp"

#include <algorithm>
#include <cmath>
#include <map>

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

// 'model.layers.3.mlp.up_proj.weight' -> 'mlp.up_proj.weight'
std::string role_of(const std::string& name) {
    const std::size_t layers = name.find("layers.");
    const std::size_t end = layers == std::string::npos ? layers : name.find('.', layers + 7);
    return end == std::string::npos ? name : name.substr(end + 1);
}

WeightDivergence compare_weight(const std::string& name, const StoredWeight& weight, const IrWeights& exported,
                                const reference::WeightSource& truth) {
    constexpr std::uint64_t kRows = 64;
    WeightDivergence divergence{name, weight.text(), 0.0, 0.0, 0};
    double error = 0.0;
    double size = 0.0;
    for (std::uint64_t begin = 0; begin < weight.rows; begin += kRows) {
        const auto rows = static_cast<reference::Index>(std::min(kRows, weight.rows - begin));
        reference::Matrix own(rows, static_cast<reference::Index>(weight.columns));
        reference::Matrix other(rows, own.cols());
        truth.read_rows(name, begin, own);
        exported.read_rows(name, begin, other);
        for (reference::Index r = 0; r < rows; ++r) {
            const double row_size = own.row(r).cast<double>().squaredNorm();
            const double row_error = (own.row(r) - other.row(r)).cast<double>().squaredNorm();
            error += row_error;
            size += row_size;
            const double relative = row_size > 0.0 ? std::sqrt(row_error / row_size) : row_error > 0.0 ? INFINITY : 0.0;
            if (!(relative <= divergence.worst_row_error)) {
                divergence.worst_row_error = relative;
                divergence.worst_row = begin + static_cast<std::uint64_t>(r);
            }
        }
    }
    divergence.relative_error = size > 0.0 ? std::sqrt(error / size) : error > 0.0 ? INFINITY : 0.0;
    return divergence;
}

}  // namespace

std::vector<WeightDivergence> compare_weights(const IrWeights& exported, const reference::WeightSource& truth,
                                              std::vector<CheckItem>& items) {
    std::vector<WeightDivergence> all;
    std::map<std::string, std::vector<double>> by_role;
    for (const auto& [name, weight] : exported.stored()) {
        all.push_back(compare_weight(name, weight, exported, truth));
        by_role[role_of(name) + " " + all.back().stored_as].push_back(all.back().relative_error);
    }
    std::size_t wrong = 0;
    for (const WeightDivergence& one : all) {
        std::vector<double>& peers = by_role[role_of(one.name) + " " + one.stored_as];
        std::nth_element(peers.begin(), peers.begin() + static_cast<std::ptrdiff_t>(peers.size() / 2), peers.end());
        const double usual = peers[peers.size() / 2];
        const double bound = explained(exported.stored().at(one.name));
        // One row may be all outliers; a wrong scale or another expert's row is wrong by its whole size.
        const bool bad = !(one.relative_error <= bound) || !(one.worst_row_error <= std::max(0.7, 2 * bound)) ||
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
