// Sources of truth: transformers 5.2 `utils/quantization_config.py`, GPTQModel's `QuantizeConfig`, auto-round
// 0.16 `export_to_autoround`, compressed-tensors 0.20 `QuantizationConfig`, ModelOpt's hf_quant_config.json.
#include "checkpoint/quantization.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "json/document.hpp"
#include "json/reader.hpp"

#include <algorithm>
#include <functional>

namespace deltavino::checkpoint {
namespace {

constexpr std::string_view kUseOriginal = "use the original checkpoint in bfloat16 or float16";

// Every size is tried for every weight.
template <typename Value>
void add_once(std::vector<Value>& values, const Value& value) {
    constexpr std::size_t kMost = 64;
    if (std::find(values.begin(), values.end(), value) != values.end()) {
        return;
    }
    if (values.size() == kMost) {
        fail(ErrorKind::Input, "cannot read quantization_config: it names more than {} sizes of groups or blocks",
             kMost);
    }
    values.push_back(value);
}

// Reads the object of one method.
class Reader {
public:
    Reader(const Json& json, const std::string& pointer, Quantization& out, Problems& problems)
        : json_(json), keys_(json, pointer, problems), out_(out), problems_(problems) {}

    void fp8() {
        const std::string format = keys_.text("fmt", "e4m3");
        if (format != "e4m3" && format != "e5m2") {
            refuse("fmt is '{}', read are e4m3 and e5m2", format);
        }
        block(json_, "weight_block_size");
        plain_modules("modules_to_not_convert");
    }

    void gptq() {
        bits(json_);
        group(json_);
        const std::string format = keys_.text("checkpoint_format", keys_.text("format", "gptq"));
        if (format != "gptq" && format != "gptq_v2") {
            refuse("checkpoint_format is '{}', read are gptq and gptq_v2", format);
        }
        out_.packing = quant::Packing::Gptq;
        out_.zero_points_less_one = format == "gptq";
        out_.desc_act = keys_.flag("desc_act", false);
        if (const Json* rules = keys_.object("dynamic")) {
            layers(*rules);
            out_.plain_modules_known = rules->empty();
        }
        plain_modules("modules_to_not_convert");
    }

    void awq() {
        if (json_.contains("w_bit")) {
            bits(json_, "w_bit");
        } else {
            bits(json_);
        }
        group(json_, json_.contains("q_group_size") ? "q_group_size" : "group_size");
        const std::string version = lower(keys_.text("version", keys_.text("checkpoint_format", "gemm")));
        if (version != "gemm") {
            refuse("version is '{}', read is gemm", version);
        }
        out_.packing = quant::Packing::Awq;
        four_bits_only();
        plain_modules("modules_to_not_convert");
    }

    void auto_round() {
        bits(json_);
        group(json_);
        if (const std::string type = keys_.text("data_type", "int"); type != "int") {
            refuse("data_type is '{}', read is int", type);
        }
        const std::string packing = keys_.text("packing_format", "auto_round:auto_gptq");
        if (packing == "auto_round:auto_awq" || packing == "auto_round:awq") {
            out_.packing = quant::Packing::Awq;
            four_bits_only();
        } else if (packing == "auto_round" || packing == "auto_round:gptqmodel") {
            out_.packing = quant::Packing::Gptq;
        } else if (packing == "auto_round:auto_gptq" || packing == "auto_round:gptq") {
            out_.packing = quant::Packing::Gptq;
            out_.zero_points_less_one = true;
        } else {
            refuse("packing_format is '{}', read are auto_round, auto_round:auto_gptq and auto_round:auto_awq",
                   packing);
        }
        if (const Json* extra = keys_.object("extra_config")) {
            layers(*extra);
        }
        plain_modules("modules_to_not_convert");
    }

