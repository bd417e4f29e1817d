// One inference that the user can stop.
#pragma once

#include <openvino/runtime/infer_request.hpp>

#include <functional>

namespace deltavino::runtime {

// Asked again and again during long work, from the calling thread: true stops it. May be empty.
using StopCheck = std::function<bool()>;

// Throws ErrorKind::Cancelled when `stop` says so.
void throw_if_stopped(const StopCheck& stop);

// Runs `request`; when `stop` becomes true the device is told to give up (the CPU does between two
// operations) and ErrorKind::Cancelled is thrown. The states of the request are undefined then: they
// have to be set or reset.
void infer(ov::InferRequest& request, const StopCheck& stop);

}  // namespace deltavino::runtime
