// Programs that are not compiled, and their kernels, which do nothing. All kernels of all stubs are made from one
// program with one empty kernel; only their names differ, and the layer answers for those.
#pragma once

#include "layer.hpp"

#include <optional>

namespace layer {

// The names of the kernels in a source of the plugin, one a line; empty when it is the source of somebody else.
std::string kernel_names(const std::string& source);

// From now on `handle` is a stub with these kernels (one name a line). Machine code has none that are known.
void make_stub(cl_program handle, cl_context context, cl_device_id device, const std::string& names);
std::optional<std::string> stub_names(cl_program handle);  // none when it is no stub

cl_int create_stub_kernels(cl_program handle, cl_uint room, cl_kernel* kernels, cl_uint* count);
cl_kernel create_stub_kernel(cl_program handle, const std::string& name, cl_int* error);

}  // namespace layer
