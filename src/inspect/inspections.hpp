// The two kinds of inspection.
#pragma once

#include "inspect/memory.hpp"

#include <deltavino/inspect.hpp>

namespace deltavino::inspection {

// `contents`: filled when there are no problems; null: not asked for.
CheckpointFacts inspect_checkpoint(const std::filesystem::path& path, Contents* contents);

struct Directory {
    DirectoryFacts facts;
    bool complete = true;
    Contents contents;
};
Directory inspect_directory(const std::filesystem::path& path);

}  // namespace deltavino::inspection
