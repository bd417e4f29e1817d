// One repository in the cache of huggingface_hub, which other tools use at the same time:
//
//     models--OWNER--NAME/refs/REVISION              the commit of a branch or tag
//     models--OWNER--NAME/blobs/ETAG                 the bytes of a file, named by their hash
//     models--OWNER--NAME/snapshots/COMMIT/NAME      a relative link to its blob
//     models--OWNER--NAME/trees/COMMIT.json          all files of the commit, as huggingface_hub 1.x notes them
//     models--OWNER--NAME/.deltavino/COMMIT.json     the files of the commit that an export needs (ours)
//     .locks/models--OWNER--NAME/ETAG.lock           locked while the blob is written
#pragma once

#include "hub/listing.hpp"
#include "hub/settings.hpp"

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace deltavino::hub {

class Cache {
public:
    Cache(const Settings& settings, const std::string& repository);

    const std::filesystem::path& folder() const { return folder_; }
    std::filesystem::path snapshot(const std::string& commit) const { return folder_ / "snapshots" / commit; }
    std::filesystem::path blob(const RemoteFile& file) const { return folder_ / "blobs" / file.etag; }
    std::filesystem::path lock(const RemoteFile& file) const { return locks_ / (file.etag + ".lock"); }

    // The commit that a branch or tag had when it was last looked up; a commit is its own.
    std::optional<std::string> commit_of(const std::string& revision) const;
    // Whether the snapshot has the file, and with this many bytes.
    bool holds(const std::string& commit, const std::string& name, std::uint64_t bytes) const;
    bool holds_blob(const RemoteFile& file) const;
    // A small file of the snapshot; nothing when it is not there.
    std::optional<std::string> text(const std::string& commit, const std::string& name) const;

    // Names of the files that an export needs and the snapshot lacks; nothing when it is not known what the
    // commit holds.
    std::optional<std::vector<std::string>> missing(const std::string& commit) const;
    // The same of a listing.
    std::vector<std::string> missing(const std::string& commit, const Listing& listing) const;
    // Without any listing: what an export cannot do without and the snapshot lacks.
    std::vector<std::string> missing_essentials(const std::string& commit) const;

    // Makes the folders that a download writes to; throws ErrorKind::Output.
    void make_folders(const std::string& commit) const;
    // Puts the blob into the snapshot; `fresh`: nothing else uses the blob yet.
    void link(const std::string& commit, const RemoteFile& file, bool fresh) const;
    void set_ref(const std::string& revision, const std::string& commit) const;
    // A cache that cannot be written to is left as it is.
    void set_needed(const std::string& commit, const Needed& needed) const;

private:
    std::optional<Needed> needed(const std::string& commit) const;

    std::string repository_;
    std::filesystem::path root_;
    std::filesystem::path folder_;
    std::filesystem::path locks_;
    bool symlinks_ = true;
};

}  // namespace deltavino::hub
