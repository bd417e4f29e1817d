// What tells whether an export can be used again: which checkpoint, which recipe, which program.
//
// The weights are not hashed: that takes longer than to export them. Files of a Hub snapshot are links to blobs that
// are named by the hash of their bytes, so the commit and those names say all, wherever the cache lies and whenever
// it was downloaded. Any other file is told by its path, its size, and when it was written and last changed: the
// second cannot be set back by copying or unpacking programs, as the first is.
#pragma once

#include "json/document.hpp"

#include <deltavino/cache.hpp>

#include <filesystem>
#include <string>

namespace deltavino::cache {

// The files of a folder with a checkpoint or an adapter that an export reads. Throws ErrorKind::Input when it cannot be
// looked into.
Json checkpoint_identity(const std::filesystem::path& checkpoint);

// "acme/model@0123456789ab" of a Hub snapshot, else the folder's path.
std::string source_text(const Json& checkpoint_identity);

// Everything that decides the bytes of the export.
Json export_identity(const Json& checkpoint_identity, const CachedExport& wanted);

// The name of the entry: "kjv-tiny-int4-0123456789ab", the last part being of the identity's SHA-256.
std::string key_of(const Json& identity);

}  // namespace deltavino::cache
