// Source of truth: huggingface_hub `hf_hub_download` (_hf_hub_download_to_cache_dir, _create_symlink,
// _cache_commit_hash_for_specific_revision).
#include "hub/cache.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "hub/repository.hpp"

#include <algorithm>
#include <random>

namespace deltavino::hub {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMaxRefBytes = 1024;
constexpr std::uint64_t kMaxTextBytes = 256u << 20;
constexpr const char* kCacheTag =
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# This file marks a cache directory: see https://bford.info/cachedir/\n";

std::string folder_name(std::string repository) {
    repository.replace(repository.find('/'), 1, "--");
    return "models--" + repository;
}

void make_cache_folder(const fs::path& folder) {
    std::error_code error;
    fs::create_directories(folder, error);
    if (error) {
        fail(ErrorKind::Output, "cannot create '{}': {} (HF_HOME, HF_HUB_CACHE or --cache-dir name another place)",
             folder.string(), error.message());
    }
}

// Nothing for a link whose blob is gone, too: that is downloaded again.
std::optional<std::string> text_at(const fs::path& path, std::uint64_t limit) {
    std::error_code error;
    if (!fs::is_regular_file(path, error)) {
        return std::nullopt;
    }
    return read_text_file(path, limit);
}

// Readers see the old text or the new one.
void replace_text(const fs::path& path, const std::string& text) {
    make_cache_folder(path.parent_path());
    fs::path temporary = path;
    temporary += fmt::format(".{:08x}.tmp", std::random_device()());
    write_text_file(temporary, text);
    std::error_code error;
    fs::rename(temporary, path, error);
    if (error) {
        std::error_code ignored;
        fs::remove(temporary, ignored);
        fail(ErrorKind::Output, "cannot write '{}': {}", path.string(), error.message());
    }
}

bool has_size(const fs::path& path, std::uint64_t bytes) {
    std::error_code error;
    return fs::is_regular_file(path, error) && fs::file_size(path, error) == bytes && !error;
}

}  // namespace

Cache::Cache(const Settings& settings, const std::string& repository)
    : repository_(repository),
      root_(settings.cache),
      folder_(settings.cache / folder_name(repository)),
      locks_(settings.cache / ".locks" / folder_name(repository)),
      symlinks_(settings.symlinks) {}

std::optional<std::string> Cache::commit_of(const std::string& revision) const {
    if (is_commit(revision)) {
        return revision;
    }
    std::error_code error;
    const fs::path ref = folder_ / "refs" / revision;
    if (!fs::is_regular_file(ref, error)) {
        return std::nullopt;
    }
    std::string commit = read_text_file(ref, kMaxRefBytes);
    while (!commit.empty() && (commit.back() == '\n' || commit.back() == ' ')) {
        commit.pop_back();
    }
    return is_commit(commit) ? std::optional(commit) : std::nullopt;
}

bool Cache::holds(const std::string& commit, const std::string& name, std::uint64_t bytes) const {
    return has_size(snapshot(commit) / name, bytes);
}

bool Cache::holds_blob(const RemoteFile& file) const {
    return has_size(blob(file), file.size);
}

std::optional<std::string> Cache::text(const std::string& commit, const std::string& name) const {
    return text_at(snapshot(commit) / name, kMaxTextBytes);
}

std::optional<Needed> Cache::needed(const std::string& commit) const {
    const auto json = text_at(folder_ / ".deltavino" / (commit + ".json"), kMaxTextBytes);
    return json.has_value() ? read_needed(*json) : std::nullopt;
}

std::optional<std::vector<std::string>> Cache::missing(const std::string& commit) const {
    if (const auto files = needed(commit)) {
        std::vector<std::string> names;
        for (const auto& [name, bytes] : *files) {
            if (!holds(commit, name, bytes)) {
                names.push_back(name);
            }
        }
        return names;
    }
    const auto json = text_at(folder_ / "trees" / (commit + ".json"), kMaxTextBytes);
    const auto listing = json.has_value() ? read_tree_file(*json, repository_) : std::nullopt;
    return listing.has_value() ? std::optional(missing(commit, *listing)) : std::nullopt;
}

