// Where the shared libraries of this process were loaded from.
#pragma once

#include <filesystem>

namespace deltavino {

// The file of the shared library (or program) that holds `address`; empty when the system cannot tell.
std::filesystem::path library_of(const void* address);

}  // namespace deltavino
