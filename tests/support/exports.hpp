// Exports that tests of text models are made from.
#pragma once

#include <deltavino/export.hpp>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace deltavino::test {

CompressionOptions compression(std::string format, bool sym = false, std::optional<std::int64_t> group = {},
                               bool all_layers = false);
CompressionOptions recipe(std::string name);

// The language model of `checkpoint` alone, without a tokenizer, in the directory `output`. Returns its .xml.
std::filesystem::path export_language(const std::filesystem::path& checkpoint, const std::filesystem::path& output,
                                      const CompressionOptions& compression = {});

}  // namespace deltavino::test