std::vector<std::string> Cache::missing(const std::string& commit, const Listing& listing) const {
    std::vector<std::string> names;
    const auto look_for = [&](const Listing& files) {
        for (const RemoteFile& file : files) {
            if (!holds(commit, file.name, file.size)) {
                names.push_back(file.name);
            }
        }
    };
    look_for(side_files(listing));
    const auto index = find_file(listing, kIndexFile) == nullptr ? std::nullopt : text(commit, kIndexFile);
    if (index.has_value() || find_file(listing, kIndexFile) == nullptr) {
        look_for(weight_files(listing, index, repository_));
    }
    return names;
}

std::vector<std::string> Cache::missing_essentials(const std::string& commit) const {
    std::vector<std::string> wanted{kConfigFile};
    std::error_code error;
    if (const auto index = text(commit, kIndexFile)) {
        for (const std::string& shard : shards_of_index(*index, (snapshot(commit) / kIndexFile).string())) {
            require_safe_file_name(shard, repository_);
            wanted.push_back(shard);
        }
    } else if (is_there(snapshot(commit) / kIndexFile)) {
        wanted.emplace_back(kIndexFile);
    } else {
        const fs::directory_iterator entries(snapshot(commit), error);
        const bool weights = !error && std::any_of(begin(entries), end(entries), [](const fs::directory_entry& entry) {
            std::error_code ignored;
            return entry.path().extension() == ".safetensors" && fs::is_regular_file(entry.path(), ignored);
        });
        if (!weights) {
            wanted.emplace_back("model.safetensors");
        }
    }
    std::erase_if(wanted, [&](const std::string& name) { return fs::is_regular_file(snapshot(commit) / name, error); });
    return wanted;
}

void Cache::make_folders(const std::string& commit) const {
    std::error_code error;
    const bool is_new = !fs::exists(root_, error);
    make_cache_folder(folder_ / "blobs");
    make_cache_folder(snapshot(commit));
    make_cache_folder(locks_);
    if (is_new) {
        write_text_file(root_ / "CACHEDIR.TAG", kCacheTag);  // backup programs leave such folders out
    }
}

void Cache::link(const std::string& commit, const RemoteFile& file, bool fresh) const {
    const fs::path pointer = snapshot(commit) / file.name;
    make_cache_folder(pointer.parent_path());
    std::string target = "../../";
    for (const char c : file.name) {
        target += c == '/' ? "../" : "";
    }
    target += "blobs/" + file.etag;
    std::error_code error;
    if (fs::is_symlink(pointer, error) && fs::read_symlink(pointer, error) == target) {
        return;
    }
    fs::remove(pointer, error);
    if (symlinks_) {
        fs::create_symlink(target, pointer, error);
        if (!error || (error == std::errc::file_exists && has_size(pointer, file.size))) {
            return;
        }
    }
    // A file system without links: the file itself stands in the snapshot.
    if (fresh) {
        fs::rename(blob(file), pointer, error);
    } else {
        fs::copy_file(blob(file), pointer, fs::copy_options::overwrite_existing, error);
    }
    if (error) {
        fail(ErrorKind::Output, "cannot create '{}': {}", pointer.string(), error.message());
    }
}

void Cache::set_ref(const std::string& revision, const std::string& commit) const {
    if (revision != commit && commit_of(revision) != commit) {
        replace_text(folder_ / "refs" / revision, commit);
    }
}

void Cache::set_needed(const std::string& commit, const Needed& needed) const {
    try {
        replace_text(folder_ / ".deltavino" / (commit + ".json"), write_needed(needed));
    } catch (const Error&) {
        return;  // the Hub is asked again the next time
    }
}

}  // namespace deltavino::hub
