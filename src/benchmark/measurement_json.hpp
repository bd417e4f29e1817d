// A measurement as text, from the process that made it to the one that asked for it.
#pragma once

#include <deltavino/bench.hpp>

#include <nlohmann/json.hpp>

#include <string>

namespace deltavino::benchmark {

nlohmann::ordered_json json_of(const Measurement& measurement);

// Throws ErrorKind::Internal when `text` is not what measurement_json() writes.
Measurement measurement_of(const std::string& text);

}  // namespace deltavino::benchmark
