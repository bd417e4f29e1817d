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
// operations) and ErrorKind::Cancelled is thrown. The request and its model are not to be run again then: the CPU
// plugin takes the shapes of some operations for those of the inference before, and the next one fails or worse.
void infer(ov::InferRequest& request, const StopCheck& stop);

// A request that goes on after it was stopped, with its model compiled again.
class StoppableRequest {
public:
    using Make = std::function<ov::InferRequest()>;

    // `make` compiles the model; it is called now and by renew().
    explicit StoppableRequest(Make make);

    ov::InferRequest& operator*() { return request_; }
    ov::InferRequest* operator->() { return &request_; }

    // As infer() above. What it throws leaves the states undefined, and renew() has to come before the next inference.
    void infer(const StopCheck& stop);

    // Does nothing unless infer() has thrown; else a new request, whose inputs and states have to be set.
    void renew();

private:
    Make make_;
    ov::InferRequest request_;
    bool stopped_ = false;
};

}  // namespace deltavino::runtime
