#include "runtime/inference.hpp"

#include "base/error.hpp"

#include <openvino/runtime/exception.hpp>

#include <chrono>

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

}  // namespace deltavino::runtime
