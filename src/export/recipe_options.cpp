// Which options there are and which go together.
#include "export/recipe_state.hpp"

#include "base/error.hpp"
#include "calibration/text.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cctype>
#include <charconv>
#include <map>

namespace deltavino::exporter {
namespace {

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

const std::vector<std::string> kKeepTypes{"stored",   "fp32",      "fp16",     "bf16",
                                          "int8_sym", "int8_asym", "int4_sym", "int4_asym"};
// Columns that share a scale, at the end of an int4 type.
constexpr std::array<std::string_view, 4> kKeepGroups{"32", "64", "128", "256"};

// "int4_asym_g64" and the like. None for what is no type.
std::optional<Keep> keep_rule(const std::string& pattern, std::string type) {
    Keep rule{pattern, {}, 0};
    const std::size_t cut = type.rfind("_g");
    if (type.starts_with("int4") && cut != std::string::npos) {
        const std::string digits = type.substr(cut + 2);
        const auto* const group = std::find(kKeepGroups.begin(), kKeepGroups.end(), digits);
        if (group == kKeepGroups.end()) {
            return std::nullopt;
        }
        rule.group = std::stoull(digits);
        type.resize(cut);
    }
    rule.type = type;
    const bool known = std::find(kKeepTypes.begin(), kKeepTypes.end(), type) != kKeepTypes.end();
    return known ? std::optional(std::move(rule)) : std::nullopt;
}

// Bytes of "14.5GB", "700 MB", "1.5GiB" or "123456"; 0 for what is no size.
std::uint64_t bytes_of(const std::string& text) {
    static const std::map<std::string, double> kUnits{{"", 1.0},       {"B", 1.0},     {"KB", 1e3},     {"MB", 1e6},
                                                      {"GB", 1e9},     {"TB", 1e12},   {"KIB", 0x1p10}, {"MIB", 0x1p20},
                                                      {"GIB", 0x1p30}, {"TIB", 0x1p40}};
    const std::size_t end = std::min(text.find_first_not_of("0123456789."), text.size());
    double number = 0.0;
    const auto [rest, error] = std::from_chars(text.data(), text.data() + end, number);
    std::string unit = text.substr(std::min(text.find_first_not_of(' ', end), text.size()));
    std::transform(unit.begin(), unit.end(), unit.begin(), [](unsigned char c) { return std::toupper(c); });
    const auto found = kUnits.find(unit);
    if (error != std::errc() || rest != text.data() + end || found == kUnits.end()) {
        return 0;
    }
    const double bytes = number * found->second;
    return bytes >= 1.0 && bytes < 0x1p62 ? static_cast<std::uint64_t>(bytes) : 0;
}

// --recipe and the targets, which say the same in other ways.
void check_recipe(const CompressionOptions& options, const std::string& format, Problems& problems) {
    const bool target = !options.target_size.empty() || options.target_bits.has_value();
    const std::string named = !options.recipe.empty()        ? "--recipe"
                              : !options.target_size.empty() ? "--target-size"
                                                             : "--target-bits";
    if (options.recipe.empty() && !target) {
        return;
    }
    if (options.weight_format != "int4") {
        problems.add(fmt::format("{} is for int4; it does not go with {}", named, format));
    }
    if (!options.recipe.empty() && find_recipe(options.recipe) == nullptr) {
        std::vector<std::string_view> names;
        std::transform(recipe_rows().begin(), recipe_rows().end(), std::back_inserter(names),
                       [](const RecipeRow& row) { return row.name; });
        problems.add(fmt::format("--recipe is '{}', expected one of {}", options.recipe, fmt::join(names, ", ")));
    }
    if (!options.target_size.empty() && bytes_of(options.target_size) == 0) {
        problems.add(fmt::format("--target-size '{}' is no size, expected a number with kB, MB, GB, KiB, MiB or GiB",
                                 options.target_size));
    }
    constexpr double kMostBits = 16.0;
    if (options.target_bits && !(*options.target_bits > 0.0 && *options.target_bits <= kMostBits)) {
        problems.add(
            fmt::format("--target-bits is {}, expected more than 0 and at most {}", *options.target_bits, kMostBits));
    }
    if (!options.target_size.empty() && options.target_bits) {
        problems.add("--target-size and --target-bits say the same in two ways");
    }
    if (!options.recipe.empty() && target) {
        problems.add("--recipe and a target both choose the storage of each weight");
    }
    const std::array<std::pair<const char*, bool>, 5> chosen_by_target{
        {{"--group-size", options.group_size.has_value()},
         {"--group-size-fallback", !options.group_size_fallback.empty()},
         {"--ratio", options.ratio.has_value()},
         {"--backup-precision", !options.backup_precision.empty()},
         {"--all-layers", options.all_layers}}};
    for (const auto& [option, given] : chosen_by_target) {
        if (given && target) {
            problems.add(fmt::format("{} does not go with {}, which chooses that itself", option, named));
        }
    }
    if (!options.recipe.empty() && options.recipe != kDefaultRecipe && options.ratio) {
        problems.add(
            fmt::format("--ratio and --recipe {} both choose which weights get more than 4 bit", options.recipe));
    }
}

constexpr std::uint64_t kMostCalibrationTokens = 1u << 20;

void check_calibration(const CompressionOptions& options, const std::string& format, Problems& problems) {
    if (options.calibrate.empty()) {
        if (options.calibration_tokens > 0) {
            problems.add("--calibration-tokens goes with --calibrate");
        }
        return;
    }
    if (options.weight_format != "int4") {
        problems.add(fmt::format("--calibrate is for int4; it does not go with {}", format));
    }
    if (options.scale_search == "nncf") {
        problems.add("--calibrate chooses scales itself; it does not go with --scale-search nncf");
    }
    if (options.calibration_tokens != 0 && (options.calibration_tokens < calibration::kFewestTokens ||
                                            options.calibration_tokens > kMostCalibrationTokens)) {
        problems.add(fmt::format("--calibration-tokens is {}, expected {} to {}", options.calibration_tokens,
                                 calibration::kFewestTokens, kMostCalibrationTokens));
    }
}

void check_dynamic_quantization(const CompressionOptions& options, Family family, const std::string& format,
                                Problems& problems) {
    constexpr std::uint64_t kFewest = 16;
    constexpr std::uint64_t kMost = 1u << 16;
    if (!options.dynamic_quantization) {
        return;
    }
    const std::uint64_t group = *options.dynamic_quantization;
    if (group != 0 && (group < kFewest || group > kMost || !std::has_single_bit(group))) {
        problems.add(fmt::format("--dynamic-quantization is {}, expected off or a power of two from {} to {}", group,
                                 kFewest, kMost));
    }
    if (family == Family::Float) {
        problems.add(fmt::format("--dynamic-quantization is for compressed weights; it does not go with {}", format));
    }
}

}  // namespace

const FormatRow* find_weight_format(std::string_view name) {
    const auto row = std::find_if(kFormats.begin(), kFormats.end(), [&](const FormatRow& f) { return f.name == name; });
    return row == kFormats.end() ? nullptr : &*row;
}

Recipe::Recipe(const CompressionOptions& options) : state_(std::make_unique<State>()) {
    State& state = *state_;
    state.options = options;
    const FormatRow* format = find_weight_format(options.weight_format);
    if (format == nullptr) {
        fail(ErrorKind::Usage, "unknown --weight-format '{}', expected fp32, fp16, bf16, int8, int4, nf4 or mxfp4",
             options.weight_format);
    }
    state.format = format;
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
    check_calibration(options, name, problems);
    check_recipe(options, name, problems);
    if (options.weight_format == "int4") {
        state.recipe = find_recipe(options.recipe.empty() ? kDefaultRecipe : std::string_view(options.recipe));
        state.target_bytes = options.target_size.empty() ? 0 : bytes_of(options.target_size);
    }
    check_dynamic_quantization(options, format->family, name, problems);
    for (const std::string& rule : options.keep) {
        const std::size_t equal = rule.rfind('=');
        const std::string type = equal == std::string::npos ? std::string() : rule.substr(equal + 1);
        std::optional<Keep> parsed = equal == 0 ? std::nullopt : keep_rule(rule.substr(0, equal), type);
        if (!parsed) {
            problems.add(
                fmt::format("--keep '{}' is not PATTERN=TYPE with TYPE one of {}; int4 may end with _g and a "
                            "group size of {}",
                            rule, fmt::join(kKeepTypes, ", "), fmt::join(kKeepGroups, ", ")));
            continue;
        }
        state.keep.push_back(std::move(*parsed));
    }
    problems.throw_if_any(ErrorKind::Usage, "cannot use these options");
}

}  // namespace deltavino::exporter
