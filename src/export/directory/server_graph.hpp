// graph.pbtxt: how OpenVINO Model Server runs an exported directory.
#pragma once

#include <deltavino/export.hpp>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace deltavino::exporter {

inline constexpr const char* kGraphFile = "graph.pbtxt";

// The calculators of the server that a directory of this family can have.
enum class Servable { TextGeneration, Embeddings, Rerank };

struct Served {
    Servable servable = Servable::TextGeneration;
    bool vision = false;
    bool drafts = false;  // the multi-token-prediction model is there, too
};

class ServerGraph {
public:
    // `values`: of server_options(), by name. Throws ErrorKind::Usage with all names and values that are wrong or that
    // the directory cannot have.
    ServerGraph(std::map<std::string, std::string> values, const Served& served);

    // Writes graph.pbtxt into `directory`, whose chat template says which parsers read its answers unless the options
    // do. Returns notes.
    std::vector<std::string> write(const std::filesystem::path& directory);

private:
    void add_parsers(const std::string& chat_template);
    std::string options_text() const;
    std::string text() const;

    Served served_;
    std::map<std::string, std::string> values_;
    std::string plugin_config_;  // a JSON object; empty: none
};

}  // namespace deltavino::exporter
