#include "models/products.hpp"

#include "graph/names.hpp"
#include "json/document.hpp"
#include "models/qwen3_5_mtp.hpp"
#include "models/qwen3_5_text.hpp"
#include "models/qwen3_5_vision.hpp"

namespace deltavino::models {
namespace {

namespace names = graph::names;
using graph::Weights;

// GenAI's draft models look up the nodes that end each layer.
BuiltModel with_layer_outputs(TextModel decoder) {
    Json layers = Json::object();
    for (std::size_t i = 0; i < decoder.layer_outputs.size(); ++i) {
        layers[std::to_string(i)] = {{"producer", decoder.layer_outputs[i]}, {"output_index", 0}};
    }
    return {std::move(decoder.model), {{"hidden_states_decoder_layers", Json{{"layers", layers}}.dump()}}};
}

BuiltModel text_model(const Plan& plan, Weights& weights) {
    return with_layer_outputs(build_text_model(plan.config.text, weights, plan.tied_head));
}

BuiltModel language_model(const Plan& plan, Weights& weights) {
    return with_layer_outputs(build_language_model(plan.config.text, weights, plan.tied_head));
}

BuiltModel features(const Plan& plan, Weights& weights) {
    return {build_feature_model(plan.config.text, weights), {}};
}

BuiltModel scores(const Plan& plan, Weights& weights) {
    return {build_score_model(plan.config.text, weights), {}};
}

BuiltModel text_embeddings(const Plan&, Weights& weights) {
    return {build_text_embeddings(weights), {}};
}

BuiltModel vision_embeddings(const Plan& plan, Weights& weights) {
    return {build_vision_embeddings(*plan.config.vision, weights), {}};
}

BuiltModel vision_positions(const Plan&, Weights& weights) {
    return {build_vision_positions(weights), {}};
}

BuiltModel vision_merger(const Plan& plan, Weights& weights) {
    return {build_vision_merger(*plan.config.vision, weights), {}};
}

BuiltModel prediction_model(const Plan& plan, Weights& weights) {
    return {build_mtp_model(plan.config.text, weights), {}};
}

bool has_prediction(const Plan& plan) {
    return plan.mtp;
}

}  // namespace

const std::vector<Product>& products() {
    static const std::vector<Product> kProducts{
        {names::kTextModel, ModelPart::Language, Task::TextGeneration, true,
         "GenAI, optimum-intel and OVMS cannot load the directory", text_model},
        {names::kTextModel, ModelPart::Language, Task::FeatureExtraction, true,
         "GenAI, optimum-intel and OVMS cannot load the directory", features},
        {names::kTextModel, ModelPart::Language, Task::TextClassification, true,
         "GenAI, optimum-intel and OVMS cannot load the directory", scores},
        {names::kLanguageModel, ModelPart::Language, Task::ImageTextToText, true,
         "GenAI, optimum-intel and OVMS cannot load the directory", language_model},
        {names::kTextEmbeddings, ModelPart::Other, Task::ImageTextToText, false,
         "GenAI does not see that it is a vision-language model", text_embeddings},
        {names::kVisionEmbeddings, ModelPart::Other, Task::ImageTextToText, false,
         "VLMPipeline and optimum-intel cannot load; OVMS takes it for a text model", vision_embeddings},
        {names::kVisionPositions, ModelPart::Other, Task::ImageTextToText, false,
         "VLMPipeline and optimum-intel cannot load", vision_positions},
        {names::kVisionMerger, ModelPart::Other, Task::ImageTextToText, true,
         "VLMPipeline ends the process without a message; optimum-intel cannot load", vision_merger},
        {names::kPredictionModel, ModelPart::Language, std::nullopt, true, "it drafts no tokens", prediction_model,
         has_prediction},
    };
    return kProducts;
}

}  // namespace deltavino::models
