// What an export says of its weights: one entry each, one row per kind, and the file of --report.
#pragma once

#include "export/artifact.hpp"

#include <deltavino/export.hpp>

#include <filesystem>
#include <vector>

namespace deltavino::exporter {

// One entry per weight, in the order in which stream_artifacts streamed them, then the small ones that the graphs
// hold as constants of their own. `statistics`: of stream_artifacts; empty when nothing was converted.
std::vector<TensorReport> report_tensors(const checkpoint::Checkpoint& checkpoint,
                                         const std::vector<Artifact>& artifacts,
                                         const std::vector<quant::BlockStatistics>& statistics);

// Weights of one role and storage in one row; the error of a row is weighed by elements.
std::vector<ExportSummaryRow> summarise(const std::vector<TensorReport>& tensors);

void write_report(const std::filesystem::path& path, const ExportSummary& summary);

}  // namespace deltavino::exporter
