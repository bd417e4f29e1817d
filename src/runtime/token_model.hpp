// Whether a model makes tokens at all.
#pragma once

#include <openvino/core/model.hpp>

#include <filesystem>

namespace deltavino::runtime {

// Throws ErrorKind::Unsupported for a model of whole texts, without states: one that was exported for embeddings or
// scores.
void require_tokens(const ov::Model& model, const std::filesystem::path& directory);

}  // namespace deltavino::runtime
