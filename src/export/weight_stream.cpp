#include "export/weight_stream.hpp"

#include "base/checked.hpp"
#include "base/error.hpp"
#include "quant/convert.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <exception>
#include <mutex>
#include <thread>

namespace deltavino::exporter {
namespace {

// Source bytes that one task reads: few enough to stay in a core's cache between reading and writing, which
// halves the time in the kernel against 4 MiB.
constexpr std::uint64_t kTaskBytes = 1u << 20;

// Some neighbouring rows of one weight.
struct Task {
    const StreamedWeight* weight = nullptr;
    graph::RowSlice slice;
    std::uint64_t first_row = 0;  // of the weight
};

std::uint64_t task_bytes(const Task& task) {
    return task.slice.bytes(task.weight->job->columns);
}

std::vector<Task> make_tasks(const std::vector<StreamedWeight>& weights) {
    std::vector<Task> tasks;
    for (const StreamedWeight& weight : weights) {
        std::uint64_t row = 0;
        for (const graph::RowSlice& source : weight.job->sources) {
            // An even number of rows, so that 4-bit zero points of a task start on a byte.
            const std::uint64_t rows_at_once = std::max<std::uint64_t>(
                2, kTaskBytes / std::max<std::uint64_t>(1, source.row_bytes(weight.job->columns)) / 2 * 2);
            for (std::uint64_t done = 0; done < source.rows; done += rows_at_once) {
                const std::uint64_t rows = std::min(rows_at_once, source.rows - done);
                tasks.push_back({&weight, {source.tensor, source.first_row + done, rows}, row + done});
            }
            row += source.rows;
        }
    }
    return tasks;
}

quant::SourceType source_type(ov::element::Type type) {
    return type == ov::element::f32   ? quant::SourceType::F32
           : type == ov::element::f16 ? quant::SourceType::F16
                                      : quant::SourceType::BF16;
}

// Whether any value is NaN or infinite: all bits of the exponent set.
template <typename Bits>
bool any_nonfinite(std::span<const std::byte> values, Bits exponent) {
    unsigned found = 0;
    for (std::size_t i = 0; i + sizeof(Bits) <= values.size(); i += sizeof(Bits)) {
        Bits bits;
        std::memcpy(&bits, values.data() + i, sizeof(Bits));
        found |= (bits & exponent) == exponent ? 1u : 0u;
    }
    return found != 0;
}

bool any_nonfinite(std::span<const std::byte> values, quant::SourceType type) {
    switch (type) {
        case quant::SourceType::F32: return any_nonfinite<std::uint32_t>(values, 0x7f800000u);
        case quant::SourceType::BF16: return any_nonfinite<std::uint16_t>(values, 0x7f80u);
        case quant::SourceType::F16: return any_nonfinite<std::uint16_t>(values, 0x7c00u);
    }
    return true;
}

// One thread's buffers.
class Worker {
public:
    explicit Worker(const StreamOptions& options) : options_(options) {}

    // Returns the error of compression; nothing is lost by the plain types.
    quant::BlockStatistics run(const Task& task) {
        const graph::WeightJob& job = *task.weight->job;
        const checkpoint::TensorInfo& info = task.slice.tensor->info;
        source_.resize(static_cast<std::size_t>(task_bytes(task)));
        task.slice.tensor->file->read(info.offset + task.slice.first_row * task.slice.row_bytes(job.columns), source_);
        if (job.storage.scheme) {
            return compress(task);
        }
        store_plain(task);
        return {};
    }

private:
    void require_finite(const Task& task, bool nonfinite) const {
        if (nonfinite && !options_.allow_nonfinite) {
            fail(ErrorKind::Input,
                 "cannot export tensor '{}' in '{}': it holds NaN or infinity (--allow-nonfinite exports it all the "
                 "same)",
                 task.slice.tensor->info.name, task.slice.tensor->file->path().string());
        }
    }

