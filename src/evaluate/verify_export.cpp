// The policy of `export --verify`: how much is read, and what becomes of an export that is wrong.
#include <deltavino/check.hpp>

#include "base/error.hpp"

namespace deltavino {

std::string verify_export(const std::filesystem::path& directory, const ExportOptions& options,
                          ProgressSink& progress) {
    constexpr std::size_t kTokens = 64;
    CheckOptions wanted;
    wanted.model = directory;
    wanted.against = options.model;
    wanted.tokens = kTokens;
    wanted.threads = options.threads;
    const CheckReport report = check(wanted, progress);
    if (!report.good) {
        fail(ErrorKind::Internal, "cannot export '{}': the result was checked and found wrong: {}",
             options.model.string(), report.verdict);
    }
    return report.verdict;
}

}  // namespace deltavino
