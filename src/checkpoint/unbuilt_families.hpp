// Model types near to the family that this program does not build, and why.
#pragma once

#include <string_view>

namespace deltavino::checkpoint {

// What the architecture has that is not built; empty for a type that is not in the list.
std::string_view why_not_built(std::string_view model_type);

}  // namespace deltavino::checkpoint
