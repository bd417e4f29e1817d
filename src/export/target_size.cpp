#include "export/target_size.hpp"

#include "base/checked.hpp"
#include "base/error.hpp"
#include "base/text.hpp"
#include "export/artifact.hpp"
#include "export/budget.hpp"
#include "export/sensitivity.hpp"
#include "export/weight_class.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

namespace deltavino::exporter {
namespace {

using graph::WeightJob;
using graph::WeightRequest;
using quant::Scheme;

constexpr std::uint64_t kAlignment = 64;  // of constants in a .bin

// Of the three constants in one file.
std::uint64_t padded_bytes(const Scheme& scheme, std::uint64_t rows, std::uint64_t columns) {
    const quant::StorageBytes bytes = quant::storage_bytes(scheme, rows, columns);
    return align_up(bytes.packed, kAlignment) + align_up(bytes.zero_points, kAlignment) +
           align_up(bytes.scales, kAlignment);
}

std::uint64_t bare_bytes(const Scheme& scheme, std::uint64_t rows, std::uint64_t columns) {
    const quant::StorageBytes bytes = quant::storage_bytes(scheme, rows, columns);
    return bytes.packed + bytes.zero_points + bytes.scales;
}

// A weight that the target chooses for, and in how many files it stands.
struct Candidate {
    const WeightJob* job = nullptr;
    WeightRequest request;
    std::vector<Scheme> schemes;
    std::uint64_t files = 0;
};

// The search for what fits.
class Target {
public:
    Target(const checkpoint::Checkpoint& checkpoint, const models::Plan& plan, Recipe& recipe, const Origin& origin)
        : checkpoint_(checkpoint), plan_(plan), recipe_(recipe), origin_(origin) {
        artifacts_ = make_artifacts(checkpoint_, plan_, recipe_, origin_);
        gather();
    }

    void measure(ProgressSink& progress) {
        std::map<WeightClass, double> members;
        for (const Candidate& candidate : candidates_) {
            members[class_of(candidate).value] += share_of(candidate);
        }
        std::uint64_t done = 0;
        for (const Candidate& candidate : candidates_) {
            progress.update("measuring weights", done++, candidates_.size());
            if (progress.cancelled()) {
                fail(ErrorKind::Cancelled, "stopped");
            }
            const std::vector<double> errors = sampled_errors(*candidate.job, candidate.schemes, recipe_.search());
            const WeightClassRow& row = class_of(candidate);
            add(candidate, errors, row.cost * share_of(candidate) / members.at(row.value));
        }
        for (const RecipeRow& row : recipe_rows()) {
            if (row.group != 0) {  // a whole row: for other devices, in a storage that is not measured here
                known_.push_back(under(row));
                known_names_.push_back(row.name);
            }
        }
    }

    void choose() {
        const std::uint64_t wanted = recipe_.target_bytes() > 0 ? recipe_.target_bytes() : bits_as_bytes();
        const bool by_size = recipe_.target_bytes() > 0;
        const std::uint64_t fixed = by_size ? bytes_beside() : 0;
        // Small constants that come and go with a storage are not counted: what is found is laid out and seen.
        constexpr std::uint64_t kSlack = 4096;
        std::uint64_t left = wanted > fixed ? wanted - fixed + (by_size ? kSlack : 0) : 0;
        for (;;) {
            const std::optional<Selection> selection = select(items_, left, known_);
            if (!selection || wanted > largest(by_size)) {
                refuse(by_size);
            }
            assign(*selection);
            const std::uint64_t real = by_size ? laid_out() : selection->bytes;
            if (real <= wanted) {
                return;
            }
            left -= std::min(left, real - wanted);
        }
    }

private:
    const WeightClassRow& class_of(const Candidate& candidate) const {
        return weight_class(candidate.request.role, candidate.request.name, plan_.tied_head);
    }

    // Of what its class costs, beside other weights of the class.
    static double share_of(const Candidate& candidate) {
        return candidate.request.name.starts_with("model.layers.0.") ? kFirstLayerCost : 1.0;
    }

