// A whole checkpoint, as `inspect` reads it, and the rows of its quantized weights.
#include "checkpoint/checkpoint.hpp"
#include "checkpoint/config.hpp"
#include "checkpoint/rows/row_reader.hpp"
#include "fuzz/harness.hpp"
#include "models/plan.hpp"

#include <deltavino/inspect.hpp>

#include <algorithm>

using namespace deltavino;

namespace {

void read_rows(const checkpoint::Checkpoint& checkpoint, const std::optional<checkpoint::Quantization>& quantization,
               const graph::TensorRow& row) {
    const checkpoint::RowLookup found = checkpoint::find_rows(checkpoint, quantization, row.name, row.shape);
    if (!found.source || !found.problems.empty() || !found.unsupported.empty()) {
        return;
    }
    const checkpoint::RowSource& source = *found.source;
    constexpr std::uint64_t kMost = 1u << 16;
    const std::uint64_t rows = std::min<std::uint64_t>(source.rows, 5);
    if (source.columns > kMost) {
        return;
    }
    std::vector<float> values(rows * source.columns);
    checkpoint::RowReader reader;
    reader.load(source, source.rows - rows, rows);
    reader.floats(0, values);
    if (!source.float8) {
        checkpoint::inspect_codes(source);
    }
}

}  // namespace

void fuzz_one(std::string_view input) {
    const fuzz::Folder& folder = fuzz::input_folder();
    fuzz::unpack(folder, input, "config.json");
    fuzz::expect_error_at_most([&] { inspect(folder.path()); });
    fuzz::expect_error_at_most([&] {
        const checkpoint::Checkpoint checkpoint(folder.path());
        const auto quantization = checkpoint::read_quantization(checkpoint.config_text(), folder.path());
        const models::Plan plan = models::make_plan(checkpoint);
        for (const graph::TensorRow& row : plan.table.rows()) {
            read_rows(checkpoint, quantization, row);
        }
    });
}
