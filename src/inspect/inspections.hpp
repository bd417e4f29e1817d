// The two kinds of inspection.
#pragma once

#include <deltavino/inspect.hpp>

namespace deltavino::inspection {

CheckpointFacts inspect_checkpoint(const std::filesystem::path& path);

struct Directory {
    DirectoryFacts facts;
    bool complete = true;
};
Directory inspect_directory(const std::filesystem::path& path);

}  // namespace deltavino::inspection
