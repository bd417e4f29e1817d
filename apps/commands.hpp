// The program's commands. Each prints its result to standard output and returns the exit code.
#pragma once

#include <deltavino/export.hpp>

#include <filesystem>

namespace deltavino::app {

int run_export(const ExportOptions& options);
int run_inspect(const std::filesystem::path& path, bool json);

}  // namespace deltavino::app
