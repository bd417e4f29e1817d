#include "cache/store.hpp"

#include "base/checked.hpp"
#include "base/error.hpp"
#include "base/file.hpp"
#include "base/staged_directory.hpp"
#include "cache/identity.hpp"

#include <algorithm>
#include <system_error>

namespace deltavino::cache {
namespace {

namespace fs = std::filesystem;

constexpr const char* kAbout = ".deltavino-cache.json";
constexpr std::uint64_t kMostAboutBytes = 64ull << 20;
constexpr const char* kTag =
    "Signature: 8a477f597d28d172789f06886806bc55\n# Exported models of deltavino; `deltavino cache` lists and clears "
    "them.\n";

// Name -> bytes of the files of a folder, but for our own.
Json sizes_in(const fs::path& folder) {
    Json sizes = Json::object();
    std::error_code error;
    for (fs::directory_iterator entry(folder, error); !error && entry != fs::directory_iterator();
         entry.increment(error)) {
        const std::string name = entry->path().filename().string();
        if (name != kAbout) {
            sizes[name] = entry->file_size(error);
        }
    }
    if (error) {
        fail(ErrorKind::Output, "cannot look into '{}': {}", folder.string(), error.message());
    }
    return sizes;
}

// What stands beside an entry; nothing when it is not one of ours.
std::optional<Json> read_about(const fs::path& entry) {
    try {
        if (!is_there(entry / kAbout)) {
            return {};
        }
        Json about = parse_json(read_text_file(entry / kAbout, kMostAboutBytes), (entry / kAbout).string());
        const bool known = about.is_object() && about.contains("identity") && about["identity"].is_object() &&
                           about.contains("files") && about["files"].is_object();
        return known ? std::optional(std::move(about)) : std::nullopt;
    } catch (const Error&) {
        return {};
    }
}

bool has_all(const fs::path& entry, const Json& files) {
    return std::all_of(files.items().begin(), files.items().end(), [&](const auto& file) {
        std::error_code error;
        const std::uint64_t bytes = fs::file_size(entry / file.key(), error);
        return !error && file.value().is_number_unsigned() && file.value() == bytes;
    });
}

std::string text_at(const Json& json, const char* pointer) {
    const Json::json_pointer place(pointer);
    return json.contains(place) && json[place].is_string() ? json[place].get<std::string>() : std::string();
}

std::string source_of(const Json& identity) {
    const std::string folder = text_at(identity, "/checkpoint/folder");
    const bool hub =
        !text_at(identity, "/checkpoint/repository").empty() && !text_at(identity, "/checkpoint/commit").empty();
    return hub ? source_text(identity["checkpoint"]) : folder;
}

std::chrono::system_clock::time_point last_use(const fs::path& entry) {
    std::error_code error;
    const auto written = fs::last_write_time(entry / kAbout, error);
    return error ? std::chrono::system_clock::time_point()
                 : std::chrono::time_point_cast<std::chrono::system_clock::duration>(
                       std::chrono::file_clock::to_sys(written));
}

}  // namespace

bool Store::holds(const std::string& key, const Json& identity) const {
    const std::optional<Json> about = read_about(entry(key));
    return about && (*about)["identity"] == identity && has_all(entry(key), (*about)["files"]);
}

std::shared_ptr<const void> Store::use(const std::string& key, const Json& identity) const {
    auto lock = std::make_shared<FileLock>();
    const LockState state = lock->take_existing(entry(key) / kAbout, true);
    const bool usable = state == LockState::Taken || state == LockState::None;
    return usable && holds(key, identity) ? lock : nullptr;
}

bool Store::keep_from_use(const std::string& key, FileLock& lock) const {
    return lock.take_existing(entry(key) / kAbout, false) != LockState::Busy;
}

void Store::touch(const std::string& key) const {
    std::error_code ignored;
    fs::last_write_time(entry(key) / kAbout, fs::file_time_type::clock::now(), ignored);
}

void Store::make_folders() const {
    std::error_code error;
    const bool is_new = !fs::exists(folder_, error);
    make_folder(exports_);
    if (is_new) {
        write_text_file(folder_ / "CACHEDIR.TAG", kTag);
    }
}

void Store::describe(const fs::path& directory, const Json& identity) {
    const Json about{{"identity", identity}, {"files", sizes_in(directory)}};
    write_text_file(directory / kAbout, about.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

std::optional<CacheEntry> Store::read_entry(const std::string& key) const {
    const std::optional<Json> about = read_about(entry(key));
    if (!about) {
        return {};
    }
    const Json& identity = (*about)["identity"];
    CacheEntry found;
    found.key = key;
    found.path = entry(key);
    found.source = source_of(identity);
    found.weight_format = text_at(identity, "/recipe/weight_format");
    found.task = text_at(identity, "/recipe/task");
    found.version = text_at(identity, "/version");
    for (const auto& file : (*about)["files"]) {
        found.bytes = checked_add(found.bytes, file.is_number_unsigned() ? file.get<std::uint64_t>() : 0);
    }
    found.last_used = last_use(found.path);
    return found;
}

std::vector<CacheEntry> Store::entries() const {
    std::vector<CacheEntry> found;
    std::error_code error;
    fs::directory_iterator place(exports_, error);
    for (; !error && place != fs::directory_iterator(); place.increment(error)) {
        const std::string key = place->path().filename().string();
        std::error_code ignored;
        if (key.starts_with(".") || !fs::is_directory(place->symlink_status(ignored))) {
            continue;
        }
        if (std::optional<CacheEntry> entry = read_entry(key)) {
            found.push_back(std::move(*entry));
        }
    }
    if (error && error != std::errc::no_such_file_or_directory) {
        fail(ErrorKind::Output, "cannot look into '{}': {}", exports_.string(), error.message());
    }
    std::sort(found.begin(), found.end(), [](const CacheEntry& a, const CacheEntry& b) {
        return a.last_used != b.last_used ? a.last_used > b.last_used : a.key < b.key;
    });
    return found;
}

void Store::remove(const CacheEntry& entry) const {
    // Out of the way at once, so that no run finds half of it.
    const fs::path aside = exports_ / ("." + entry.key + ".removed");
    std::error_code error;
    fs::remove_all(aside, error);
    fs::rename(entry.path, aside, error);
    if (!error) {
        fs::remove_all(aside, error);
    }
    if (error && is_there(aside)) {
        fail(ErrorKind::Output, "cannot remove '{}': {}", aside.string(), error.message());
    }
    if (error && is_there(entry.path)) {
        fail(ErrorKind::Output, "cannot remove '{}': {}", entry.path.string(), error.message());
    }
}

void Store::remove_leftovers() const {
    constexpr std::string_view kRemoved = ".removed";
    std::vector<std::string> names;
    std::error_code error;
    for (fs::directory_iterator place(exports_, error); !error && place != fs::directory_iterator();
         place.increment(error)) {
        names.push_back(place->path().filename().string());
    }
    for (const std::string& name : names) {
        if (!name.starts_with(".")) {
            continue;
        }
        if (name.ends_with(kRemoved)) {
            fs::remove_all(exports_ / name, error);
        } else if (name.ends_with(kStagedEnd)) {
            try {
                const StagedDirectory mended(entry(name.substr(1, name.size() - 1 - kStagedEnd.size())), true, {});
            } catch (const Error&) {
                continue;  // its export still runs
            }
        } else if (name.ends_with(".lock")) {
            Lock lock(exports_ / name);
            lock.take();
        }
    }
}

Store::Lock::~Lock() {
    if (held_) {
        std::error_code ignored;
        fs::remove(path_, ignored);
    }
}

bool Store::Lock::take() {
    for (;;) {
        switch (lock_.take(path_)) {
            case LockState::Taken: return held_ = true;
            case LockState::None: return true;
            case LockState::Busy: return false;
            case LockState::Vanished: break;
        }
    }
}

}  // namespace deltavino::cache
