#include "export/recipe.hpp"

#include "base/error.hpp"
#include "export/recipe_state.hpp"

#include <algorithm>
#include <iterator>
#include <map>
#include <utility>

namespace deltavino::exporter {

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
    return state_->four_bit_scheme(request, {state_->four_bit(request.role), state_->group_size()});
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

bool Recipe::has_target() const {
    return state_->target_bytes > 0 || state_->options.target_bits.has_value();
}

std::uint64_t Recipe::target_bytes() const {
    return state_->target_bytes;
}

const std::map<std::string, WeightRequest>& Recipe::seen() const {
    return state_->seen;
}

std::vector<Scheme> Recipe::allowed(const WeightRequest& request) const {
    const State& state = *state_;
    // Layers that draft change the speed, not what the model says.
    if (is_always_float32(request.role) || is_delicate(request.role) || request.rows == 1 ||
        request.role == Role::DraftProjection || request.name.starts_with("mtp.") || state.is_kept(request) ||
        state.imports(request)) {
        return {};
    }
    const bool symmetric = state.options.sym || is_embedding_or_head(request.role);
    std::vector<Scheme> schemes;
    const auto add = [&](const std::optional<Scheme>& scheme) {
        if (scheme && quant::why_unfit(*scheme, request.columns).empty() &&
            std::find(schemes.begin(), schemes.end(), *scheme) == schemes.end()) {
            schemes.push_back(*scheme);
        }
    };
    for (const std::uint64_t group : {128, 64, 32}) {
        add(state.four_bit_scheme(request, {Format::I4, group}));
        add(symmetric ? std::nullopt : state.four_bit_scheme(request, {Format::U4, group}));
    }
    add(Scheme{Format::I8, 0});  // nothing is gained by zero points in 8 bit
    return schemes;
}

std::vector<std::optional<Scheme>> Recipe::schemes_under(const RecipeRow& row,
                                                         std::span<const WeightRequest> requests) const {
    State other = *state_;
    other.recipe = &row;
    other.assigned.clear();
    std::vector<std::optional<Scheme>> schemes;
    std::transform(requests.begin(), requests.end(), std::back_inserter(schemes),
                   [&](const WeightRequest& request) { return other.four_bit_part(request).scheme; });
    return schemes;
}

void Recipe::assign(std::map<std::string, Scheme> schemes, std::vector<std::string> lines) {
    State& state = *state_;
    state.assigned = std::move(schemes);
    state.assigned_lines = std::move(lines);
    // What the weights were told before they are chosen once more.
    state.fallbacks.clear();
    state.group_errors.clear();
    state.kept_codes.clear();
    state.restored.clear();
    state.counted.clear();
    state.scales = 0;
    state.inexact_scales = 0;
    state.largest_change = 0.0;
    state.told_about_down_proj = false;
}

Storage Recipe::choose(const WeightRequest& request, ModelPart part) {
    if (has_target() && part == ModelPart::Language) {
        state_->seen.emplace(request.name, request);
    }
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

std::string Recipe::recipe_name() const {
    return state_->recipe == nullptr ? std::string() : std::string(state_->recipe->name);
}

bool Recipe::is_symmetric() const {
    return state_->is_symmetric();
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

std::string Recipe::calibration_text() const {
    const std::filesystem::path& file = state_->options.calibrate;
    return file.empty()    ? ""
           : file == kSelf ? "text that the model wrote itself"
                           : "'" + file.filename().string() + "'";
}

std::uint64_t Recipe::calibration_tokens() const {
    constexpr std::uint64_t kUsual = 16384;
    return state_->options.calibration_tokens == 0 ? kUsual : state_->options.calibration_tokens;
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
    if (!state.assigned_lines.empty()) {
        lines = state.assigned_lines;
    } else if (state.format->family == Family::FourBit) {
        if (state.recipe != nullptr) {
            lines.push_back(fmt::format("recipe {}: {}", state.recipe->name, state.recipe->reason));
        }
        const bool other_experts = state.mixture_of_experts && state.format->format.has_value();
        lines.push_back(fmt::format(
            "projections{}: {}{}", other_experts ? " and feed-forward layers" : ", feed-forward layers and experts",
            quant::scheme_text({state.four_bit(), state.group_size()}),
            state.options.group_size || state.recipe == nullptr || state.recipe->group == state.recipe->experts_group
                ? ""
            : state.mixture_of_experts ? " (the family's mixtures of experts)"
                                       : " (dense)"));
        if (other_experts) {
            lines.push_back(fmt::format(
                "experts: {}, which the CPU plugin keeps compressed; it would widen them from {} to float32",
                quant::scheme_text({Format::U4, state.group_size()}), state.format->name));
        }
        const std::vector<std::string> rules = state.rule_lines();
        lines.insert(lines.end(), rules.begin(), rules.end());
        if (state.options.all_layers || !state.has_four_bit_table()) {
            lines.push_back(fmt::format("embedding and head: {}", state.options.all_layers
                                                                      ? "4 bit where the plugin keeps it (--all-layers)"
                                                                      : "8 bit, every token passes them"));
        }
    } else {
        lines.push_back(fmt::format("every large matrix: 8 bit per channel, {}",
                                    state.options.sym ? "symmetric"
                                    : state.tied_head ? "asymmetric; the tied embedding symmetric"
                                                      : "asymmetric"));
    }
    lines.push_back("in_proj_a, in_proj_b, conv1d, routers and gates: as stored, few bytes whose errors compound");
    lines.push_back("norms, A_log, dt_bias: float32");
    if (!state.options.calibrate.empty()) {
        lines.push_back(
            fmt::format("4-bit codes: those that change least what the layers put out on {}, of which {} "
                        "tokens were run at most",
                        calibration_text(), calibration_tokens()));
    }
    lines.push_back(state.options.scale_search == "nncf"
                        ? "scales: as nncf chooses them"
                        : "scales and zero points: searched for the least squared error");
    if (const auto& group = state.options.dynamic_quantization) {
        lines.push_back(*group == 0 ? "activations: never quantized, the models say (--dynamic-quantization off)"
                                    : fmt::format("activations: quantized in groups of {} by devices that do so, the "
                                                  "models say (--dynamic-quantization)",
                                                  *group));
    }
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
                "--keep '{}={}' {}", rule.pattern, rule.text(),
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
