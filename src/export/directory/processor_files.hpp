// How pictures and videos become patches: the settings that GenAI and transformers' AutoProcessor read.
#pragma once

#include "checkpoint/config.hpp"

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace deltavino::exporter {

struct ProcessorFiles {
    std::vector<std::pair<std::string, std::string>> files;  // name and text
    std::vector<std::string> notes;                          // one sentence each
};

// GenAI reads processor_config.json when it has an image and a video section, else the two older files;
// checkpoints come with either. All three are made: processor_config.json complete, the older ones as the
// checkpoint has them or else from its sections. Throws ErrorKind::Input when there are no settings for
// pictures, or when they cut patches of another size than the tower's.
ProcessorFiles read_processor_files(const std::filesystem::path& checkpoint, const checkpoint::VisionConfig& vision);

}  // namespace deltavino::exporter
