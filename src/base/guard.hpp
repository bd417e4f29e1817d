// The outer wall of the library: whatever is thrown below a public function leaves it as an Error.
#pragma once

#include "base/error.hpp"

#include <exception>
#include <filesystem>
#include <new>
#include <string_view>
#include <utility>

namespace deltavino {

// Runs `call` and returns what it returns. An Error passes; any other exception becomes an Error
// "<what>: <its text>", `what` being for example "cannot generate":
//   no memory                   ErrorKind::Input
//   a path that cannot be used  ErrorKind::Input
//   anything else               ErrorKind::Internal, since it should have been an Error where it arose
template <typename Call>
decltype(auto) guarded(std::string_view what, Call&& call) {
    try {
        return std::forward<Call>(call)();
    } catch (const Error&) {
        throw;
    } catch (const std::bad_alloc&) {
        fail(ErrorKind::Input, "{}: there is not enough memory", what);
    } catch (const std::filesystem::filesystem_error& error) {
        fail(ErrorKind::Input, "{}: '{}': {}", what, error.path1().string(), error.code().message());
    } catch (const std::exception& error) {
        fail(ErrorKind::Internal, "{}: {}", what, error.what());
    } catch (...) {
        fail(ErrorKind::Internal, "{}: an exception of an unknown type", what);
    }
}

}  // namespace deltavino
