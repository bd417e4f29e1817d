// The boundary to OpenVINO: its exceptions leave the runtime as Errors that say what was being done.
#pragma once

#include "base/error.hpp"
#include "base/text.hpp"

#include <openvino/core/except.hpp>

#include <new>
#include <string_view>
#include <utility>

namespace deltavino::runtime {

// Runs `call`; an exception of OpenVINO becomes an Error "cannot <action>: <its text>".
template <typename Call>
decltype(auto) openvino_call(ErrorKind kind, std::string_view action, Call&& call) {
    try {
        return std::forward<Call>(call)();
    } catch (const Error&) {
        throw;
    } catch (const ov::Exception& error) {
        fail(kind, "cannot {}: {}", action, one_line(error.what()));
    } catch (const std::bad_alloc&) {
        fail(ErrorKind::Input, "cannot {}: there is not enough memory", action);
    }
}

}  // namespace deltavino::runtime
