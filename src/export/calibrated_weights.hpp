// --calibrate: the 4-bit weights of the language model, quantized by what goes into them on a text.
#pragma once

#include "calibration/text.hpp"
#include "checkpoint/checkpoint.hpp"
#include "checkpoint/config.hpp"
#include "export/weight_stream.hpp"

#include <string>
#include <vector>

namespace deltavino::exporter {

// What a calibration needs of an export.
struct CalibrationRun {
    const checkpoint::Checkpoint& checkpoint;
    const checkpoint::TextConfig& config;
    const calibration::Windows& windows;
    bool tied_head = false;  // the embedding is the head
    unsigned threads = 0;    // 0: one per core
};

// Writes every weight of `weights` that a calibration is for to its places and marks it as written. Returns what was
// done, in sentences. Throws as calibration::calibrate() does.
std::vector<std::string> write_calibrated(const CalibrationRun& run, std::vector<StreamedWeight>& weights,
                                          ProgressSink& progress);

}  // namespace deltavino::exporter
