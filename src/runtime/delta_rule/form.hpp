// What computes a value, as text, to tell one form of a graph from another.
#pragma once

#include <openvino/core/node.hpp>

#include <map>
#include <string>

namespace deltavino::runtime {

// Values that are told by these names, and not by what computes them.
using FormNames = std::map<ov::Output<ov::Node>, std::string>;

// "Add(Multiply(x, y), 1)": operations by their types, constants of up to 8 values by their values and longer ones
// as "_". Beyond 32 operations in a row: "...".
std::string form_of(const ov::Output<ov::Node>& value, const FormNames& names);

}  // namespace deltavino::runtime
