// Found by deleting each file in turn under openvino_genai 2026.4.1 and optimum-intel 2.2.0.
#include "export/directory/contract.hpp"

#include "graph/names.hpp"

#include <array>

namespace deltavino::exporter {
namespace {

namespace fs = std::filesystem;

enum class Kind { Both, Text, Vision };

struct Row {
    Kind kind;
    const char* name;  // model names stand for their .xml and .bin
    bool model;
    bool required;
    const char* consequence;
};

namespace names = graph::names;

constexpr std::array kRows{
    Row{Kind::Text, names::kTextModel, true, true, "GenAI, optimum-intel and OVMS cannot load the directory"},
    Row{Kind::Vision, names::kLanguageModel, true, true, "GenAI, optimum-intel and OVMS cannot load the directory"},
    Row{Kind::Vision, names::kTextEmbeddings, true, true, "GenAI does not see that it is a vision-language model"},
    Row{Kind::Vision, names::kVisionEmbeddings, true, true,
        "VLMPipeline and optimum-intel cannot load; OVMS takes it for a text model"},
    Row{Kind::Vision, names::kVisionMerger, true, true,
        "VLMPipeline ends the process without a message; optimum-intel cannot load"},
    Row{Kind::Vision, names::kVisionPositions, true, true, "VLMPipeline and optimum-intel cannot load"},
    Row{Kind::Both, names::kTokenizer, true, true, "GenAI and OVMS cannot load the directory"},
    Row{Kind::Both, names::kDetokenizer, true, true, "GenAI and OVMS cannot turn tokens into text"},
    Row{Kind::Both, "config.json", false, true, "optimum-intel cannot load; VLMPipeline takes it for another model"},
    Row{Kind::Both, "generation_config.json", false, false,
        "GenAI and optimum-intel use their own sampling defaults and end-of-text tokens"},
    Row{Kind::Both, "tokenizer.json", false, false, "transformers' AutoTokenizer cannot load (GenAI does not need it)"},
    Row{Kind::Both, "tokenizer_config.json", false, false, "transformers' AutoTokenizer lacks its settings"},
    Row{Kind::Both, "chat_template.jinja", false, false, "chats take the template from the tokenizer model only"},
};

void add_if_missing(const fs::path& directory, const std::string& name, const Row& row,
                    std::vector<MissingFile>& missing) {
    std::error_code error;
    if (!fs::exists(directory / name, error)) {
        missing.push_back({name, row.consequence, row.required});
    }
}

}  // namespace

std::vector<MissingFile> missing_files(const fs::path& directory) {
    std::error_code error;
    const bool text = fs::exists(directory / (std::string(names::kTextModel) + ".xml"), error);
    std::vector<MissingFile> missing;
    for (const Row& row : kRows) {
        if (row.kind != Kind::Both && (row.kind == Kind::Text) != text) {
            continue;
        }
        if (!row.model) {
            add_if_missing(directory, row.name, row, missing);
            continue;
        }
        add_if_missing(directory, row.name + std::string(".xml"), row, missing);
        add_if_missing(directory, row.name + std::string(".bin"), row, missing);
    }
    if (!text && !fs::exists(directory / "processor_config.json", error) &&
        !fs::exists(directory / "preprocessor_config.json", error)) {
        missing.push_back({"preprocessor_config.json",
                           "GenAI cuts pictures into patches of the wrong size; optimum-intel has no processor "
                           "(processor_config.json serves too)",
                           true});
    }
    return missing;
}

}  // namespace deltavino::exporter
