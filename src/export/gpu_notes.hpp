// What a user must know before running the exported model on a GPU, from how its weights are stored.
#pragma once

#include "export/artifact.hpp"

#include <string>
#include <vector>

namespace deltavino::exporter {

// One sentence per fact, none for what runs as it is stored. Measured by tests/gpu.
std::vector<std::string> gpu_notes(const std::vector<Artifact>& artifacts);

}  // namespace deltavino::exporter
