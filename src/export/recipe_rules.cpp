// How each weight is stored, rule by rule: --keep first, then the checkpoint's own codes, then the format.
#include "export/recipe_state.hpp"

#include "base/error.hpp"
#include "base/text.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

namespace deltavino::exporter {
namespace {

Storage as_stored(const WeightRequest& request, std::string reason) {
    if (can_import(request)) {
        return import(request);
    }
    return {graph::element_type(request.stored), {}, std::move(reason)};
}

Storage compressed(Format format, std::uint64_t group_size, std::string reason) {
    return {ov::element::f32, Scheme{format, group_size}, std::move(reason)};
}

constexpr std::uint64_t kSmallestGroup = 32;

// The largest power of two from 32 up that divides the columns and does not exceed the wanted group; 0: none.
std::uint64_t adjusted_group(std::uint64_t columns, std::uint64_t wanted) {
    for (std::uint64_t group = wanted; group >= kSmallestGroup; group /= 2) {
        if (columns % group == 0) {
            return group;
        }
    }
    return 0;
}

}  // namespace

bool is_always_float32(Role role) {
    return role == Role::Vector;
}

bool is_delicate(Role role) {
    return role == Role::Convolution || role == Role::DecayProjection || role == Role::Router ||
           role == Role::SharedExpertGate || role == Role::VisionTable;
}

bool is_embedding_or_head(Role role) {
    return role == Role::Embedding || role == Role::Head;
}

Storage import(const WeightRequest& request) {
    return {ov::element::f32, request.origin->scheme, "kept bit for bit: " + request.origin->text, true};
}

bool can_import(const WeightRequest& request) {
    return request.origin && request.origin->scheme;
}

bool Recipe::State::imports(const WeightRequest& request) const {
    if (!can_import(request)) {
        return false;
    }
    const Scheme& scheme = *request.origin->scheme;
    const bool symmetric = !quant::traits(scheme.format).zero_point;
    const unsigned bits = quant::traits(scheme.format).bits;
    switch (format->family) {
        case Family::AsStored: return true;
        case Family::Float: return false;
        case Family::Int8: return bits == 8 && (symmetric || !options.sym);
        case Family::FourBit:
            return !format->format && bits == 4 && (symmetric || !options.sym) &&
                   (!options.group_size || scheme.group_size == group_size());
    }
    return false;
}

void Recipe::State::count(const WeightRequest& request, const Storage& storage) {
    if (!request.origin || !counted.insert(request.name).second) {
        return;
    }
    (storage.imported ? kept_codes : restored)[{request.origin->text, storage.text()}] += 1;
    if (storage.imported) {
        scales += request.origin->scales;
        inexact_scales += request.origin->inexact_scales;
        largest_change = std::max(largest_change, request.origin->largest_change);
    }
}

Format Recipe::State::four_bit() const {
    return format->format.value_or(is_symmetric() ? Format::I4 : Format::U4);
}

bool Recipe::State::is_symmetric() const {
    return options.sym || (recipe != nullptr && recipe->symmetric);
}

const ClassRule* Recipe::State::class_rule(const WeightRequest& request) const {
    if (recipe == nullptr) {
        return nullptr;
    }
    const WeightClass wanted = weight_class(request.role, request.name, tied_head).value;
    const auto rule = std::find_if(recipe->rules.begin(), recipe->rules.end(), [&](const ClassRule& candidate) {
        return candidate.value == wanted && (mixture_of_experts || !candidate.experts_only);
    });
    return rule == recipe->rules.end() ? nullptr : &*rule;
}

Format Recipe::State::four_bit(Role role) const {
    return role == Role::Expert && format->format ? Format::U4 : four_bit();
}

std::uint64_t Recipe::State::grouped_columns(const WeightRequest& request, std::uint64_t group) const {
    const std::uint64_t common = std::gcd(experts.hidden, experts.intermediate);
    return request.role == Role::Expert && common > 0 && group != 0 ? common : request.columns;
}

bool Recipe::State::is_refused(const WeightRequest& request, std::uint64_t group) const {
    return request.role == Role::Expert && group > 0 && group == experts.intermediate && group != experts.hidden;
}

Scheme Recipe::State::accepted(const WeightRequest& request, Scheme scheme) const {
    if (is_refused(request, scheme.group_size)) {
        scheme.group_size = scheme.group_size / 2 >= kSmallestGroup ? scheme.group_size / 2 : 0;
    }
    return scheme;
}

std::uint64_t Recipe::State::group_size() const {
    if (format->format == Format::MXFP4) {
        return 32;
    }
    if (options.group_size) {
        return *options.group_size == -1 ? 0 : static_cast<std::uint64_t>(*options.group_size);
    }
    const RecipeRow& row = recipe != nullptr ? *recipe : *find_recipe(kDefaultRecipe);
    return mixture_of_experts ? row.experts_group : row.group;
}

Storage Recipe::State::backup(const WeightRequest& request, const std::string& reason, bool prefer_symmetric) const {
    if (options.backup_precision == "none") {
        return as_stored(request, reason + ", --backup-precision none");
    }
    const bool symmetric =
        options.backup_precision == "int8_sym" || (options.backup_precision.empty() && prefer_symmetric);
    return fit(request, compressed(symmetric ? Format::I8 : Format::U8, 0, reason));
}

Storage Recipe::State::fit(const WeightRequest& request, Storage storage) {
    const std::string unfit = request.rows == 1 ? "a single row would be widened at every inference"
                                                : quant::why_unfit(*storage.scheme, request.columns);
    return unfit.empty() ? storage : as_stored(request, unfit);
}

std::optional<Scheme> Recipe::State::four_bit_scheme(const WeightRequest& request, Scheme wanted) const {
    const std::uint64_t columns = grouped_columns(request, wanted.group_size);
    if (quant::why_unfit(wanted, columns).empty()) {
        return accepted(request, wanted);
    }
    const std::string& fallback = options.group_size_fallback;
    const bool fixed = fallback == "error" || fallback == "ignore" || wanted.format == Format::MXFP4;
    const std::uint64_t group = fixed ? 0 : adjusted_group(columns, wanted.group_size);
    return group > 0 ? std::optional(accepted(request, {wanted.format, group})) : std::nullopt;
}

Storage Recipe::State::four_bit_storage(const WeightRequest& request, Scheme wanted, const std::string& reason) {
    const std::optional<Scheme> scheme = four_bit_scheme(request, wanted);
    if (scheme && scheme->group_size == wanted.group_size) {
        return compressed(scheme->format, scheme->group_size, reason);
    }
    if (scheme && is_refused(request, wanted.group_size)) {
        return below_one_group(*scheme);
    }
    const std::string unfit = quant::why_unfit(wanted, grouped_columns(request, wanted.group_size));
    if (options.group_size_fallback == "error") {
        group_errors.push_back(fmt::format("'{}': {}", request.name, unfit));
        return as_stored(request, unfit);
    }
    Storage storage = as_stored(request, unfit);
    if (options.group_size_fallback != "ignore") {
        storage = scheme ? compressed(scheme->format, scheme->group_size, unfit) : backup(request, unfit, true);
    }
    fallbacks.push_back(fmt::format("'{}' is stored as {}: {}", request.name, storage.text(), unfit));
    return storage;
}

Storage Recipe::State::below_one_group(const Scheme& scheme) {
    const std::string reason = fmt::format(
        "groups of {} would be one group in down_proj and several in gate_proj and up_proj, which GPUs refuse",
        experts.intermediate);
    if (!std::exchange(told_about_down_proj, true)) {
        fallbacks.push_back(fmt::format("experts are stored as {}: {}", quant::scheme_text(scheme), reason));
    }
    return compressed(scheme.format, scheme.group_size, reason);
}

bool Recipe::State::has_four_bit_table() const {
    return recipe != nullptr && std::any_of(recipe->rules.begin(), recipe->rules.end(), [](const ClassRule& rule) {
               return rule.bits == 4 && is_table(rule.value);
           });
}

std::vector<std::string> Recipe::State::rule_lines() const {
    std::vector<std::string> lines;
    if (recipe == nullptr) {
        return lines;
    }
    for (const ClassRule& rule : recipe->rules) {
        const bool for_experts = is_of_experts(rule.value) || rule.experts_only;
        const bool dense = is_feed_forward(rule.value);
        const bool table = is_table(rule.value);
        if ((for_experts && !mixture_of_experts) || (dense && mixture_of_experts) ||
            (table && (rule.value == WeightClass::TiedTable) != tied_head)) {
            continue;
        }
        const bool symmetric = is_symmetric() || table;
        const Format stored =
            rule.bits == 4 ? (symmetric ? Format::I4 : Format::U4) : (symmetric ? Format::I8 : Format::U8);
        const std::uint64_t group = rule.bits != 4 ? 0 : options.group_size ? group_size() : rule.group;
        lines.push_back(fmt::format("{}: {}", weight_class_name(rule.value), quant::scheme_text({stored, group})));
    }
    return lines;
}

bool Recipe::State::is_kept(const WeightRequest& request) const {
    return std::any_of(keep.begin(), keep.end(),
                       [&](const Keep& rule) { return glob_matches(rule.pattern, request.name); });
}

std::optional<Storage> Recipe::State::kept(const WeightRequest& request) {
    const Keep* first = nullptr;
    for (Keep& rule : keep) {
        if (glob_matches(rule.pattern, request.name)) {
            rule.matched = true;
            rule.used = rule.used || first == nullptr;
            first = first == nullptr ? &rule : first;
        }
    }
    return first == nullptr ? std::nullopt : std::optional(kept_by(*first, request));
}

Storage Recipe::State::kept_by(const Keep& rule, const WeightRequest& request) const {
    const std::string reason = "--keep " + rule.pattern;
    if (rule.type == "stored") {
        return as_stored(request, reason);
    }
    if (const FormatRow* row = find_weight_format(rule.type); row != nullptr && row->family == Family::Float) {
        return Storage{row->type, {}, reason};
    }
    if (rule.type.starts_with("int8")) {
        return fit(request, compressed(rule.type == "int8_sym" ? Format::I8 : Format::U8, 0, reason));
    }
    const std::uint64_t wanted = rule.group > 0 ? rule.group : std::max(group_size(), kSmallestGroup);
    const std::uint64_t group = adjusted_group(grouped_columns(request, wanted), wanted);
    const Scheme scheme = accepted(request, {rule.type == "int4_sym" ? Format::I4 : Format::U4, group});
    return fit(request, compressed(scheme.format, scheme.group_size, reason));
}

Storage Recipe::State::other_part(const WeightRequest& request) const {
    if (format->family == Family::Float) {
        return {format->type, {}, "--weight-format"};
    }
    if (format->family == Family::AsStored || is_delicate(request.role)) {
        return as_stored(request, "as stored");
    }
    return fit(request, compressed(Format::I8, 0, "parts beside the language model are 8 bit"));
}

Storage Recipe::State::language_part(const WeightRequest& request) {
    switch (format->family) {
        case Family::AsStored: return as_stored(request, "as stored");
        case Family::Float: return {format->type, {}, "--weight-format"};
        case Family::Int8: break;
        case Family::FourBit: break;
    }
    if (is_delicate(request.role)) {
        return as_stored(request, "few bytes, errors compound: not compressed");
    }
    if (format->family == Family::Int8) {
        // A tied head feeds a Gather and a MatMul: zero points would be widened at every inference.
        const bool symmetric = options.sym || (is_embedding_or_head(request.role) && tied_head);
        return fit(request, compressed(symmetric ? Format::I8 : Format::U8, 0, "--weight-format int8"));
    }
    return four_bit_part(request);
}

Storage Recipe::State::four_bit_part(const WeightRequest& request) {
    if (const auto chosen = assigned.find(request.name); chosen != assigned.end()) {
        return fit(request, compressed(chosen->second.format, chosen->second.group_size,
                                       target_bytes > 0 ? "--target-size" : "--target-bits"));
    }
    const bool table = is_embedding_or_head(request.role);
    const ClassRule* rule = class_rule(request);
    const bool by_recipe = rule != nullptr && recipe->name != kDefaultRecipe;
    const std::string reason = by_recipe ? fmt::format("--recipe {}", recipe->name) : "bulk of the model";
    // The plugin widens nf4 and mxfp4 embeddings to float32 when it loads the model.
    const bool four_bit_table = (options.all_layers || (rule != nullptr && rule->bits == 4)) &&
                                (!format->format || (request.role == Role::Head && !tied_head));
    if (table && !four_bit_table) {
        return backup(request, "every token passes it: 8 bit", true);
    }
    if (demoted.contains(ratio_group(request))) {
        return backup(request, "--ratio: among the most sensitive", false);
    }
    if (rule != nullptr && rule->bits != 4) {
        return backup(request, reason, is_symmetric());
    }
    const std::uint64_t group = rule != nullptr && !options.group_size ? rule->group : group_size();
    if (table && (tied_head || (rule != nullptr && rule->bits == 4))) {
        // As above: zero points of a tied table would be widened at every inference.
        return four_bit_storage(request, {Format::I4, group},
                                options.all_layers ? "--all-layers; tied: symmetric" : reason);
    }
    return four_bit_storage(request, {four_bit(request.role), group}, reason);
}

Storage Recipe::State::wanted(const WeightRequest& request, ModelPart part) {
    if (is_always_float32(request.role)) {
        kept(request);  // marks the rule as used
        return {ov::element::f32, {}, "small, always float32"};
    }
    if (std::optional<Storage> by_rule = kept(request)) {
        return *by_rule;
    }
    if (imports(request)) {
        return import(request);
    }
    return part == ModelPart::Language ? language_part(request) : other_part(request);
}

}  // namespace deltavino::exporter