    void store_plain(const Task& task) {
        const graph::WeightJob& job = *task.weight->job;
        const checkpoint::TensorInfo& info = task.slice.tensor->info;
        const quant::SourceType from = graph::source_type(info.dtype);
        const quant::SourceType to = source_type(job.storage.type);
        require_finite(task, any_nonfinite(source_, from));
        const std::uint64_t stored_row = checked_multiply(job.columns, quant::source_bytes(to));
        std::span<const std::byte> bytes = source_;
        if (from != to) {
            values_.resize(static_cast<std::size_t>(job.columns * task.slice.rows));
            quant::widen(from, source_, values_);
            stored_.resize(static_cast<std::size_t>(stored_row * task.slice.rows));
            if (quant::narrow(to, values_, stored_) > 0) {
                fail(ErrorKind::Input,
                     "cannot export tensor '{}' in '{}' as {}: it holds values that do not fit (--weight-format bf16 "
                     "or fp32 keeps them)",
                     info.name, task.slice.tensor->file->path().string(), job.storage.type.get_type_name());
            }
            bytes = stored_;
        }
        for (const Placement& place : task.weight->placements) {
            place.file->write(place.values_offset + task.first_row * stored_row, bytes);
        }
    }

    quant::BlockStatistics compress(const Task& task) {
        const graph::WeightJob& job = *task.weight->job;
        const quant::Scheme& scheme = *job.storage.scheme;
        const quant::StorageBytes before = quant::storage_bytes(scheme, task.first_row, job.columns);
        const quant::QuantizedRows rows = buffers_.resized(scheme, task.slice.rows, job.columns);
        const quant::RowBlock block{source_.data(), graph::source_type(task.slice.tensor->info.dtype), task.slice.rows,
                                    job.columns, job.rows * job.columns < quant::kNncfSmallWeight};
        const quant::BlockStatistics statistics =
            quant::quantize_rows(scheme, options_.search, block, task.weight->importance, rows);
        require_finite(task, statistics.nonfinite > 0);
        for (const Placement& place : task.weight->placements) {
            place.file->write(place.values_offset + before.packed, rows.packed);
            if (!rows.zero_points.empty()) {
                place.file->write(place.zero_points_offset + before.zero_points, rows.zero_points);
            }
            place.file->write(place.scales_offset + before.scales, rows.scales);
        }
        return statistics;
    }

    StreamOptions options_;
    std::vector<std::byte> source_;
    std::vector<float> values_;
    std::vector<std::byte> stored_;
    quant::QuantizedBuffers buffers_;
};

}  // namespace

std::vector<quant::BlockStatistics> stream_weights(const std::vector<StreamedWeight>& weights,
                                                   const StreamOptions& options, ProgressSink& progress,
                                                   const std::function<void()>& beside) {
    const std::vector<Task> tasks = make_tasks(weights);
    std::uint64_t total = 0;
    for (const Task& task : tasks) {
        total += task_bytes(task);
    }
    std::atomic<std::size_t> next{0};
    std::atomic<std::uint64_t> done{0};
    std::atomic<bool> stop{false};
    std::atomic<unsigned> running{0};
    std::exception_ptr failure;
    std::vector<quant::BlockStatistics> statistics(weights.size());
    std::mutex mutex;
    std::atomic<bool> beside_taken{beside == nullptr};

    const auto work = [&] {
        try {
            if (!beside_taken.exchange(true)) {
                beside();
            }
            Worker worker(options);
            for (std::size_t i = next++; i < tasks.size() && !stop; i = next++) {
                const quant::BlockStatistics block = worker.run(tasks[i]);
                done += task_bytes(tasks[i]);
                if (tasks[i].weight->job->storage.scheme) {
                    const std::lock_guard lock(mutex);
                    statistics[static_cast<std::size_t>(tasks[i].weight - weights.data())].merge(block);
                }
            }
        } catch (...) {
            const std::lock_guard lock(mutex);
            failure = failure ? failure : std::current_exception();
            stop = true;
        }
        --running;
    };
    const unsigned wanted = options.threads > 0 ? options.threads : std::max(1u, std::thread::hardware_concurrency());
    const auto count = static_cast<unsigned>(std::min<std::size_t>(wanted, std::max<std::size_t>(1, tasks.size())));
    running = count;
    bool cancelled = progress.cancelled();
    stop = cancelled;
    {
        std::vector<std::jthread> threads;
        for (unsigned i = 0; i < count; ++i) {
            threads.emplace_back(work);
        }
        while (running > 0) {
            progress.update("weights", done, total);
            cancelled = cancelled || progress.cancelled();
            stop = stop || cancelled;
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
        }
    }
    if (failure) {
        std::rethrow_exception(failure);
    }
    if (cancelled) {
        fail(ErrorKind::Cancelled, "stopped");
    }
    progress.update("weights", total, total);
    return statistics;
}

}  // namespace deltavino::exporter