    // The weights that may be chosen for, in the order of the graph.
    void gather() {
        std::map<std::string, std::size_t> places;
        for (const Artifact& artifact : artifacts_) {
            for (const WeightJob& job : artifact.weights->jobs()) {
                const auto seen = recipe_.seen().find(job.canonical_name);
                if (seen == recipe_.seen().end() || !is_of_language(artifact)) {
                    continue;
                }
                const auto [place, is_new] = places.emplace(job.canonical_name, candidates_.size());
                if (!is_new) {
                    candidates_[place->second].files += 1;
                    continue;
                }
                candidates_.push_back({&job, seen->second, recipe_.allowed(seen->second), 1});
            }
        }
        std::erase_if(candidates_, [](const Candidate& candidate) { return candidate.schemes.empty(); });
    }

    static bool is_of_language(const Artifact& artifact) {
        const auto& products = models::products();
        const auto product = std::find_if(products.begin(), products.end(),
                                          [&](const models::Product& p) { return artifact.name == p.name; });
        return product != products.end() && product->part == ModelPart::Language;
    }

    // To the item of the weight's group, whose members have the same storages.
    void add(const Candidate& candidate, const std::vector<double>& errors, double cost) {
        const std::string group = Recipe::ratio_group(candidate.request);
        const auto [place, is_new] = places_.emplace(group, items_.size());
        const WeightJob& job = *candidate.job;
        if (is_new) {
            items_.push_back({group, class_of(candidate).name, {}});
            members_.emplace_back();
        }
        BudgetItem& item = items_[place->second];
        std::vector<BudgetOption> options;
        for (std::size_t i = 0; i < candidate.schemes.size(); ++i) {
            const Scheme& scheme = candidate.schemes[i];
            const std::uint64_t bytes = recipe_.target_bytes() > 0
                                            ? candidate.files * padded_bytes(scheme, job.rows, job.columns)
                                            : bare_bytes(scheme, job.rows, job.columns);
            const BudgetOption option{scheme, bytes, cost * errors[i] * errors[i]};
            const auto before = std::find_if(item.options.begin(), item.options.end(),
                                             [&](const BudgetOption& other) { return other.scheme == scheme; });
            if (is_new) {
                options.push_back(option);
            } else if (before != item.options.end()) {
                options.push_back({scheme, before->bytes + option.bytes, before->cost + option.cost});
            }
        }
        item.options = std::move(options);
        members_[place->second].push_back(candidate.request);
        elements_ += job.rows * job.columns;
    }

    // What a named recipe chooses; where that is not to be had, the smallest.
    Selection under(const RecipeRow& row) const {
        std::vector<std::size_t> chosen = smallest(items_).chosen;
        std::vector<WeightRequest> firsts;
        std::transform(members_.begin(), members_.end(), std::back_inserter(firsts),
                       [](const std::vector<WeightRequest>& members) { return members.front(); });
        const std::vector<std::optional<Scheme>> schemes = recipe_.schemes_under(row, firsts);
        for (std::size_t item = 0; item < items_.size(); ++item) {
            const std::vector<BudgetOption>& options = items_[item].options;
            const auto found = std::find_if(options.begin(), options.end(),
                                            [&](const BudgetOption& option) { return option.scheme == schemes[item]; });
            if (found != options.end()) {
                chosen[item] = static_cast<std::size_t>(found - options.begin());
            }
        }
        return selection_of(items_, std::move(chosen));
    }

    std::uint64_t bits_as_bytes() const {
        constexpr double kBits = 8.0;
        return static_cast<std::uint64_t>(*recipe_.options().target_bits * static_cast<double>(elements_) / kBits);
    }

    // Of the .bin files, with what is assigned now.
    std::uint64_t laid_out() {
        artifacts_ = make_artifacts(checkpoint_, plan_, recipe_, origin_);
        std::uint64_t bytes = 0;
        for (Artifact& artifact : artifacts_) {
            lay_out(artifact);
            bytes = checked_add(bytes, artifact.layout.bin_bytes);
        }
        return bytes;
    }

    // Of everything that the target does not choose.
    std::uint64_t bytes_beside() {
        const Selection least = smallest(items_);
        assign(least);
        smallest_ = laid_out();
        return smallest_ > least.bytes ? smallest_ - least.bytes : 0;
    }

    std::uint64_t largest(bool by_size) {
        if (largest_ == 0) {
            const Selection most = exporter::best(items_);
            assign(most);
            largest_ = by_size ? laid_out() : most.bytes;
        }
        return largest_;
    }

