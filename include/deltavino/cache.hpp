// Exported directories that are made when a checkpoint is run, and kept for the next run.
#pragma once

#include <deltavino/export.hpp>
#include <deltavino/hub.hpp>
#include <deltavino/progress.hpp>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace deltavino {

// What decides the bytes of an export that a run makes. Another value of any of these is another entry.
struct CachedExport {
    std::string model;  // a checkpoint folder or a Hub id
    HubOptions hub;
    std::string task = "auto";
    CompressionOptions compression;
    unsigned threads = 0;        // of the export; changes nothing in the result. 0: one per core
    std::filesystem::path lora;  // a folder with a LoRA adapter to merge; empty: none
};

// Whether the folder holds an export, whoever wrote it: an openvino_*.xml or an openvino_config.json.
bool is_exported(const std::filesystem::path& directory);

// An export of the cache. While a copy of this lives, no process removes or replaces it.
struct CachedDirectory {
    std::filesystem::path directory;
    std::shared_ptr<const void> use;
};

// The export of `wanted` in the cache, which is made when it is not there. A checkpoint is told by its files
// (docs/cache.md), a Hub id is resolved first. Processes that want the same entry wait for the one that makes it.
// `progress` counts bytes and hears in one note whether the entry was there. Throws Error as
// resolve_checkpoint and export_model do; ErrorKind::Output when the cache cannot be written.
CachedDirectory export_to_cache(const CachedExport& wanted, ProgressSink& progress);

// DELTAVINO_CACHE, else XDG_CACHE_HOME/deltavino, else HOME/.cache/deltavino; it need not exist. Throws
// ErrorKind::Usage when none of the three variables is set.
std::filesystem::path cache_folder();

struct CacheEntry {
    std::string key;  // the name of its folder
    std::filesystem::path path;
    std::string source;  // the checkpoint's folder, or the Hub id with its commit
    std::string weight_format;
    std::string task;
    std::string version;  // of the program that made it
    std::uint64_t bytes = 0;
    std::chrono::system_clock::time_point last_used;
};

// All entries, latest use first. A cache that is not there has none.
std::vector<CacheEntry> list_cache();

struct CacheCleared {
    std::vector<CacheEntry> removed;
    std::vector<std::string> busy;  // keys that are in use or being exported: left alone
};

// Removes entries, and what killed exports left. `keys`: names or globs; empty: all. `unused_for`: only entries that
// no run used for as long. Throws ErrorKind::Usage for a key that matches nothing, before anything is removed, and
// ErrorKind::Output when an entry cannot be removed.
CacheCleared clear_cache(const std::vector<std::string>& keys, std::optional<std::chrono::seconds> unused_for);

}  // namespace deltavino
