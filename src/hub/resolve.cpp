// From what the user wrote to a folder: a local one, one of the cache, or a download.
//
// What the cache holds whole is used without a request. Where it is not known whether a snapshot is whole (another
// tool made it and kept no listing), the Hub is asked once for the listing of that very commit.
#include "base/error.hpp"
#include "base/file.hpp"
#include "hub/api.hpp"
#include "hub/cache.hpp"
#include "hub/download.hpp"

#include <deltavino/hub.hpp>

#include <fmt/ranges.h>

#include <algorithm>

namespace deltavino {
namespace {

namespace fs = std::filesystem;
using hub::Cache;
using hub::Listing;
using hub::Repository;
using hub::Settings;

std::string listed(const std::vector<std::string>& names) {
    constexpr std::size_t kShown = 5;
    const std::size_t shown = std::min(names.size(), kShown);
    return fmt::format("'{}'{}", fmt::join(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(shown), "', '"),
                       names.size() > shown ? fmt::format(" and {} more", names.size() - shown) : "");
}

// "a folder of this name" rather than an id: what the shell or the user means as a path.
bool is_meant_as_path(const std::string& model) {
    return model.empty() || model.front() == '/' || model.front() == '.' || model.front() == '~' ||
           model.back() == '/' ||
           std::count(model.begin(),
                      model.begin() + static_cast<std::ptrdiff_t>(std::min(model.find('@'), model.size())), '/') != 1;
}

class Resolver {
public:
    Resolver(Settings settings, Repository repository, ProgressSink& progress)
        : settings_(std::move(settings)),
          repository_(std::move(repository)),
          cache_(settings_, repository_.id),
          progress_(progress),
          monitor_{[&progress] { return progress.cancelled(); },
                   [&progress](const std::string& sentence) { progress.note(sentence); }} {}

    fs::path run() {
        const std::optional<std::string> commit = cache_.commit_of(repository_.revision);
        std::error_code error;
        const bool there = commit.has_value() && fs::is_directory(cache_.snapshot(*commit), error);
        const auto missing = there ? cache_.missing(*commit) : std::nullopt;
        if (missing.has_value() && missing->empty()) {
            return use(*commit);
        }
        if (settings_.offline) {
            return without_network(commit, there, missing,
                                   fmt::format("HF_HUB_OFFLINE is set, and the cache '{}'", settings_.cache.string()));
        }
        // Whether the snapshot will do when the Hub does not answer.
        const bool enough = there && !missing.has_value() && cache_.missing_essentials(*commit).empty();
        try {
            if (enough && is_whole(*commit)) {
                return use(*commit);
            }
            return fetch(enough ? 0 : 4);
        } catch (const Error& failure) {
            if (!enough || failure.kind() != ErrorKind::Network) {
                throw;
            }
            progress_.note(fmt::format("{}; used what the cache holds of it, which may lack a file", failure.what()));
            return use(*commit);
        }
    }

private:
    fs::path use(const std::string& commit) {
        if (commit != repository_.revision) {
            progress_.note(fmt::format("'{}' is commit {} of the cache", repository_.id, commit.substr(0, 12)));
        }
        return cache_.snapshot(commit);
    }

    fs::path without_network(const std::optional<std::string>& commit, bool there,
                             const std::optional<std::vector<std::string>>& missing, const std::string& why) {
        if (!there) {
            fail(ErrorKind::Network, "cannot read '{}': {} does not hold its revision '{}'", repository_.id, why,
                 repository_.revision);
        }
        const std::vector<std::string> names = missing.value_or(cache_.missing_essentials(*commit));
        if (!names.empty()) {
            fail(ErrorKind::Network, "cannot read '{}': {} lacks {} of it", repository_.id, why, listed(names));
        }
        return use(*commit);
    }

    // Asks the Hub whether the snapshot of `commit` has all that is needed.
    bool is_whole(const std::string& commit) {
        hub::Api api(settings_, repository_, monitor_, 0);
        const Listing listing = api.files(commit);
        if (!cache_.missing(commit, listing).empty()) {
            return false;
        }
        remember(commit, listing);
        return true;
    }

    void remember(const std::string& commit, const Listing& listing) {
        hub::Needed needed;
        for (const Listing& files : {hub::side_files(listing), weights(commit, listing)}) {
            for (const hub::RemoteFile& file : files) {
                needed[file.name] = file.size;
            }
        }
        cache_.set_needed(commit, needed);
    }

    Listing weights(const std::string& commit, const Listing& listing) const {
        const bool indexed = hub::find_file(listing, hub::kIndexFile) != nullptr;
        return hub::weight_files(listing, indexed ? cache_.text(commit, hub::kIndexFile) : std::nullopt,
                                 repository_.id);
    }

    fs::path fetch(int retries) {
        hub::Api api(settings_, repository_, monitor_, retries);
        const std::string commit = api.commit();
        const Listing listing = api.files(commit);
        hub::require_checkpoint(listing, repository_.id);
        const hub::Job job{settings_, repository_, cache_, commit};
        if (const hub::RemoteFile* index = hub::find_file(listing, hub::kIndexFile)) {
            download_missing(job, {*index});
        }
        Listing files = hub::side_files(listing);
        const Listing shards = weights(commit, listing);
        files.insert(files.end(), shards.begin(), shards.end());
        download_missing(job, files);
        cache_.set_ref(repository_.revision, commit);
        remember(commit, listing);
        return cache_.snapshot(commit);
    }

    void download_missing(const hub::Job& job, Listing files) {
        std::erase_if(files,
                      [&](const hub::RemoteFile& file) { return cache_.holds(job.commit, file.name, file.size); });
        if (!files.empty()) {
            hub::download(job, std::move(files), progress_);
        }
    }

    Settings settings_;
    Repository repository_;
    Cache cache_;
    ProgressSink& progress_;
    hub::Monitor monitor_;
};

}  // namespace

fs::path resolve_checkpoint(const std::string& model, const HubOptions& options, ProgressSink& progress) {
    if (is_meant_as_path(model) || is_there(model)) {
        return model;  // whoever reads it says what is wrong with it
    }
    Repository repository = hub::parse_repository(model, options.revision);
    Resolver resolver(hub::read_settings(hub::process_environment, options), std::move(repository), progress);
    return resolver.run();
}

}  // namespace deltavino