    void compressed_tensors() {
        static const std::vector<std::string> kRead{"pack-quantized", "int-quantized", "naive-quantized",
                                                    "float-quantized", "dense"};
        const std::string whole = keys_.text("format", "");
        const Json* groups = keys_.object("config_groups");
        if (groups == nullptr) {
            keys_.wrong("config_groups", "an object");
            return;
        }
        for (const auto& [name, group] : groups->items()) {
            if (!group.is_object()) {
                problems_.add(fmt::format("{}/{} is not an object", keys_.pointer("config_groups"), name));
                continue;
            }
            const JsonReader scheme(group, keys_.pointer("config_groups") + "/" + name, problems_);
            const std::string format = scheme.text("format", whole);
            if (format != "mixed-precision" && std::find(kRead.begin(), kRead.end(), format) == kRead.end()) {
                refuse("format is '{}', read are {}", format, fmt::join(kRead, ", "));
            }
            if (const Json* weights = scheme.object("weights")) {
                compressed_weights(*weights, scheme.pointer("weights"));
            }
        }
        require_empty("transform_config", "the weights are rotated");
        require_empty("sparsity_config", "the weights are stored sparse", "dense");
        plain_modules("ignore");
    }

    void modelopt() {
        const std::string algorithm = keys_.text("quant_algo", "");
        if (algorithm != "FP8" && algorithm != "FP8_PER_CHANNEL_PER_TOKEN") {
            refuse("quant_algo is '{}', read are FP8 and FP8_PER_CHANNEL_PER_TOKEN", algorithm);
        }
        out_.plain_modules_known = false;  // globs and names of fused modules
    }

