#include "export/recipe.hpp"

#include "base/error.hpp"
#include "base/text.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <numeric>
#include <set>
#include <utility>

namespace deltavino::exporter {
namespace {

using graph::Role;
using graph::Storage;
using graph::WeightRequest;
using quant::Format;
using quant::Scheme;

enum class Family { AsStored, Float, Int8, FourBit };

struct FormatRow {
    std::string_view name;
    Family family;
    ov::element::Type type;        // Float
    std::optional<Format> format;  // nf4, mxfp4
};

const std::array kFormats{
    FormatRow{"", Family::AsStored, ov::element::f32, {}},
    FormatRow{"fp32", Family::Float, ov::element::f32, {}},
    FormatRow{"fp16", Family::Float, ov::element::f16, {}},
    FormatRow{"bf16", Family::Float, ov::element::bf16, {}},
    FormatRow{"int8", Family::Int8, ov::element::f32, {}},
    FormatRow{"int4", Family::FourBit, ov::element::f32, {}},
    FormatRow{"nf4", Family::FourBit, ov::element::f32, Format::NF4},
    FormatRow{"mxfp4", Family::FourBit, ov::element::f32, Format::MXFP4},
};

struct Keep {
    std::string pattern;
    std::string type;
    bool matched = false;
    bool used = false;  // no rule before it matched, too
};

const std::vector<std::string> kKeepTypes{"stored",   "fp32",      "fp16",     "bf16",
                                          "int8_sym", "int8_asym", "int4_sym", "int4_asym"};

// The scheme of the checkpoint, whose codes are then kept.
Storage import(const WeightRequest& request) {
    return {ov::element::f32, request.origin->scheme, "kept bit for bit: " + request.origin->text, true};
}

bool can_import(const WeightRequest& request) {
    return request.origin && request.origin->scheme;
}

Storage as_stored(const WeightRequest& request, std::string reason) {
    if (can_import(request)) {
        return import(request);
    }
    return {graph::element_type(request.stored), {}, std::move(reason)};
}

Storage compressed(Format format, std::uint64_t group_size, std::string reason) {
    return {ov::element::f32, Scheme{format, group_size}, std::move(reason)};
}

bool is_always_float32(Role role) {
    return role == Role::Vector;
}

// Few bytes, large effect.
bool is_delicate(Role role) {
    return role == Role::Convolution || role == Role::DecayProjection || role == Role::Router ||
           role == Role::SharedExpertGate || role == Role::VisionTable;
}

bool is_embedding_or_head(Role role) {
    return role == Role::Embedding || role == Role::Head;
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

struct Recipe::State {
    CompressionOptions options;
    const FormatRow* format = nullptr;
    std::vector<Keep> keep;
    bool mixture_of_experts = false;
    ExpertSizes experts;
    bool tied_head = false;
    bool told_about_down_proj = false;
    std::set<std::string> demoted;  // by --ratio
    std::vector<std::string> fallbacks;
    std::vector<std::string> group_errors;
    // What became of weights that are quantized in the checkpoint: its form and ours, and of how many.
    std::map<std::pair<std::string, std::string>, std::size_t> kept_codes;
    std::map<std::pair<std::string, std::string>, std::size_t> restored;
    std::set<std::string> counted;  // an embedding is in two files
    std::uint64_t scales = 0;
    std::uint64_t inexact_scales = 0;
    double largest_change = 0.0;

    // Whether the checkpoint's own codes are what was asked for: the same number of bits, and nothing said
    // that they are not.
    bool imports(const WeightRequest& request) const {
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

    void count(const WeightRequest& request, const Storage& storage) {
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

    Format four_bit() const { return format->format.value_or(options.sym ? Format::I4 : Format::U4); }
    // The plugin widens stacks of experts in nf4 and mxfp4 to float32 when it loads the model.
    Format four_bit(Role role) const { return role == Role::Expert && format->format ? Format::U4 : four_bit(); }
    // Columns that a group must divide. The three products of an expert are stored alike, or the GPU plugin
    // does not fuse them.
    std::uint64_t grouped_columns(const WeightRequest& request) const {
        const std::uint64_t common = std::gcd(experts.hidden, experts.intermediate);
        return request.role == Role::Expert && common > 0 && group_size() != 0 ? common : request.columns;
    }
    // The GPU plugin takes the size of the groups from down_proj, and one group of a whole row for "per channel"; then
    // it refuses gate_proj and up_proj with more. So down_proj gets two groups, or all three are stored per channel.
    bool is_refused(const WeightRequest& request, std::uint64_t group) const {
        return request.role == Role::Expert && group > 0 && group == experts.intermediate && group != experts.hidden;
    }
    Scheme accepted(const WeightRequest& request, Scheme scheme) const {
        if (is_refused(request, scheme.group_size)) {
            scheme.group_size = scheme.group_size / 2 >= kSmallestGroup ? scheme.group_size / 2 : 0;
        }
        return scheme;
    }
    std::uint64_t group_size() const {
        if (format->format == Format::MXFP4) {
            return 32;
        }
        const std::int64_t wanted = options.group_size.value_or(mixture_of_experts ? 64 : 128);
        return wanted == -1 ? 0 : static_cast<std::uint64_t>(wanted);
    }

    Storage backup(const WeightRequest& request, const std::string& reason, bool prefer_symmetric) const {
        if (options.backup_precision == "none") {
            return as_stored(request, reason + ", --backup-precision none");
        }
        const bool symmetric =
            options.backup_precision == "int8_sym" || (options.backup_precision.empty() && prefer_symmetric);
        return fit(request, compressed(symmetric ? Format::I8 : Format::U8, 0, reason));
    }

    // Leaves a weight alone that its storage does not fit, for example one with a single column.
    static Storage fit(const WeightRequest& request, Storage storage) {
        const std::string unfit = request.rows == 1 ? "a single row would be widened at every inference"
                                                    : quant::why_unfit(*storage.scheme, request.columns);
        return unfit.empty() ? storage : as_stored(request, unfit);
    }

    // The scheme that a weight gets in 4 bit; none when no allowed group divides its columns.
    std::optional<Scheme> four_bit_scheme(const WeightRequest& request, Format format_wanted) const {
        const Scheme wanted{format_wanted, group_size()};
        const std::uint64_t columns = grouped_columns(request);
        if (quant::why_unfit(wanted, columns).empty()) {
            return accepted(request, wanted);
        }
        const std::string& fallback = options.group_size_fallback;
        const bool fixed = fallback == "error" || fallback == "ignore" || wanted.format == Format::MXFP4;
        const std::uint64_t group = fixed ? 0 : adjusted_group(columns, wanted.group_size);
        return group > 0 ? std::optional(accepted(request, {wanted.format, group})) : std::nullopt;
    }

    Storage four_bit_storage(const WeightRequest& request, Format wanted, const std::string& reason) {
        const std::optional<Scheme> scheme = four_bit_scheme(request, wanted);
        if (scheme && scheme->group_size == group_size()) {
            return compressed(scheme->format, scheme->group_size, reason);
        }
        if (scheme && is_refused(request, group_size())) {
            return below_one_group(*scheme);
        }
        const std::string unfit = quant::why_unfit({wanted, group_size()}, grouped_columns(request));
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

    Storage below_one_group(const Scheme& scheme) {
        const std::string reason = fmt::format(
            "groups of {} would be one group in down_proj and several in gate_proj and up_proj, which GPUs refuse",
            experts.intermediate);
        if (!std::exchange(told_about_down_proj, true)) {
            fallbacks.push_back(fmt::format("experts are stored as {}: {}", quant::scheme_text(scheme), reason));
        }
        return compressed(scheme.format, scheme.group_size, reason);
    }

    std::optional<Storage> kept(const WeightRequest& request) {
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

    Storage kept_by(const Keep& rule, const WeightRequest& request) const {
        const std::string reason = "--keep " + rule.pattern;
        if (rule.type == "stored") {
            return as_stored(request, reason);
        }
        const auto row = std::find_if(kFormats.begin(), kFormats.end(), [&](const FormatRow& f) {
            return f.family == Family::Float && f.name == rule.type;
        });
        if (row != kFormats.end()) {
            return Storage{row->type, {}, reason};
        }
        if (rule.type.starts_with("int8")) {
            return fit(request, compressed(rule.type == "int8_sym" ? Format::I8 : Format::U8, 0, reason));
        }
        const std::uint64_t group = adjusted_group(grouped_columns(request), std::max(group_size(), kSmallestGroup));
        const Scheme scheme = accepted(request, {rule.type == "int4_sym" ? Format::I4 : Format::U4, group});
        return fit(request, compressed(scheme.format, scheme.group_size, reason));
    }

    Storage other_part(const WeightRequest& request) const {
        if (format->family == Family::Float) {
            return {format->type, {}, "--weight-format"};
        }
        if (format->family == Family::AsStored || is_delicate(request.role)) {
            return as_stored(request, "as stored");
        }
        return fit(request, compressed(Format::I8, 0, "parts beside the language model are 8 bit"));
    }

    Storage language_part(const WeightRequest& request) {
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
        // The plugin widens nf4 and mxfp4 embeddings to float32 when it loads the model.
        const bool four_bit_table =
            options.all_layers && (!format->format || (request.role == Role::Head && !tied_head));
        if (is_embedding_or_head(request.role) && !four_bit_table) {
            return backup(request, "every token passes it: 8 bit", true);
        }
        if (demoted.contains(ratio_group(request))) {
            return backup(request, "--ratio: among the most sensitive", false);
        }
        if (request.role == Role::Embedding && tied_head) {
            // As above: zero points of a tied table would be widened at every inference.
            return four_bit_storage(request, Format::I4, "--all-layers; tied: symmetric");
        }
        return four_bit_storage(request, four_bit(request.role), "bulk of the model");
    }

    Storage wanted(const WeightRequest& request, ModelPart part) {
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
};

Recipe::Recipe(const CompressionOptions& options) : state_(std::make_unique<State>()) {
    State& state = *state_;
    state.options = options;
    const auto format = std::find_if(kFormats.begin(), kFormats.end(),
                                     [&](const FormatRow& f) { return f.name == options.weight_format; });
    if (format == kFormats.end()) {
        fail(ErrorKind::Usage, "unknown --weight-format '{}', expected fp32, fp16, bf16, int8, int4, nf4 or mxfp4",
             options.weight_format);
    }
    state.format = &*format;
    Problems problems;
    const bool four_bit = format->family == Family::FourBit;
    const std::string name =
        options.weight_format.empty() ? "no --weight-format" : "--weight-format " + options.weight_format;
    if (options.sym && (!(four_bit || format->family == Family::Int8) || format->format)) {
        problems.add(fmt::format(
            "--sym is for int8 and int4, which have zero points to leave out; it does not go with {}", name));
    }
    const std::array<std::pair<const char*, bool>, 5> four_bit_only{
        {{"--group-size", options.group_size.has_value()},
         {"--group-size-fallback", !options.group_size_fallback.empty()},
         {"--ratio", options.ratio.has_value()},
         {"--backup-precision", !options.backup_precision.empty()},
         {"--all-layers", options.all_layers}}};
    for (const auto& [option, given] : four_bit_only) {
        if (given && !four_bit) {
            problems.add(fmt::format("{} is for int4, nf4 and mxfp4; it does not go with {}", option, name));
        }
    }
    if (options.group_size) {
        const std::int64_t group = *options.group_size;
        const bool power = group >= 16 && (group & (group - 1)) == 0;
        if (group != -1 && !power) {
            problems.add(
                fmt::format("--group-size {} is not -1 (a whole row) or a power of two of at least 16", group));
        } else if (format->format == Format::MXFP4 && group != 32) {
            problems.add("--group-size must be 32 for mxfp4: the format has no other");
        }
    }
    if (!options.group_size_fallback.empty() && options.group_size_fallback != "error" &&
        options.group_size_fallback != "ignore" && options.group_size_fallback != "adjust") {
        problems.add(fmt::format("--group-size-fallback is '{}', expected error, ignore or adjust",
                                 options.group_size_fallback));
    }
    if (options.ratio && !(*options.ratio >= 0.0 && *options.ratio <= 1.0)) {
        problems.add(fmt::format("--ratio is {}, expected 0 to 1", *options.ratio));
    }
    if (!options.backup_precision.empty() && options.backup_precision != "none" &&
        options.backup_precision != "int8_sym" && options.backup_precision != "int8_asym") {
        problems.add(
            fmt::format("--backup-precision is '{}', expected none, int8_sym or int8_asym", options.backup_precision));
    }
    if (options.scale_search != "least-error" && options.scale_search != "nncf") {
        problems.add(fmt::format("--scale-search is '{}', expected least-error or nncf", options.scale_search));
    }
    for (const std::string& rule : options.keep) {
        const std::size_t equal = rule.rfind('=');
        const std::string type = equal == std::string::npos ? std::string() : rule.substr(equal + 1);
        if (equal == 0 || std::find(kKeepTypes.begin(), kKeepTypes.end(), type) == kKeepTypes.end()) {
            problems.add(
                fmt::format("--keep '{}' is not PATTERN=TYPE with TYPE one of {}", rule, fmt::join(kKeepTypes, ", ")));
            continue;
        }
        state.keep.push_back({rule.substr(0, equal), type, false});
    }
    problems.throw_if_any(ErrorKind::Usage, "cannot use these options");
}

Recipe::~Recipe() = default;
Recipe::Recipe(Recipe&&) noexcept = default;

void Recipe::set_architecture(bool mixture_of_experts, bool tied_head, const ExpertSizes& experts) {
    state_->mixture_of_experts = mixture_of_experts;
    state_->experts = experts;
    state_->tied_head = tied_head;
}

bool Recipe::needs_sensitivities() const {
    return state_->format->family == Family::FourBit && state_->options.ratio.value_or(1.0) < 1.0;
}

std::string Recipe::ratio_group(const WeightRequest& request) {
    const std::size_t end = request.role == Role::Expert ? request.name.rfind("experts.") : std::string::npos;
    return end == std::string::npos ? request.name : request.name.substr(0, end) + "experts";
}

std::optional<Scheme> Recipe::ratio_candidate(const WeightRequest& request) const {
    if (is_always_float32(request.role) || is_delicate(request.role) || state_->imports(request) ||
        (is_embedding_or_head(request.role) && !state_->options.all_layers)) {
        return std::nullopt;
    }
    return state_->four_bit_scheme(request, state_->four_bit(request.role));
}

// The most sensitive weights leave 4 bit until the share of elements in 4 bit is at most the ratio.
void Recipe::set_sensitivities(const std::map<std::string, double>& errors,
                               const std::map<std::string, std::uint64_t>& sizes) {
    std::vector<std::pair<double, std::string>> order;
    std::uint64_t total = 0;
    for (const auto& [name, error] : errors) {
        order.emplace_back(error, name);
        total += sizes.at(name);
    }
    std::sort(order.rbegin(), order.rend());
    std::uint64_t in_four_bit = total;
    const double allowed = state_->options.ratio.value_or(1.0) * static_cast<double>(total);
    for (const auto& [error, name] : order) {
        if (static_cast<double>(in_four_bit) <= allowed) {
            break;
        }
        state_->demoted.insert(name);
        in_four_bit -= sizes.at(name);
    }
}

Storage Recipe::choose(const WeightRequest& request, ModelPart part) {
    Storage storage = state_->wanted(request, part);
    if (can_import(request) && storage.scheme == request.origin->scheme) {
        storage = import(request);
    }
    if (storage.imported && state_->is_refused(request, storage.scheme->group_size) &&
        !std::exchange(state_->told_about_down_proj, true)) {
        state_->fallbacks.push_back(
            fmt::format("experts keep the checkpoint's groups of {}, one in down_proj: GPUs with a matrix engine "
                        "refuse this model; "
                        "another --group-size stores them anew",
                        storage.scheme->group_size));
    }
    state_->count(request, storage);
    return storage;
}

graph::StoragePolicy Recipe::policy(ModelPart part) {
    return [this, part](const WeightRequest& request) {
        return choose(request, part);
    };
}

bool Recipe::compresses() const {
    return state_->format->family == Family::Int8 || state_->format->family == Family::FourBit;
}

bool Recipe::is_four_bit() const {
    return state_->format->family == Family::FourBit;
}

const CompressionOptions& Recipe::options() const {
    return state_->options;
}

std::int64_t Recipe::group_size() const {
    return state_->group_size() == 0 ? -1 : static_cast<std::int64_t>(state_->group_size());
}

std::string Recipe::group_size_fallback() const {
    return state_->options.group_size_fallback.empty() ? "adjust" : state_->options.group_size_fallback;
}

quant::Search Recipe::search() const {
    return state_->options.scale_search == "nncf" ? quant::Search::Nncf : quant::Search::LeastError;
}

std::string Recipe::format_name() const {
    return state_->options.weight_format.empty() ? "as stored" : state_->options.weight_format;
}

std::vector<std::string> Recipe::description() const {
    const State& state = *state_;
    if (!compresses()) {
        return {state.format->family == Family::AsStored ? "every weight: the checkpoint's own type"
                                                         : fmt::format("every weight: {}", state.format->name),
                "norms, A_log, dt_bias: float32"};
    }
    std::vector<std::string> lines;
    if (state.format->family == Family::FourBit) {
        const bool other_experts = state.mixture_of_experts && state.format->format.has_value();
        lines.push_back(fmt::format("projections{}: {}{}",
                                    other_experts ? " and feed-forward layers" : ", feed-forward layers and experts",
                                    quant::scheme_text({state.four_bit(), state.group_size()}),
                                    state.options.group_size   ? ""
                                    : state.mixture_of_experts ? " (the family's mixtures of experts: 64)"
                                                               : " (dense: 128)"));
        if (other_experts) {
            lines.push_back(fmt::format(
                "experts: {}, which the CPU plugin keeps compressed; it would widen them from {} to float32",
                quant::scheme_text({Format::U4, state.group_size()}), state.format->name));
        }
        lines.push_back(fmt::format("embedding and head: {}", state.options.all_layers
                                                                  ? "4 bit where the plugin keeps it (--all-layers)"
                                                                  : "8 bit, every token passes them"));
    } else {
        lines.push_back(fmt::format("every large matrix: 8 bit per channel, {}",
                                    state.options.sym ? "symmetric"
                                    : state.tied_head ? "asymmetric; the tied embedding symmetric"
                                                      : "asymmetric"));
    }
    lines.push_back("in_proj_a, in_proj_b, conv1d, routers and gates: as stored, few bytes whose errors compound");
    lines.push_back("norms, A_log, dt_bias: float32");
    lines.push_back(state.options.scale_search == "nncf"
                        ? "scales: as nncf chooses them"
                        : "scales and zero points: searched for the least squared error");
    return lines;
}

bool Recipe::keeps_codes() const {
    return !state_->kept_codes.empty();
}

std::vector<std::string> Recipe::origins() const {
    const State& state = *state_;
    std::vector<std::string> lines;
    for (const auto& [kinds, weights] : state.kept_codes) {
        lines.push_back(fmt::format("{} weights keep the codes of the checkpoint bit for bit: {}, as {}", weights,
                                    kinds.first, kinds.second));
    }
    if (state.inexact_scales > 0) {
        lines.push_back(
            fmt::format("{} of their {} scales are not exact in float16 and were rounded, by {:.2g} at most",
                        state.inexact_scales, state.scales, state.largest_change));
    }
    for (const auto& [kinds, weights] : state.restored) {
        lines.push_back(
            fmt::format("{} weights were read from {} and are stored anew as {}", weights, kinds.first, kinds.second));
    }
    return lines;
}

void Recipe::check_all_used() const {
    Problems problems;
    for (const Keep& rule : state_->keep) {
        if (!rule.used) {
            problems.add(fmt::format(
                "--keep '{}={}' {}", rule.pattern, rule.type,
                rule.matched ? "never applies: a --keep before it matches all of its weights" : "matches no weight"));
        }
    }
    for (const std::string& error : state_->group_errors) {
        problems.add(error + " (--group-size-fallback adjust or ignore stores it otherwise)");
    }
    problems.throw_if_any(ErrorKind::Usage, "cannot compress as asked");
}

const std::vector<std::string>& Recipe::fallbacks() const {
    return state_->fallbacks;
}

}  // namespace deltavino::exporter
