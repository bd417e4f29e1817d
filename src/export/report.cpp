#include "export/report.hpp"

#include "base/checked.hpp"
#include "base/file.hpp"
#include "json/document.hpp"

#include <deltavino/version.hpp>

#include <algorithm>

namespace deltavino::exporter {

namespace {

constexpr const char* kReplaced = "replaced";

// By a whole tensor of the adapter.
bool is_replaced(const checkpoint::Checkpoint& checkpoint, const std::string& canonical_name) {
    return checkpoint.adapter() != nullptr && checkpoint.adapter()->replacements().contains(canonical_name);
}

// What the adapter did to a weight; of several parts, to the first that it changed.
std::string adapter_text(const checkpoint::Checkpoint& checkpoint, const graph::WeightJob& job) {
    if (is_replaced(checkpoint, job.canonical_name)) {
        return kReplaced;
    }
    const auto changed = std::find_if(job.sources.begin(), job.sources.end(),
                                      [](const graph::RowSlice& slice) { return slice.tensor->added != nullptr; });
    return changed == job.sources.end() ? std::string() : changed->tensor->added->text();
}

// Small tensors whose values are constants of the graph, widened to float32.
void report_folded(const Artifact& artifact, const checkpoint::Checkpoint& checkpoint,
                   std::vector<TensorReport>& reports) {
    for (const std::string& name : artifact.weights->folded()) {
        const graph::TensorRow& row = artifact.weights->table().require(name);
        const checkpoint::TensorInfo& info = checkpoint.require(name).info;
        const std::uint64_t values = checked_product(row.shape);
        reports.push_back({artifact.name, info.name, std::string(graph::role_name(row.role)), "f32",
                           "small, always float32", 1, values, info.bytes, values * sizeof(float),
                           is_replaced(checkpoint, name) ? kReplaced : "", 0.0});
    }
}

}  // namespace

std::vector<TensorReport> report_tensors(const checkpoint::Checkpoint& checkpoint,
                                         const std::vector<Artifact>& artifacts,
                                         const std::vector<quant::BlockStatistics>& statistics) {
    std::vector<TensorReport> reports;
    for (const Artifact& artifact : artifacts) {
        for (const graph::WeightJob& job : artifact.weights->jobs()) {
            TensorReport report{artifact.name,
                                job.name,
                                std::string(graph::role_name(job.role)),
                                job.storage.text(),
                                job.storage.reason,
                                job.rows,
                                job.columns,
                                0,
                                job.stored_bytes(),
                                adapter_text(checkpoint, job),
                                0.0};
            for (const graph::RowSlice& slice : job.sources) {
                report.bytes_read += slice.bytes(job.columns);
            }
            report.relative_error =
                job.storage.scheme && !statistics.empty() ? statistics[reports.size()].relative_error() : 0.0;
            reports.push_back(std::move(report));
        }
    }
    for (const Artifact& artifact : artifacts) {
        report_folded(artifact, checkpoint, reports);
    }
    return reports;
}

std::vector<ExportSummaryRow> summarise(const std::vector<TensorReport>& tensors) {
    std::vector<ExportSummaryRow> rows;
    std::vector<double> elements;
    for (const TensorReport& tensor : tensors) {
        auto row = std::find_if(rows.begin(), rows.end(), [&](const ExportSummaryRow& r) {
            return r.role == tensor.role && r.storage == tensor.storage;
        });
        if (row == rows.end()) {
            rows.push_back({tensor.role, 0, tensor.storage, 0, 0, 0.0});
            elements.push_back(0.0);
            row = std::prev(rows.end());
        }
        const auto size = static_cast<double>(tensor.rows) * static_cast<double>(tensor.columns);
        double& weight = elements[static_cast<std::size_t>(row - rows.begin())];
        row->relative_error = (row->relative_error * weight + tensor.relative_error * size) / (weight + size);
        weight += size;
        row->tensors += 1;
        row->bytes_read += tensor.bytes_read;
        row->bytes_written += tensor.bytes_written;
    }
    return rows;
}

void write_report(const std::filesystem::path& path, const ExportSummary& summary) {
    Json json{{"deltavino", version()},   {"model_type", summary.model_type}, {"task", summary.task},
              {"recipe", summary.recipe}, {"bytes_read", summary.bytes_read}, {"bytes_written", summary.bytes_written},
              {"tensors", Json::array()}};
    for (const TensorReport& tensor : summary.tensors) {
        json["tensors"].push_back({{"model", tensor.model},
                                   {"name", tensor.name},
                                   {"role", tensor.role},
                                   {"shape", {tensor.rows, tensor.columns}},
                                   {"stored_as", tensor.storage},
                                   {"reason", tensor.reason},
                                   {"bytes_read", tensor.bytes_read},
                                   {"bytes_written", tensor.bytes_written},
                                   {"relative_error", tensor.relative_error}});
        if (!tensor.adapter.empty()) {
            json["tensors"].back()["adapter"] = tensor.adapter;
        }
    }
    write_text_file(path, json.dump(1) + "\n");
}

}  // namespace deltavino::exporter
