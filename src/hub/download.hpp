// Files of one commit, from the Hub into the cache: in parallel, resumed, verified.
#pragma once

#include "hub/api.hpp"
#include "hub/cache.hpp"

#include <deltavino/progress.hpp>

namespace deltavino::hub {

struct Job {
    const Settings& settings;
    const Repository& repository;
    const Cache& cache;
    std::string commit;
};

// Afterwards all `files` stand in the snapshot. Throws ErrorKind::Network, ErrorKind::Output (also, before
// anything is asked for, when they do not fit on the disk) or ErrorKind::Cancelled; what was downloaded of a file
// stays in the cache for the next time, unless it is damaged.
void download(const Job& job, Listing files, ProgressSink& progress);

}  // namespace deltavino::hub
