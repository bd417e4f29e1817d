// Moves weights from the checkpoint's shards into the .bin files: positioned reads, conversion and
// positioned writes on all cores, in buffers of fixed size. Peak memory does not depend on the model.
#pragma once

#include "base/byte_sink.hpp"
#include "graph/weights.hpp"
#include "quant/quantize.hpp"

#include <deltavino/progress.hpp>

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

namespace deltavino::exporter {

// Where the bytes of a weight's constants go.
struct Placement {
    ByteSink* file = nullptr;
    std::uint64_t values_offset = 0;
    std::uint64_t zero_points_offset = 0;
    std::uint64_t scales_offset = 0;
};

// One job, read and converted once, and every place that wants its bytes: a tied embedding is in two files.
struct StreamedWeight {
    const graph::WeightJob* job = nullptr;
    std::vector<Placement> placements;
    // Its bytes are at all places already; what was lost.
    std::optional<quant::BlockStatistics> written = {};
};

// Stored rows [first_row, ...) of a compressed weight to all of its places. 4-bit zero points must begin at a byte.
void write_rows(const StreamedWeight& weight, const quant::QuantizedRows& rows, std::uint64_t first_row);

struct StreamOptions {
    unsigned threads = 0;  // 0: one per core
    bool allow_nonfinite = false;
    quant::Search search = quant::Search::LeastError;
};

// Throws ErrorKind::Input for values that are not finite or do not fit the storage type (naming the
// tensor), ErrorKind::Cancelled when the sink asks to stop. `beside` runs on one of the threads meanwhile,
// first of all; what it throws ends the work as well.
//
// Returns the error of compression of each weight, in the order of `weights`.
std::vector<quant::BlockStatistics> stream_weights(const std::vector<StreamedWeight>& weights,
                                                   const StreamOptions& options, ProgressSink& progress,
                                                   const std::function<void()>& beside = {});

// How long stream_weights will take: converts parts from all over the weights for `budget` seconds or so. With
// placements in a NullSink nothing is written, and writing is left out of the time. Throws as stream_weights does.
double estimate_seconds(const std::vector<StreamedWeight>& weights, const StreamOptions& options, double budget);

}  // namespace deltavino::exporter
