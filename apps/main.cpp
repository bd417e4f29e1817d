#include "bench_command.hpp"
#include "error_report.hpp"
#include "options.hpp"

#include "base/process.hpp"

#include <deltavino/error.hpp>

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <exception>
#include <system_error>

namespace {

using namespace deltavino;

int report(ErrorKind kind, const std::string& message) {
    const Error error(kind, message);
    app::report_error(error);
    return error.exit_code();
}

// Text that standard output did not take is an error, too.
int lost_output(const std::string& reason) {
    return report(ErrorKind::Output, fmt::format("cannot write to standard output: {}", reason));
}

int run(int argc, char** argv) {
    app::ExportCommand export_command;
    app::GenerateCommand generate_command;
    app::InspectCommand inspect_command;
    app::EvalCommand eval_command;
    app::CheckCommand check_command;
    app::BenchCommand bench_command;
    app::CacheCommand cache_command;
    try {
        return app::run_command_line(
            {app::export_options(export_command), app::generate_options(generate_command),
             app::inspect_options(inspect_command), app::eval_options(eval_command), app::check_options(check_command),
             app::bench_options(bench_command), app::cache_options(cache_command)},
            argc, argv);
    } catch (const Error& error) {
        app::report_error(error);
        return error.exit_code();
    } catch (const std::system_error& error) {
        if (std::ferror(stdout) != 0) {
            return lost_output(error.code().message());
        }
        return report(ErrorKind::Internal, fmt::format("internal: {}", error.what()));
    } catch (const std::exception& error) {
        return report(ErrorKind::Internal, fmt::format("internal: {}", error.what()));
    }
}

}  // namespace

int main(int argc, char** argv) {
    prepare_process();
    app::take_error_format(argc, argv);
    const int code = run(argc, argv);
    errno = 0;
    const bool lost = std::fflush(stdout) != 0 || std::ferror(stdout) != 0;
    if (lost && code != static_cast<int>(ErrorKind::Output)) {
        return lost_output(errno != 0 ? std::generic_category().message(errno) : "a write failed");
    }
    return code;
}
