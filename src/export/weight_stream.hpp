// Moves weights from the checkpoint's shards into the .bin files: positioned reads, conversion and
// positioned writes on all cores, in buffers of fixed size. Peak memory does not depend on the model.
#pragma once

#include "base/file.hpp"
#include "graph/weights.hpp"

#include <deltavino/progress.hpp>

#include <cstdint>
#include <vector>

namespace deltavino::exporter {

// One job and where its bytes go.
struct StreamedWeight {
    const graph::WeightJob* job = nullptr;
    OutputFile* file = nullptr;
    std::uint64_t offset = 0;
};

struct StreamOptions {
    unsigned threads = 0;  // 0: one per core
    bool allow_nonfinite = false;
};

// Throws ErrorKind::Input for values that are not finite or do not fit the storage type (naming the
// tensor), ErrorKind::Cancelled when the sink asks to stop.
void stream_weights(const std::vector<StreamedWeight>& weights, const StreamOptions& options, ProgressSink& progress);

}  // namespace deltavino::exporter
