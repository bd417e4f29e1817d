// Pages of files that the process has mapped.
#pragma once

#include <cstddef>
#include <span>

namespace deltavino {

// Gives back the memory of whole pages in `range` that are those of a file and cannot be written: whoever reads them
// again gets them from the file. All else in `range` stays as it is.
void give_back_file_pages(std::span<const std::byte> range);

}  // namespace deltavino
