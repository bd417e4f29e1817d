// Keys and values of quantization_config are those of optimum-intel's OVWeightQuantizationConfig, which hands
// whatever it does not know to nncf: our own facts stand beside it, under "deltavino".
#include "export/directory/origin.hpp"

#include "base/hub_snapshot.hpp"
#include "graph/names.hpp"
#include "json/document.hpp"

#include <deltavino/version.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <string_view>

namespace deltavino::exporter {
namespace {

namespace fs = std::filesystem;

// Valid UTF-8 without control characters, which XML does not allow.
std::string printable(const std::string& text) {
    std::string valid = Json::parse(Json(text).dump(-1, ' ', false, Json::error_handler_t::replace)).get<std::string>();
    std::replace_if(valid.begin(), valid.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
    return valid;
}

// What optimum-intel calls the model of a file.
std::string optimum_name(const std::string& model) {
    if (model == graph::names::kLanguageModel) {
        return "lm_model";
    }
    constexpr std::string_view kPrefix = "openvino_";
    return model.starts_with(kPrefix) ? model.substr(kPrefix.size()) : model;
}

// Only the language model gets 4 bit.
bool in_four_bit(const Recipe& recipe, ModelPart part) {
    return part == ModelPart::Language && recipe.is_four_bit();
}

bool is_symmetric(const Recipe& recipe, ModelPart part) {
    return part == ModelPart::Other || recipe.is_symmetric();
}

ModelPart part_of(const std::string& model) {
    const auto row = std::find_if(models::products().begin(), models::products().end(),
                                  [&](const models::Product& product) { return model == product.name; });
    return row == models::products().end() ? ModelPart::Other : row->part;
}

Json or_null(const std::string& text) {
    return text.empty() ? Json(nullptr) : Json(text);
}

Json quantization_json(const Recipe& recipe, ModelPart part) {
    const CompressionOptions& options = recipe.options();
    const bool four_bit = in_four_bit(recipe, part);
    // optimum-intel refuses these three for 8 bit, even with the values that change nothing.
    return {{"bits", four_bit ? 4 : 8},
            {"dtype", four_bit ? recipe.format_name() : "int8"},
            {"sym", is_symmetric(recipe, part)},
            {"group_size", four_bit ? recipe.group_size() : -1},
            {"ratio", four_bit ? options.ratio.value_or(1.0) : 1.0},
            {"all_layers", four_bit ? Json(options.all_layers) : Json(nullptr)},
            {"backup_precision", four_bit ? or_null(options.backup_precision) : Json(nullptr)},
            {"group_size_fallback", four_bit ? Json(recipe.group_size_fallback()) : Json(nullptr)},
            {"quant_method", "default"}};
}

std::string nncf_mode(const Recipe& recipe, ModelPart part) {
    const std::string format = in_four_bit(recipe, part) ? recipe.format_name() : "int8";
    return format.starts_with("int") ? format + (is_symmetric(recipe, part) ? "_sym" : "_asym") : format;
}

}  // namespace

Source source_of(const fs::path& checkpoint) {
    fs::path folder = fs::absolute(checkpoint).lexically_normal();
    if (!folder.has_filename()) {  // "folder/"
        folder = folder.parent_path();
    }
    if (const std::optional<HubSnapshot> snapshot = hub_snapshot(folder)) {
        return {printable(snapshot->repository), printable(snapshot->revision)};
    }
    return {printable(folder.filename().string()), {}};
}

Origin::Origin(Source source, std::optional<MergedAdapter> adapter, std::string model_type, std::string task,
               const Recipe& recipe)
    : source_(std::move(source)),
      adapter_(std::move(adapter)),
      model_type_(std::move(model_type)),
      task_(std::move(task)),
      recipe_(recipe) {}

graph::RuntimeInfo Origin::runtime_info(ModelPart part, bool compressed) const {
    graph::RuntimeInfo info{{"deltavino/version", version()},
                            {"deltavino/openvino_version", openvino_version()},
                            {"deltavino/source", source_.name},
                            {"deltavino/weight_format", recipe_.format_name()}};
    if (!source_.revision.empty()) {
        info.emplace_back("deltavino/source_revision", source_.revision);
    }
    if (adapter_) {
        info.emplace_back("deltavino/adapter", adapter_->source.name);
        if (!adapter_->source.revision.empty()) {
            info.emplace_back("deltavino/adapter_revision", adapter_->source.revision);
        }
    }
    if (!compressed || !recipe_.compresses()) {
        return info;
    }
    const CompressionOptions& options = recipe_.options();
    const bool four_bit = in_four_bit(recipe_, part);
    info.emplace_back("deltavino/scale_search", options.scale_search);
    if (four_bit && !options.calibrate.empty()) {
        info.emplace_back("deltavino/calibration", printable(recipe_.calibration_text()));
    }
    info.emplace_back("nncf/weight_compression/mode", nncf_mode(recipe_, part));
    info.emplace_back("nncf/weight_compression/group_size",
                      std::to_string(four_bit ? recipe_.group_size() : std::int64_t{-1}));
    info.emplace_back("nncf/weight_compression/ratio", fmt::format("{}", four_bit ? options.ratio.value_or(1.0) : 1.0));
    info.emplace_back("nncf/weight_compression/all_layers", four_bit && options.all_layers ? "True" : "False");
    return info;
}

std::string Origin::config_json(const std::vector<std::string>& compressed) const {
    Json quantization = nullptr;
    std::string dtype = recipe_.options().weight_format.empty() ? "auto" : recipe_.format_name();
    // A weight that --keep alone compresses is named under "keep".
    // Whatever drafts for a text model was stored as that was.
    if (recipe_.compresses() && !compressed.empty() && compressed.front() == graph::names::kTextModel) {
        quantization = quantization_json(recipe_, ModelPart::Language);
    } else if (recipe_.compresses() && !compressed.empty()) {
        Json models = Json::object();
        std::vector<std::string> dtypes;
        for (const std::string& name : compressed) {
            const ModelPart part = part_of(name);
            models[optimum_name(name)] = quantization_json(recipe_, part);
            dtypes.push_back(models[optimum_name(name)]["dtype"].get<std::string>());
        }
        quantization = {{"quantization_configs", models}};
        dtype = fmt::format("{}", fmt::join(dtypes, "_"));
    }
    const CompressionOptions& options = recipe_.options();
    Json own{{"version", version()},
             {"openvino_version", openvino_version()},
             {"source", source_.name},
             {"source_revision", or_null(source_.revision)},
             {"model_type", model_type_},
             {"task", task_},
             {"weight_format", recipe_.format_name()},
             {"scale_search", recipe_.compresses() ? Json(options.scale_search) : Json(nullptr)},
             {"keep", options.keep},
             {"recipe", recipe_.description()}};
    if (adapter_) {
        own["adapter"] = {{"source", adapter_->source.name},
                          {"source_revision", or_null(adapter_->source.revision)},
                          {"text", adapter_->text},
                          {"weights", adapter_->weights},
                          {"replaced", adapter_->replaced}};
    }
    if (const std::string name = recipe_.recipe_name(); !name.empty()) {
        own["recipe_name"] = or_null(recipe_.has_target() ? std::string() : name);
    }
    if (recipe_.has_target()) {
        own["target_size"] = or_null(options.target_size);
        own["target_bits"] = options.target_bits ? Json(*options.target_bits) : Json(nullptr);
    }
    if (!options.calibrate.empty()) {
        own["calibration"] = {{"text", recipe_.calibration_text()}, {"tokens", recipe_.calibration_tokens()}};
    }
    const Json json{{"dtype", dtype},
                    {"input_info", nullptr},
                    {"save_onnx_model", false},
                    {"quantization_config", quantization},
                    {"deltavino", own}};
    return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace deltavino::exporter
