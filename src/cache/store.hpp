// The folder of the cache:
//
//     CACHEDIR.TAG             says to backup programs what it is
//     exports/KEY/             an exported directory, whole
//     exports/KEY/.deltavino-cache.json
//                              its identity, and the sizes of its files; locked, shared, by all who use the entry
//     exports/.KEY.lock        locked while the entry is made or removed
//
// Entries appear by the export's own renaming; when they were used last is the time of .deltavino-cache.json.
#pragma once

#include "base/file_lock.hpp"
#include "json/document.hpp"

#include <deltavino/cache.hpp>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

namespace deltavino::cache {

class Store {
public:
    explicit Store(std::filesystem::path folder) : folder_(std::move(folder)), exports_(folder_ / "exports") {}

    std::filesystem::path entry(const std::string& key) const { return exports_ / key; }
    // Whether the entry is there, of this identity, and with all of its files.
    bool holds(const std::string& key, const Json& identity) const;
    // Uses the entry if `holds`: nobody removes or replaces it while the result lives. Null where it does not hold, or
    // is just being removed. On file systems without locks all may do all.
    std::shared_ptr<const void> use(const std::string& key, const Json& identity) const;
    // Excludes all use until it is released. False while the entry is in use.
    bool keep_from_use(const std::string& key, FileLock& lock) const;
    // Notes a use; a cache that cannot be written to is left as it is.
    void touch(const std::string& key) const;
    // Throws ErrorKind::Output.
    void make_folders() const;
    // Writes what makes an entry of a finished directory that has not its name yet.
    static void describe(const std::filesystem::path& directory, const Json& identity);

    std::vector<CacheEntry> entries() const;
    void remove(const CacheEntry& entry) const;
    // Ends or undoes what exports left that were killed.
    void remove_leftovers() const;

    // Held by whoever makes or removes an entry. The file goes with it.
    class Lock {
    public:
        explicit Lock(std::filesystem::path path) : path_(std::move(path)) {}
        ~Lock();
        Lock(const Lock&) = delete;
        Lock& operator=(const Lock&) = delete;
        // False while another process holds it. On file systems without locks all get it.
        bool take();

    private:
        std::filesystem::path path_;
        FileLock lock_;
        bool held_ = false;
    };
    std::filesystem::path lock_path(const std::string& key) const { return exports_ / ("." + key + ".lock"); }

private:
    std::optional<CacheEntry> read_entry(const std::string& key) const;

    std::filesystem::path folder_;
    std::filesystem::path exports_;
};

}  // namespace deltavino::cache
