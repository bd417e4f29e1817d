#include "evaluate/forms.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "evaluate/comparison.hpp"

#include <algorithm>

namespace deltavino::evaluation {
namespace {

// Rows of a batch are no longer than this; so are prompts that are looked at layer by layer.
constexpr std::size_t kRow = 256;

Ids first_of(const Ids& ids, std::size_t count) {
    return {ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(std::min(ids.size(), count))};
}

class Forms {
public:
    Forms(ov::Core& core, const WholePrompt& whole) : core_(core), whole_(whole) {}

    CheckItem pieces() {
        return form_item("prompt in pieces", whole_.logits, whole_.model.logits(whole_.ids, whole_.wanted, third()));
    }

    CheckItem padded() {
        const std::vector<Ids> rows{first_of(whole_.ids, kRow),
                                    first_of(whole_.ids, std::max<std::size_t>(2, whole_.ids.size() / 4))};
        Matrix alone(2, whole_.logits.cols());
        for (reference::Index i = 0; i < 2; ++i) {
            const Ids& row = rows[static_cast<std::size_t>(i)];
            const std::size_t last = row.size() - 1;
            const Matrix logits = whole_.model.logits(row, std::span(&last, 1), kRow);
            if (logits.cols() != alone.cols()) {
                fail(ErrorKind::Input, "cannot use the model: its logits have {} and then {} columns", alone.cols(),
                     logits.cols());
            }
            alone.row(i) = logits.row(0);
        }
        CheckItem item = form_item("batch padded on the left", alone, whole_.model.padded_logits(rows));
        if (item.finding == Finding::Bad) {
            item.says += first_difference(whole_.model.layer_outputs({rows[1]}, whole_.device),
                                          whole_.model.layer_outputs(rows, whole_.device));
        }
        return item;
    }

    std::vector<CheckItem> paged(const LayerCounts& layers) {
        PagedModel paged(core_, whole_.model.language(), whole_.device, "f32");
        std::vector<CheckItem> items = check_paged_operations(paged.operations(), layers);
        for (CheckItem& item : check_fusions(paged.compiled_operations(), layers, whole_.device, Form::Paged, "f32")) {
            items.push_back(std::move(item));
        }
        const std::optional<ov::Tensor> embeddings = embed(whole_.ids);
        items.push_back(form_item("paged form", whole_.logits,
                                  paged.logits(whole_.ids, embeddings, whole_.wanted, kRow, whole_.model.stop())));
        if (items.back().finding == Finding::Bad) {
            items.back().says += where_paged_goes_wrong();
        }
        items.push_back(form_item("paged form in pieces", whole_.logits,
                                  paged.logits(whole_.ids, embeddings, whole_.wanted, third(), whole_.model.stop())));
        return items;
    }

private:
    // No multiple of the pieces in which a long prompt was read; bounded, because all logits of a piece are in memory.
    std::size_t third() const { return std::clamp<std::size_t>(whole_.ids.size() / 3, 1, 200); }

    std::optional<ov::Tensor> embed(const Ids& ids) const {
        return whole_.model.takes_embeddings() ? std::optional(embed_tokens(core_, whole_.model.embeddings(), ids))
                                               : std::nullopt;
    }

    std::string where_paged_goes_wrong() {
        const Ids ids = first_of(whole_.ids, kRow);
        PagedModel by_layers(core_, whole_.model.language(), whole_.device, "f32", true);
        return first_difference(whole_.model.layer_outputs({ids}, whole_.device),
                                by_layers.layer_outputs(ids, embed(ids)));
    }

    ov::Core& core_;
    const WholePrompt& whole_;
};

}  // namespace

std::vector<CheckItem> check_forms(ov::Core& core, const WholePrompt& whole, const LayerCounts& layers) {
    Forms forms(core, whole);
    std::vector<CheckItem> items{forms.pieces(), forms.padded()};
    try {
        std::vector<CheckItem> paged = forms.paged(layers);
        std::move(paged.begin(), paged.end(), std::back_inserter(items));
    } catch (const Error& error) {
        if (error.kind() == ErrorKind::Cancelled) {
            throw;
        }
        items.push_back({"forms", "paged form", Finding::Bad, one_line(error.what())});
    }
    return items;
}

}  // namespace deltavino::evaluation
