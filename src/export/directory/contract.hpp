// Which files an exported directory must have, and who needs each.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace deltavino::exporter {

struct MissingFile {
    std::string name;
    std::string consequence;
    bool required = true;  // some consumer cannot load the directory without it
};

// Empty for a complete directory. A directory with openvino_model.xml is a text model, any other a
// vision-language one.
std::vector<MissingFile> missing_files(const std::filesystem::path& directory);

}  // namespace deltavino::exporter
