// Source: transformers 5.2 `configuration_qwen3_5.py`, `configuration_qwen3_5_moe.py`,
// `configuration_qwen3_next.py`.
#include "checkpoint/families.hpp"

#include "base/error.hpp"

#include <algorithm>

namespace deltavino::checkpoint {

const std::vector<Family>& families() {
    static const std::vector<Family> kFamilies{
        {.text_type = "qwen3_5_text",
         .model_types = {"qwen3_5", "qwen3_5_text", "qwen3_8", "qwen3_8_text"},
         .text_class = "Qwen3_5ForCausalLM",
         .base_class = "Qwen3_5TextModel",
         .classifier_class = "Qwen3_5ForSequenceClassification",
         .vision_type = "qwen3_5",
         .vision_class = "Qwen3_5ForConditionalGeneration",
         .experts = false,
         .always_normalises_top_k = true,
         .interleaved_projections = false},
        {.text_type = "qwen3_5_moe_text",
         .model_types = {"qwen3_5_moe", "qwen3_5_moe_text"},
         .text_class = "Qwen3_5MoeForCausalLM",
         .base_class = "Qwen3_5MoeTextModel",
         .classifier_class = "Qwen3_5MoeForSequenceClassification",
         .vision_type = "qwen3_5_moe",
         .vision_class = "Qwen3_5MoeForConditionalGeneration",
         .experts = true,
         .always_normalises_top_k = true,
         .interleaved_projections = false},
        {.text_type = "qwen3_next",
         .model_types = {"qwen3_next"},
         .text_class = "Qwen3NextForCausalLM",
         .base_class = "Qwen3NextModel",
         .classifier_class = "Qwen3NextForSequenceClassification",
         .vision_type = nullptr,
         .vision_class = nullptr,
         .experts = true,
         .always_normalises_top_k = false,
         .interleaved_projections = true},
    };
    return kFamilies;
}

const Family* find_family(std::string_view model_type) {
    for (const Family& family : families()) {
        if (std::find(family.model_types.begin(), family.model_types.end(), model_type) != family.model_types.end()) {
            return &family;
        }
    }
    return nullptr;
}

const Family& require_family(std::string_view text_type) {
    const Family* family = find_family(text_type);
    if (family == nullptr || family->text_type != text_type) {
        fail(ErrorKind::Internal, "'{}' is not a text model type", text_type);
    }
    return *family;
}

const std::vector<std::string>& known_model_types() {
    static const std::vector<std::string> kTypes = [] {
        std::vector<std::string> types;
        for (const Family& family : families()) {
            for (const char* type : {family.vision_type, family.text_type}) {
                if (type != nullptr) {
                    types.emplace_back(type);
                }
            }
        }
        return types;
    }();
    return kTypes;
}

}  // namespace deltavino::checkpoint
