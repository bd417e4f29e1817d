#include "runtime/inference.hpp"

#include "base/error.hpp"

#include <openvino/runtime/exception.hpp>

#include <chrono>
#include <utility>

namespace deltavino::runtime {

void throw_if_stopped(const StopCheck& stop) {
    if (stop && stop()) {
        fail(ErrorKind::Cancelled, "stopped");
    }
}

void infer(ov::InferRequest& request, const StopCheck& stop) {
    if (!stop) {
        request.infer();
        return;
    }
    request.start_async();
    constexpr std::chrono::milliseconds kInterval(50);
    try {
        while (!stop()) {
            if (request.wait_for(kInterval)) {
                request.wait();  // throws what went wrong in it
                return;
            }
        }
        request.cancel();
        request.wait();
    } catch (const ov::Cancelled&) {
    } catch (...) {
        try {
            request.wait();  // `stop` threw: the request still reads the caller's memory
        } catch (...) {
        }
        throw;
    }
    fail(ErrorKind::Cancelled, "stopped");
}

StoppableRequest::StoppableRequest(Make make) : make_(std::move(make)), request_(make_()) {}

void StoppableRequest::renew() {
    if (stopped_) {
        request_ = {};  // its model goes before the new one comes
        request_ = make_();
        stopped_ = false;
    }
}

void StoppableRequest::infer(const StopCheck& stop) {
    try {
        runtime::infer(request_, stop);
    } catch (...) {
        stopped_ = true;
        throw;
    }
}

}  // namespace deltavino::runtime