    [[noreturn]] void refuse(bool by_size) {
        const std::uint64_t least = by_size ? smallest_ : smallest(items_).bytes;
        if (by_size) {
            fail(ErrorKind::Usage,
                 "cannot meet --target-size {}: int4 of this model takes {} ({} bytes) at least and {} ({} bytes) at "
                 "most, all of it in 8 bit",
                 recipe_.options().target_size, human_bytes(least), least, human_bytes(largest(by_size)),
                 largest(by_size));
        }
        fail(ErrorKind::Usage,
             "cannot meet --target-bits {}: int4 of this model takes {:.3f} at least and {:.3f} at most",
             *recipe_.options().target_bits, bits(least), bits(largest(by_size)));
    }

    double bits(std::uint64_t bytes) const {
        return elements_ == 0 ? 0.0 : 8.0 * static_cast<double>(bytes) / static_cast<double>(elements_);
    }

    void assign(const Selection& selection) {
        std::map<std::string, Scheme> schemes;
        std::map<std::pair<std::string_view, std::string>, std::size_t> counts;
        std::vector<std::string_view> kinds;
        for (std::size_t item = 0; item < items_.size(); ++item) {
            const Scheme& scheme = items_[item].options[selection.chosen[item]].scheme;
            for (const WeightRequest& request : members_[item]) {
                schemes.emplace(request.name, scheme);
                const std::string_view kind = weight_class(request.role, request.name, plan_.tied_head).name;
                counts[{kind, quant::scheme_text(scheme)}] += 1;
                if (std::find(kinds.begin(), kinds.end(), kind) == kinds.end()) {
                    kinds.push_back(kind);
                }
            }
        }
        std::vector<std::string> lines{headline(selection)};
        for (const std::string_view kind : kinds) {
            std::vector<std::string> parts;
            for (const auto& [key, count] : counts) {
                if (key.first == kind) {
                    parts.push_back(fmt::format("{} as {}", count, key.second));
                }
            }
            lines.push_back(fmt::format("{}: {}", kind, fmt::join(parts, ", ")));
        }
        recipe_.assign(std::move(schemes), std::move(lines));
    }

    std::string headline(const Selection& selection) const {
        const std::string target = recipe_.target_bytes() > 0
                                       ? fmt::format("target of {}", human_bytes(recipe_.target_bytes()))
                                       : fmt::format("target of {} bits", *recipe_.options().target_bits);
        std::vector<std::string> costs;
        for (std::size_t i = 0; i < known_.size(); ++i) {
            costs.push_back(fmt::format("{} {:.5f} with {:.3f}", known_names_[i], known_[i].cost, bits_of(known_[i])));
        }
        return fmt::format(
            "{}: {:.3f} bits for each of {} weights; KL is expected near {:.5f} (by recipe and bits: {})", target,
            bits_of(selection), elements_, selection.cost, fmt::join(costs, ", "));
    }

    // Without padding, in one file.
    double bits_of(const Selection& selection) const {
        std::uint64_t bytes = 0;
        for (std::size_t item = 0; item < items_.size(); ++item) {
            const Scheme& scheme = items_[item].options[selection.chosen[item]].scheme;
            for (const WeightRequest& request : members_[item]) {
                bytes += bare_bytes(scheme, request.rows, request.columns);
            }
        }
        return bits(bytes);
    }

    const checkpoint::Checkpoint& checkpoint_;
    const models::Plan& plan_;
    Recipe& recipe_;
    const Origin& origin_;
    std::vector<Artifact> artifacts_;
    std::vector<Candidate> candidates_;
    std::vector<BudgetItem> items_;
    std::vector<std::vector<WeightRequest>> members_;  // of each item
    std::map<std::string, std::size_t> places_;        // of items, by group
    std::vector<Selection> known_;                     // of recipes
    std::vector<std::string_view> known_names_;        // theirs
    std::uint64_t elements_ = 0;
    std::uint64_t smallest_ = 0;
    std::uint64_t largest_ = 0;
};

}  // namespace

void choose_for_target(const checkpoint::Checkpoint& checkpoint, const models::Plan& plan, Recipe& recipe,
                       const Origin& origin, ProgressSink& progress) {
    Target target(checkpoint, plan, recipe, origin);
    target.measure(progress);
    target.choose();
}

}  // namespace deltavino::exporter
