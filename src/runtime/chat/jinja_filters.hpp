// The filters, in two halves: those of single values and those of sequences.
#pragma once

#include "runtime/chat/jinja_interpreter.hpp"

#include <map>
#include <string_view>

namespace deltavino::runtime::jinja {

using Filter = Value (*)(Interpreter&, Value, Arguments);
using FilterTable = std::map<std::string_view, Filter>;

const FilterTable& value_filters();
const FilterTable& sequence_filters();

}  // namespace deltavino::runtime::jinja
