// What consumers of an exported directory rely on, checked without running a prompt.
#pragma once

#include "evaluate/directory_model.hpp"

#include <deltavino/check.hpp>

#include <openvino/runtime/core.hpp>

#include <filesystem>
#include <vector>

namespace deltavino::evaluation {

// Files, inputs and outputs, states and their initialisers, the end of the graph, rt_info.
std::vector<CheckItem> check_files(const std::filesystem::path& directory);
std::vector<CheckItem> check_graph(const DirectoryModel& model);

// The two tokenizer models against a tokenizer.json: every token (or some thousands, of many) decodes to its
// text, and the text of single tokens encodes to them.
std::vector<CheckItem> check_tokenizer(ov::Core& core, const std::filesystem::path& directory,
                                       const std::filesystem::path& tokenizer_json);

}  // namespace deltavino::evaluation
