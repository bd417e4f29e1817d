#include "commands.hpp"
#include "progress_bar.hpp"

#include "base/text.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <limits>

namespace deltavino::app {
namespace {

using Json = nlohmann::ordered_json;

std::string format_of(const CacheEntry& entry) {
    return entry.weight_format.empty() ? "stored" : entry.weight_format;
}

std::string time_text(std::chrono::system_clock::time_point time) {
    return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::chrono::system_clock::to_time_t(time)));
}

std::uint64_t bytes_of(const std::vector<CacheEntry>& entries) {
    std::uint64_t bytes = 0;
    for (const CacheEntry& entry : entries) {
        bytes += entry.bytes;
    }
    return bytes;
}

Json json_of(const std::vector<CacheEntry>& entries) {
    Json out = Json::array();
    for (const CacheEntry& entry : entries) {
        out.push_back({{"key", entry.key},
                       {"path", entry.path.string()},
                       {"source", entry.source},
                       {"weight_format", format_of(entry)},
                       {"task", entry.task},
                       {"version", entry.version},
                       {"bytes", entry.bytes},
                       {"last_used", time_text(entry.last_used)}});
    }
    return out;
}

void print_json(const Json& json) {
    fmt::print("{}\n", json.dump(2, ' ', false, Json::error_handler_t::replace));
}

std::string counted(std::size_t exports) {
    return fmt::format("{} export{}", exports, exports == 1 ? "" : "s");
}

int list(bool json) {
    const std::string folder = cache_folder().string();
    const std::vector<CacheEntry> entries = list_cache();
    if (json) {
        print_json({{"folder", folder}, {"bytes", bytes_of(entries)}, {"exports", json_of(entries)}});
        return 0;
    }
    if (!entries.empty()) {
        std::vector<std::vector<std::string>> rows{{"key", "of", "size", "last used"}};
        for (const CacheEntry& entry : entries) {
            rows.push_back({entry.key, entry.source, human_bytes(entry.bytes), time_text(entry.last_used)});
        }
        fmt::print("{}\n", format_table(rows));
    }
    fmt::print("{}, {} in '{}'\n", counted(entries.size()), human_bytes(bytes_of(entries)), folder);
    return 0;
}

int clear(const CacheCommand& command) {
    std::optional<std::chrono::seconds> unused_for;
    if (command.older_than_days) {
        constexpr std::uint64_t kDay = 24 * 60 * 60;
        constexpr auto kMost = static_cast<std::uint64_t>(std::numeric_limits<std::int32_t>::max());
        unused_for = std::chrono::seconds(std::min(*command.older_than_days, kMost) * kDay);
    }
    const CacheCleared cleared = clear_cache(command.keys, unused_for);
    if (command.json) {
        print_json({{"folder", cache_folder().string()},
                    {"bytes", bytes_of(cleared.removed)},
                    {"removed", json_of(cleared.removed)},
                    {"busy", cleared.busy}});
        return 0;
    }
    fmt::print("removed {}, {}\n", counted(cleared.removed.size()), human_bytes(bytes_of(cleared.removed)));
    if (!cleared.busy.empty()) {
        fmt::print("left, because in use or being exported: {}\n", fmt::join(cleared.busy, ", "));
    }
    return 0;
}

}  // namespace

int run_cache(const CacheCommand& command) {
    return command.action == CacheAction::List ? list(command.json) : clear(command);
}

std::vector<CachedDirectory> runnable(const std::vector<std::filesystem::path>& models, const RunRecipe& recipe,
                                      unsigned threads) {
    const bool exported = std::all_of(models.begin(), models.end(), is_exported);
    if (exported && !recipe.given.empty()) {
        throw Error(ErrorKind::Usage, fmt::format("{} is for checkpoints, but '{}' is exported already",
                                                  recipe.given.front(), models.front().string()));
    }
    std::vector<CachedDirectory> directories;
    for (const std::filesystem::path& model : models) {
        if (is_exported(model)) {
            directories.push_back({model, nullptr});
            continue;
        }
        ProgressBar progress;
        CachedExport wanted = recipe.wanted;
        wanted.model = model.string();
        wanted.threads = threads;
        directories.push_back(export_to_cache(wanted, progress));
    }
    return directories;
}

}  // namespace deltavino::app
