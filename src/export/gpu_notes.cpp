#include "export/gpu_notes.hpp"

#include <optional>

namespace deltavino::exporter {
namespace {

struct Kinds {
    std::optional<std::string> float_experts;  // the type of experts that are not compressed
    bool compressed_experts = false;
    std::optional<std::string> widened;  // nf4 or mxfp4
};

void look_at(const graph::WeightJob& job, Kinds& kinds) {
    if (job.role == graph::Role::Expert) {
        kinds.compressed_experts = kinds.compressed_experts || job.storage.scheme.has_value();
        if (!job.storage.scheme) {
            kinds.float_experts = job.storage.text();
        }
    } else if (job.storage.scheme && !quant::traits(job.storage.scheme->format).integer) {
        kinds.widened = std::string(quant::traits(job.storage.scheme->format).name);
    }
}

}  // namespace

std::vector<std::string> gpu_notes(const std::vector<Artifact>& artifacts) {
    Kinds kinds;
    for (const Artifact& artifact : artifacts) {
        for (const graph::WeightJob& job : artifact.weights->jobs()) {
            look_at(job, kinds);
        }
    }
    std::vector<std::string> notes;
    if (kinds.float_experts) {
        notes.push_back(
            fmt::format("on GPUs every expert runs for every token, because they are stored as {}: use --weight-format "
                        "int4 or int8",
                        *kinds.float_experts));
    } else if (kinds.compressed_experts) {
        notes.push_back(
            "on GPUs without a matrix engine (Iris Xe, Meteor Lake) every expert runs for every token, widened to f16: "
            "use the CPU there");
    }
    if (kinds.widened) {
        notes.push_back(
            fmt::format("on GPUs {} weights are widened to f16 when the model is loaded: use --weight-format int4",
                        *kinds.widened));
    }
    return notes;
}

}  // namespace deltavino::exporter
