// The public functions of the cache of exports.
#include <deltavino/cache.hpp>

#include "base/error.hpp"
#include "base/guard.hpp"
#include "base/staged_directory.hpp"
#include "base/text.hpp"
#include "cache/identity.hpp"
#include "cache/store.hpp"
#include "hub/settings.hpp"

#include <algorithm>
#include <functional>
#include <thread>

namespace deltavino {
namespace {

namespace fs = std::filesystem;
using cache::Store;

constexpr const char* kHelp =
    "DELTAVINO_CACHE names another folder for exports that runs make, `deltavino cache clear` empties it";

std::string format_text(const CompressionOptions& compression) {
    return compression.weight_format.empty() ? "as stored" : compression.weight_format;
}

// Tries until it succeeds; the first time that it does not, `why` is told.
void wait_for(const std::function<bool()>& attempt, const char* why, ProgressSink& progress) {
    for (bool told = false; !attempt(); told = true) {
        if (!told) {
            progress.note(why);
        }
        if (progress.cancelled()) {
            fail(ErrorKind::Cancelled, "stopped");
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
}

// Makes the entry, whose lock is held.
void make_entry(const CachedExport& wanted, const fs::path& checkpoint, const Json& identity, const fs::path& entry,
                ProgressSink& progress) {
    ExportOptions options;
    options.model = checkpoint;
    options.output = entry;
    options.task = wanted.task;
    options.compression = wanted.compression;
    options.lora = wanted.lora;
    options.threads = wanted.threads;
    options.force = true;  // an entry of which something is missing
    options.before_publishing = [&](const fs::path& directory) {
        if (cache::export_identity(cache::checkpoint_identity(checkpoint), wanted) != identity) {
            fail(ErrorKind::Input, "cannot export '{}': its files were changed meanwhile (a download that still runs?)",
                 wanted.model);
        }
        Store::describe(directory, identity);
    };
    const ExportSummary summary = export_model(options, progress);
    progress.note(fmt::format("exported '{}' ({}), {} in {:.1f} s; kept as '{}'", wanted.model,
                              format_text(wanted.compression), human_bytes(summary.bytes_written), summary.seconds,
                              entry.string()));
}

// Makes the entry unless another process made it meanwhile; returns whether it did.
bool make_in_turn(const CachedExport& wanted, const fs::path& checkpoint, const Json& identity, const Store& store,
                  CachedDirectory& made, ProgressSink& progress) {
    const std::string key = cache::key_of(identity);
    store.make_folders();
    Store::Lock lock(store.lock_path(key));
    wait_for([&] { return lock.take(); }, "another process is exporting this checkpoint; waiting for it", progress);
    made.use = store.use(key, identity);
    if (made.use) {
        return false;
    }
    {
        FileLock damaged;  // what stands there lacks something, but may be in use
        wait_for([&] { return store.keep_from_use(key, damaged); },
                 "the cache's export of this checkpoint lacks a file and is in use; waiting for its end", progress);
        make_entry(wanted, checkpoint, identity, made.directory, progress);
    }
    made.use = store.use(key, identity);
    return true;
}

CachedDirectory unguarded(const CachedExport& wanted, ProgressSink& progress) {
    const Store store(cache_folder());
    const fs::path checkpoint = resolve_checkpoint(wanted.model, wanted.hub, progress);
    const Json identity = cache::export_identity(cache::checkpoint_identity(checkpoint), wanted);
    const std::string key = cache::key_of(identity);
    CachedDirectory found{store.entry(key), store.use(key, identity)};
    try {
        if (!found.use && make_in_turn(wanted, checkpoint, identity, store, found, progress)) {
            return found;
        }
    } catch (const Error& error) {
        if (error.kind() != ErrorKind::Output) {
            throw;
        }
        fail(ErrorKind::Output, "{}; {}", error.what(), kHelp);
    }
    progress.note(fmt::format("'{}' was exported before ({}): '{}'", wanted.model, format_text(wanted.compression),
                              found.directory.string()));
    store.touch(key);
    return found;
}

std::vector<CacheEntry> chosen(const std::vector<CacheEntry>& entries, const std::vector<std::string>& keys,
                               std::optional<std::chrono::seconds> unused_for) {
    Problems problems;
    for (const std::string& key : keys) {
        if (std::none_of(entries.begin(), entries.end(), [&](const auto& e) { return glob_matches(key, e.key); })) {
            problems.add(fmt::format("'{}' is none; `deltavino cache list` shows them", key));
        }
    }
    problems.throw_if_any(ErrorKind::Usage, "cannot remove entries of the cache");
    const auto now = std::chrono::system_clock::now();
    std::vector<CacheEntry> out;
    std::copy_if(entries.begin(), entries.end(), std::back_inserter(out), [&](const CacheEntry& entry) {
        const bool named = keys.empty() || std::any_of(keys.begin(), keys.end(), [&](const std::string& key) {
                               return glob_matches(key, entry.key);
                           });
        return named && (!unused_for || now - entry.last_used >= *unused_for);
    });
    return out;
}

}  // namespace

bool is_exported(const fs::path& directory) {
    std::error_code error;
    fs::directory_iterator entry(directory, error);
    for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
        if (is_export_file(entry->path().filename().string())) {
            return true;
        }
    }
    return false;
}

CachedDirectory export_to_cache(const CachedExport& wanted, ProgressSink& progress) {
    return guarded("cannot export into the cache", [&] { return unguarded(wanted, progress); });
}

fs::path cache_folder() {
    const auto variable = [](const char* name) {
        return fs::path(hub::process_environment(name).value_or(""));
    };
    if (const fs::path own = variable("DELTAVINO_CACHE"); !own.empty()) {
        return fs::absolute(own);
    }
    if (const fs::path shared = variable("XDG_CACHE_HOME"); shared.is_absolute()) {
        return shared / "deltavino";  // the rules of XDG: one that is not absolute is not valid
    }
    const fs::path home = variable("HOME");
    if (home.empty()) {
        fail(ErrorKind::Usage,
             "cannot tell where to keep exports: none of DELTAVINO_CACHE, XDG_CACHE_HOME and HOME is set");
    }
    return fs::absolute(home) / ".cache" / "deltavino";
}

std::vector<CacheEntry> list_cache() {
    return guarded("cannot list the cache", [] { return Store(cache_folder()).entries(); });
}

CacheCleared clear_cache(const std::vector<std::string>& keys, std::optional<std::chrono::seconds> unused_for) {
    return guarded("cannot clear the cache", [&] {
        const Store store(cache_folder());
        CacheCleared cleared;
        for (const CacheEntry& entry : chosen(store.entries(), keys, unused_for)) {
            Store::Lock lock(store.lock_path(entry.key));
            FileLock unused;  // until all of it is gone
            if (!lock.take() || !store.keep_from_use(entry.key, unused)) {
                cleared.busy.push_back(entry.key);
                continue;
            }
            store.remove(entry);
            cleared.removed.push_back(entry);
        }
        store.remove_leftovers();
        return cleared;
    });
}

}  // namespace deltavino
