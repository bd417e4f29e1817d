#include "base/hub_snapshot.hpp"

#include <string_view>

namespace deltavino {

std::optional<HubSnapshot> hub_snapshot(const std::filesystem::path& folder) {
    constexpr std::string_view kRepository = "models--";
    const std::filesystem::path snapshots = folder.parent_path();
    const std::string of = snapshots.parent_path().filename().string();
    if (snapshots.filename() != "snapshots" || !of.starts_with(kRepository)) {
        return {};
    }
    HubSnapshot found{of.substr(kRepository.size()), folder.filename().string()};
    if (const std::size_t slash = found.repository.find("--"); slash != std::string::npos) {
        found.repository.replace(slash, 2, "/");
    }
    return found;
}

}  // namespace deltavino
