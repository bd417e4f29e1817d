// The files of a repository at one commit, and which of them an export needs.
#pragma once

#include "hub/digest.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace deltavino::hub {

struct RemoteFile {
    std::string name;  // relative, with '/'
    std::uint64_t size = 0;
    std::string etag;  // the name of its blob, and its hash
    DigestKind digest = DigestKind::GitBlob;
};

inline constexpr const char* kConfigFile = "config.json";
inline constexpr const char* kIndexFile = "model.safetensors.index.json";

using Listing = std::vector<RemoteFile>;

// One page of `/api/models/ID/tree/COMMIT`, added to `listing`. Throws ErrorKind::Input for anything that is
// not one, and for file names that leave the folder.
void add_tree_page(Listing& listing, std::string_view json, const std::string& repository);

// The commit in `/api/models/ID/revision/REVISION`.
std::string commit_of_revision(std::string_view json, const std::string& repository);

// The listing that huggingface_hub keeps beside a snapshot (`trees/COMMIT.json`); nothing when it is in a
// form that is not known.
std::optional<Listing> read_tree_file(std::string_view json, const std::string& repository);

const RemoteFile* find_file(const Listing& listing, std::string_view name);

// Configuration, tokenizer and templates: everything but weights.
Listing side_files(const Listing& listing);

// The safetensors files that `index` (the text of model.safetensors.index.json) names; without an index
// model.safetensors, else all others in the main folder. Throws ErrorKind::Input when the index names what the
// repository does not have.
Listing weight_files(const Listing& listing, const std::optional<std::string>& index, const std::string& repository);

// The shards that an index names. Throws ErrorKind::Input when it is not one.
std::vector<std::string> shards_of_index(const std::string& index, const std::string& where);

// Throws when no export can come of it, before anything is downloaded: no config.json (ErrorKind::Input), a LoRA
// adapter, no safetensors (ErrorKind::Unsupported).
void require_checkpoint(const Listing& listing, const std::string& repository);

// What was needed of a commit, kept beside its snapshot so that the Hub need not be asked again: name -> size.
using Needed = std::map<std::string, std::uint64_t>;
std::string write_needed(const Needed& needed);
std::optional<Needed> read_needed(std::string_view json);

}  // namespace deltavino::hub
