// A knapsack with one choice for each item: along the lower convex hull of each item's options, dearest gain for a byte
// first, then whatever single exchange still fits and gains most.
#include "export/budget.hpp"

#include <algorithm>
#include <utility>

namespace deltavino::exporter {
namespace {

// The option before which none is better in the order of `less`.
template <class Less>
std::vector<std::size_t> of_each(const std::vector<BudgetItem>& items, const Less& less) {
    std::vector<std::size_t> chosen;
    for (const BudgetItem& item : items) {
        chosen.push_back(static_cast<std::size_t>(std::min_element(item.options.begin(), item.options.end(), less) -
                                                  item.options.begin()));
    }
    return chosen;
}

bool is_smaller(const BudgetOption& a, const BudgetOption& b) {
    return std::pair(a.bytes, a.cost) < std::pair(b.bytes, b.cost);
}

bool is_better(const BudgetOption& a, const BudgetOption& b) {
    return std::pair(a.cost, a.bytes) < std::pair(b.cost, b.bytes);
}

double gain_of(const BudgetOption& from, const BudgetOption& to) {
    return (from.cost - to.cost) / static_cast<double>(to.bytes - from.bytes);
}

// From one option of an item to the next on its hull.
struct Step {
    std::size_t item = 0;
    std::size_t option = 0;
    double gain = 0.0;
};

void add_steps(const BudgetItem& item, std::size_t place, std::size_t from, std::vector<Step>& steps) {
    for (;;) {
        Step next{place, from, 0.0};
        for (std::size_t option = 0; option < item.options.size(); ++option) {
            const BudgetOption& candidate = item.options[option];
            const bool grows = candidate.bytes > item.options[from].bytes;
            const double gain = grows ? gain_of(item.options[from], candidate) : 0.0;
            const bool longer = candidate.bytes > item.options[next.option].bytes;
            if (gain > 0.0 && (gain > next.gain || (gain == next.gain && longer))) {
                next = {place, option, gain};
            }
        }
        if (next.option == from) {
            return;
        }
        steps.push_back(next);
        from = next.option;
    }
}

// Exchanges that fit, the one that gains most first, until there is none.
void fill(const std::vector<BudgetItem>& items, std::uint64_t bytes, Selection& selection) {
    for (;;) {
        double most = 0.0;
        Step found;
        for (std::size_t item = 0; item < items.size(); ++item) {
            const BudgetOption& now = items[item].options[selection.chosen[item]];
            for (std::size_t option = 0; option < items[item].options.size(); ++option) {
                const BudgetOption& other = items[item].options[option];
                const bool fits = selection.bytes - now.bytes + other.bytes <= bytes;
                if (fits && now.cost - other.cost > most) {
                    most = now.cost - other.cost;
                    found = {item, option, most};
                }
            }
        }
        if (most <= 0.0) {
            return;
        }
        selection.chosen[found.item] = found.option;
        selection = selection_of(items, std::move(selection.chosen));
    }
}

Selection along_hulls(const std::vector<BudgetItem>& items, std::uint64_t bytes, Selection selection) {
    std::vector<Step> steps;
    for (std::size_t item = 0; item < items.size(); ++item) {
        add_steps(items[item], item, selection.chosen[item], steps);
    }
    std::stable_sort(steps.begin(), steps.end(), [](const Step& a, const Step& b) { return a.gain > b.gain; });
    std::vector<bool> ended(items.size(), false);
    for (const Step& step : steps) {
        const std::vector<BudgetOption>& options = items[step.item].options;
        const std::uint64_t more = options[step.option].bytes - options[selection.chosen[step.item]].bytes;
        ended[step.item] = ended[step.item] || selection.bytes + more > bytes;
        if (!ended[step.item]) {
            selection.chosen[step.item] = step.option;
            selection.bytes += more;
        }
    }
    return selection_of(items, std::move(selection.chosen));
}

// The items with what they would cost more than in `anchor` counted kDoubt times.
std::vector<BudgetItem> doubt(std::vector<BudgetItem> items, const Selection& anchor) {
    for (std::size_t item = 0; item < items.size(); ++item) {
        const double known = items[item].options[anchor.chosen[item]].cost;
        for (BudgetOption& option : items[item].options) {
            option.cost = known + (option.cost - known) * (option.cost > known ? kDoubt : 1.0);
        }
    }
    return items;
}

}  // namespace

Selection selection_of(const std::vector<BudgetItem>& items, std::vector<std::size_t> chosen) {
    Selection selection{std::move(chosen), 0, 0.0};
    for (std::size_t item = 0; item < items.size(); ++item) {
        const BudgetOption& option = items[item].options[selection.chosen[item]];
        selection.bytes += option.bytes;
        selection.cost += option.cost;
    }
    return selection;
}

Selection smallest(const std::vector<BudgetItem>& items) {
    return selection_of(items, of_each(items, is_smaller));
}

Selection best(const std::vector<BudgetItem>& items) {
    return selection_of(items, of_each(items, is_better));
}

std::optional<Selection> select(const std::vector<BudgetItem>& items, std::uint64_t bytes,
                                const std::vector<Selection>& known) {
    const Selection least = smallest(items);
    if (least.bytes > bytes) {
        return std::nullopt;
    }
    const Selection* anchor = nullptr;
    for (const Selection& selection : known) {
        const bool fits = selection.bytes <= bytes;
        anchor = fits && (anchor == nullptr || selection.cost < anchor->cost) ? &selection : anchor;
    }
    if (anchor == nullptr) {
        Selection found = along_hulls(items, bytes, least);
        fill(items, bytes, found);
        return found;
    }
    const std::vector<BudgetItem> doubted = doubt(items, *anchor);
    Selection found = along_hulls(doubted, bytes, smallest(doubted));
    Selection same = selection_of(doubted, anchor->chosen);
    fill(doubted, bytes, found);
    fill(doubted, bytes, same);
    const bool clear = found.cost < (1.0 - kLeastGain) * anchor->cost;
    return selection_of(items, std::move(clear && found.cost < same.cost ? found : same).chosen);
}

}  // namespace deltavino::exporter
