// Found by deleting each file in turn under openvino_genai 2026.4.1 and optimum-intel 2.2.0.
#include "export/directory/contract.hpp"

#include "graph/names.hpp"
#include "models/products.hpp"

#include <array>

namespace deltavino::exporter {
namespace {

namespace fs = std::filesystem;
namespace names = graph::names;

// The files beside the models of models/products.hpp.
struct Row {
    const char* name;
    bool required;
    const char* consequence;
};

constexpr std::array kTokenizers{
    Row{names::kTokenizer, true, "GenAI and OVMS cannot load the directory"},
    Row{names::kDetokenizer, true, "GenAI and OVMS cannot turn tokens into text"},
};

constexpr std::array kSideFiles{
    Row{"config.json", true, "optimum-intel cannot load; VLMPipeline takes it for another model"},
    Row{"generation_config.json", false,
        "GenAI and optimum-intel use their own sampling defaults and end-of-text tokens"},
    Row{"tokenizer.json", false, "transformers' AutoTokenizer cannot load (GenAI does not need it)"},
    Row{"tokenizer_config.json", false, "transformers' AutoTokenizer lacks its settings"},
    Row{"chat_template.jinja", false, "chats take the template from the tokenizer model only"},
};

bool present(const fs::path& path) {
    std::error_code error;
    return fs::exists(path, error);
}

}  // namespace

std::vector<MissingFile> missing_files(const fs::path& directory) {
    const bool text = present(directory / (std::string(names::kTextModel) + ".xml"));
    std::vector<MissingFile> missing;
    const auto require = [&](const std::string& name, bool required, const char* consequence) {
        if (!present(directory / name)) {
            missing.push_back({name, consequence, required});
        }
    };
    const auto require_model = [&](const std::string& name, const char* consequence) {
        require(name + ".xml", true, consequence);
        require(name + ".bin", true, consequence);
    };
    for (const models::Product& product : models::products()) {
        const bool begun = present(directory / (std::string(product.name) + ".xml")) ||
                           present(directory / (std::string(product.name) + ".bin"));
        if (product.is_for(text ? models::Task::TextGeneration : models::Task::ImageTextToText) &&
            (product.optional == nullptr || begun)) {
            require_model(product.name, product.consequence);
        }
    }
    for (const Row& row : kTokenizers) {
        require_model(row.name, row.consequence);
    }
    for (const Row& row : kSideFiles) {
        require(row.name, row.required, row.consequence);
    }
    if (!text && !present(directory / "processor_config.json")) {
        require("preprocessor_config.json", true,
                "GenAI cuts pictures into patches of the wrong size; optimum-intel has no processor "
                "(processor_config.json serves too)");
    }
    return missing;
}

}  // namespace deltavino::exporter