    template <typename... Args>
    void refuse(fmt::format_string<Args...> text, Args&&... args) {
        refusals_.push_back(fmt::format(text, std::forward<Args>(args)...));
    }
    const std::vector<std::string>& refusals() const { return refusals_; }

private:
    static std::string lower(std::string text) {
        std::transform(text.begin(), text.end(), text.begin(),
                       [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
        return text;
    }

    // 4 or 8; 16 and more stands for a layer that is left plain.
    void bits(const Json& object, const char* key = "bits") {
        const JsonReader reader(object, keys_.pointer(), problems_);
        const std::uint64_t value = reader.size(key, 4, 1, 32);
        if (value != 4 && value != 8 && value < 16) {
            refuse("{} is {}, read are 4 and 8", key, value);
        }
        wide_ |= value == 8;
    }

    void four_bits_only() {
        if (wide_) {
            refuse("bits are 8, read are 4 in this packing");
        }
    }

    void group(const Json& object, const char* key = "group_size") {
        const auto found = object.find(key);
        if (found == object.end() || found->is_null()) {
            return;
        }
        const bool whole_row = found->is_number_integer() && !found->is_number_unsigned() && *found == -1;
        if (!whole_row && (!found->is_number_unsigned() || *found > JsonReader::kMaxSize)) {
            problems_.add(
                fmt::format("{} is {}, expected -1 or a number of columns", keys_.pointer(key), shown(*found)));
            return;
        }
        add_once(out_.group_sizes, whole_row ? std::uint64_t{0} : found->get<std::uint64_t>());
    }

    void block(const Json& object, const char* key) {
        const auto found = object.find(key);
        if (found == object.end() || found->is_null()) {
            return;
        }
        const auto is_size = [](const Json& value) {
            return value.is_number_unsigned() && value > 0 && value <= JsonReader::kMaxSize;
        };
        if (!found->is_array() || found->size() != 2 || !is_size((*found)[0]) || !is_size((*found)[1])) {
            problems_.add(fmt::format("{} is {}, expected two sizes", keys_.pointer(key), shown(*found)));
            return;
        }
        add_once(out_.block_sizes, {(*found)[0].get<std::uint64_t>(), (*found)[1].get<std::uint64_t>()});
    }

    // Settings of single layers, by name or by pattern.
    void layers(const Json& rules) {
        for (const auto& [name, rule] : rules.items()) {
            if (!rule.is_object()) {
                continue;  // GPTQModel: false leaves a layer out
            }
            bits(rule);
            group(rule);
            const auto layer_bits = rule.find("bits");
            if (layer_bits != rule.end() && layer_bits->is_number_unsigned() && *layer_bits >= 16u) {
                out_.plain_modules.push_back(name);
            }
        }
    }

    void compressed_weights(const Json& weights, const std::string& pointer) {
        const JsonReader reader(weights, pointer, problems_);
        const std::string type = reader.text("type", "int");
        const std::uint64_t value = reader.size("num_bits", 8, 1, 32);
        if ((type == "float" && value != 8) || (type == "int" && value != 4 && value != 8) ||
            (type != "float" && type != "int")) {
            refuse("{} holds weights of type {} in {} bits, read are int in 4 or 8 and float in 8", pointer, type,
                   value);
        }
        group(weights);
        block(weights, "block_structure");
        // "static" and "weight" order the work only; the columns stand where they belong.
        const Json* order = reader.find("actorder");
        out_.desc_act |= order != nullptr && (*order == "group" || *order == "dynamic");
    }

    void require_empty(const char* key, const char* meaning, const char* harmless = "") {
        const Json* value = keys_.find(key);
        if (value == nullptr || value->empty()) {
            return;
        }
        const bool is_harmless = value->is_object() && value->contains("format") && (*value)["format"] == harmless;
        if (!is_harmless) {
            refuse("{} is set: {}", key, meaning);
        }
    }

    void plain_modules(const char* key) {
        const Json* list = keys_.find(key);
        if (list == nullptr) {
            return;
        }
        if (!list->is_array()) {
            keys_.wrong(key, "a list of names");
            return;
        }
        for (const Json& entry : *list) {
            if (!entry.is_string()) {
                keys_.wrong(key, "a list of names");
                return;
            }
            out_.plain_modules.push_back(entry.get<std::string>());
            out_.plain_modules_known &= !out_.plain_modules.back().starts_with("re:");
        }
    }

    const Json& json_;
    JsonReader keys_;
    Quantization& out_;
    Problems& problems_;
    std::vector<std::string> refusals_;
    bool wide_ = false;
};

struct MethodRow {
    std::string_view name;  // quant_method
    void (Reader::*read)();
    std::string_view method;
};

constexpr std::array kMethods{
    MethodRow{"fp8", &Reader::fp8, "fp8"},
    MethodRow{"gptq", &Reader::gptq, "gptq"},
    MethodRow{"awq", &Reader::awq, "awq"},
    MethodRow{"auto-round", &Reader::auto_round, "auto-round"},
    MethodRow{"intel/auto-round", &Reader::auto_round, "auto-round"},
    MethodRow{"compressed-tensors", &Reader::compressed_tensors, "compressed-tensors"},
    MethodRow{"modelopt", &Reader::modelopt, "modelopt"},
};

struct RefusedRow {
    std::string_view name;
    std::string_view what;
};

// Methods whose name alone says that they cannot be read.
constexpr std::array kRefused{
    RefusedRow{"bitsandbytes", "bitsandbytes"},
    RefusedRow{"hqq", "HQQ"},
    RefusedRow{"mxfp4", "MXFP4"},
    RefusedRow{"nvfp4", "NVFP4"},
    RefusedRow{"modelopt_fp4", "NVFP4 of ModelOpt"},
    RefusedRow{"torchao", "torchao"},
    RefusedRow{"quanto", "quanto"},
    RefusedRow{"aqlm", "AQLM"},
    RefusedRow{"quark", "Quark"},
    RefusedRow{"exl2", "EXL2"},
    RefusedRow{"exl3", "EXL3"},
    RefusedRow{"bitnet", "BitNet"},
    RefusedRow{"eetq", "EETQ"},
    RefusedRow{"fbgemm_fp8", "FBGEMM FP8"},
};

[[noreturn]] void refuse_method(const std::string& where, std::string_view what) {
    fail(ErrorKind::Unsupported,
         "cannot export this checkpoint: {} says that its weights are quantized by {}, which is not read; {} (read are "
         "fp8, gptq, awq, auto-round, compressed-tensors in 4 and 8 bit, and modelopt's FP8)",
         where, what, kUseOriginal);
}

std::string method_name(const Json& config, const std::string& where) {
    const auto found = config.find("quant_method");
    if (found != config.end() && found->is_string()) {
        return found->get<std::string>();
    }
    if (config.value("load_in_4bit", Json(false)) == true || config.value("load_in_8bit", Json(false)) == true) {
        return "bitsandbytes";
    }
    if (config.contains("quant_algo")) {
        return "modelopt";
    }
    fail(ErrorKind::Input, "cannot read {}: it has no quant_method", where);
}

Quantization read_method(const Json& config, const std::string& where) {
    if (!config.is_object()) {
        fail(ErrorKind::Input, "cannot read {}: expected an object", where);
    }
    const std::string name = method_name(config, where);
    const auto row = std::find_if(kMethods.begin(), kMethods.end(), [&](const MethodRow& m) { return m.name == name; });
    if (row == kMethods.end()) {
        const auto refused =
            std::find_if(kRefused.begin(), kRefused.end(), [&](const RefusedRow& r) { return r.name == name; });
        refuse_method(where, refused == kRefused.end() ? std::string_view(name) : refused->what);
    }
    Quantization quantization;
    quantization.method = row->method;
    quantization.where = where;
    Problems problems;
    Reader reader(config, "/quantization_config", quantization, problems);
    (reader.*row->read)();
    problems.throw_if_any(ErrorKind::Input, fmt::format("cannot read {}", where));
    if (!reader.refusals().empty()) {
        fail(ErrorKind::Unsupported,
             "cannot export this checkpoint: {} says that its weights are quantized by {} in a way that is not read: "
             "{}; {}",
             where, quantization.method, fmt::join(reader.refusals(), "; "), kUseOriginal);
    }
    return quantization;
}

// ModelOpt's own file, which older exports have instead of the key. No algorithm: only the cache is quantized.
std::optional<Quantization> read_modelopt_file(const std::filesystem::path& path) {
    std::error_code error;
    if (!std::filesystem::exists(path, error)) {
        return std::nullopt;
    }
    const std::string where = fmt::format("'{}'", path.string());
    const Json json = parse_json(read_text_file(path, 16u << 20), path.string());
    if (!json.is_object() || !json.contains("quantization") || !json["quantization"].is_object()) {
        fail(ErrorKind::Input, "cannot read {}: it has no object 'quantization'", where);
    }
    Json config = json["quantization"];
    if (!config.contains("quant_algo") || config["quant_algo"].is_null()) {
        return std::nullopt;
    }
    config["quant_method"] = "modelopt";
    return read_method(config, where);
}

}  // namespace

std::optional<Quantization> read_quantization(const std::string& config_text, const std::filesystem::path& directory) {
    const std::string path = (directory / "config.json").string();
    const Json json = parse_json(config_text, path);
    if (!json.is_object()) {
        return std::nullopt;  // read_config says what is wrong with it
    }
    const Json* found = nullptr;
    std::string where;
    const auto look = [&](const Json& object, const std::string& pointer) {
        for (const char* key : {"quantization_config", "compression_config"}) {
            const auto config = object.find(key);
            if (config == object.end() || config->is_null() || (config->is_object() && config->empty())) {
                continue;
            }
            if (found != nullptr && *found != *config) {
                fail(ErrorKind::Input, "cannot read '{}': {} and {}/{} contradict each other", path, where, pointer,
                     key);
            }
            found = found == nullptr ? &*config : found;
            where = fmt::format("{}/{} of '{}'", pointer, key, path);
        }
    };
    look(json, "");
    if (const auto text = json.find("text_config"); text != json.end() && text->is_object()) {
        look(*text, "/text_config");
    }
    if (found != nullptr) {
        return read_method(*found, where);
    }
    if (json.contains("quantization") && json["quantization"].is_object()) {
        refuse_method(fmt::format("/quantization of '{}'", path), "MLX");
    }
    return read_modelopt_file(directory / "hf_quant_config.json");
}

}  // namespace deltavino::checkpoint
