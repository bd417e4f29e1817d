// Folders of the Hub's cache by their names: .../models--OWNER--NAME/snapshots/COMMIT.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace deltavino {

struct HubSnapshot {
    std::string repository;  // "OWNER/NAME", or "NAME" of the old ones without an owner
    std::string revision;    // the name of the folder: a commit where the Hub's tools made it
};

// Nothing for any other folder. Looks at the names only: `folder` should be absolute and without '.' and '..'.
std::optional<HubSnapshot> hub_snapshot(const std::filesystem::path& folder);

}  // namespace deltavino
