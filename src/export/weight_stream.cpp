#include "export/weight_stream.hpp"

#include "base/checked.hpp"
#include "base/error.hpp"
#include "checkpoint/rows/row_reader.hpp"
#include "quant/convert.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <exception>
#include <mutex>
#include <numeric>
#include <random>
#include <thread>

namespace deltavino::exporter {
namespace {

// Source bytes that one task reads: few enough to stay in a core's cache between reading and writing, which
// halves the time in the kernel against 4 MiB.
constexpr std::uint64_t kTaskBytes = 1u << 20;

// Of weights that are stored across, whose rows lie in many short pieces: fewer and longer ones.
constexpr std::uint64_t kAcrossTaskBytes = 4u << 20;

// Some neighbouring rows of one weight.
struct Task {
    const StreamedWeight* weight = nullptr;
    graph::RowSlice slice;
    std::uint64_t first_row = 0;  // of the weight
};

std::uint64_t task_bytes(const Task& task) {
    return task.slice.bytes(task.weight->job->columns);
}

// An even number of rows, so that 4-bit zero points of a task start on a byte; of a quantized weight whole
// words of its packing.
std::uint64_t rows_at_once(const graph::RowSlice& slice, std::uint64_t columns) {
    const std::uint64_t row_bytes =
        slice.source ? slice.source->bytes(slice.source->rows) / slice.source->rows : slice.row_bytes(columns);
    const std::uint64_t alignment = slice.source ? slice.source->row_alignment() : 2;
    const std::uint64_t bytes = slice.source && slice.source->stored_across() ? kAcrossTaskBytes : kTaskBytes;
    return std::max(alignment, bytes / std::max<std::uint64_t>(1, row_bytes) / alignment * alignment);
}

std::vector<Task> make_tasks(const std::vector<StreamedWeight>& weights) {
    std::vector<Task> tasks;
    for (const StreamedWeight& weight : weights) {
        if (weight.written) {
            continue;
        }
        std::uint64_t row = 0;
        for (const graph::RowSlice& source : weight.job->sources) {
            const std::uint64_t most = rows_at_once(source, weight.job->columns);
            for (std::uint64_t done = 0; done < source.rows; done += most) {
                const std::uint64_t rows = std::min(most, source.rows - done);
                tasks.push_back({&weight, {source.tensor, source.first_row + done, rows, source.source}, row + done});
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
        const graph::RowSlice& slice = task.slice;
        if (!slice.is_plain()) {
            slice.load(reader_, job.columns, slice.first_row, slice.rows);
            return job.storage.imported ? store_codes(task) : store_floats(task);
        }
        const checkpoint::TensorInfo& info = slice.tensor->info;
        source_.resize(static_cast<std::size_t>(task_bytes(task)));
        slice.tensor->file->read(info.offset + slice.first_row * slice.row_bytes(job.columns), source_);
        return store(task, {source_, checkpoint::source_type(info.dtype), task.first_row, slice.rows});
    }

private:
    // Rows of a weight, as floats.
    struct Rows {
        std::span<const std::byte> bytes;
        quant::SourceType type = quant::SourceType::F32;
        std::uint64_t first_row = 0;  // of the weight
        std::uint64_t rows = 0;
    };

    // The loaded rows as floats.
    quant::BlockStatistics store_floats(const Task& task) {
        const graph::WeightJob& job = *task.weight->job;
        // The floats are several times as many bytes as were read, so fewer rows are taken at a time.
        const std::uint64_t most = std::max<std::uint64_t>(2, kTaskBytes / sizeof(float) / job.columns / 2 * 2);
        quant::BlockStatistics statistics;
        for (std::uint64_t done = 0; done < task.slice.rows; done += most) {
            const std::uint64_t rows = std::min(most, task.slice.rows - done);
            floats_.resize(static_cast<std::size_t>(rows * job.columns));
            reader_.floats(done, floats_);
            statistics.merge(
                store(task, {std::as_bytes(std::span(floats_)), quant::SourceType::F32, task.first_row + done, rows}));
        }
        return statistics;
    }

    quant::BlockStatistics store(const Task& task, const Rows& rows) {
        if (task.weight->job->storage.scheme) {
            return compress(task, rows);
        }
        store_plain(task, rows);
        return {};
    }

    void require_finite(const Task& task, bool nonfinite) const {
        if (nonfinite && !options_.allow_nonfinite) {
            fail(ErrorKind::Input,
                 "cannot export tensor '{}' in '{}': it holds NaN or infinity (--allow-nonfinite exports it all the "
                 "same)",
                 task.slice.tensor->info.name, task.slice.tensor->file->path().string());
        }
    }

    void store_plain(const Task& task, const Rows& rows) {
        const graph::WeightJob& job = *task.weight->job;
        const quant::SourceType to = source_type(job.storage.type);
        require_finite(task, any_nonfinite(rows.bytes, rows.type));
        const std::uint64_t stored_row = checked_multiply(job.columns, quant::source_bytes(to));
        std::span<const std::byte> bytes = rows.bytes;
        if (rows.type != to) {
            values_.resize(static_cast<std::size_t>(job.columns * rows.rows));
            quant::widen(rows.type, rows.bytes, values_);
            stored_.resize(static_cast<std::size_t>(stored_row * rows.rows));
            if (quant::narrow(to, values_, stored_) > 0) {
                fail(ErrorKind::Input,
                     "cannot export tensor '{}' in '{}' as {}: it holds values that do not fit (--weight-format bf16 "
                     "or fp32 keeps them)",
                     task.slice.tensor->info.name, task.slice.tensor->file->path().string(),
                     job.storage.type.get_type_name());
            }
            bytes = stored_;
        }
        for (const Placement& place : task.weight->placements) {
            place.file->write(place.values_offset + rows.first_row * stored_row, bytes);
        }
    }

    quant::BlockStatistics compress(const Task& task, const Rows& from) {
        const graph::WeightJob& job = *task.weight->job;
        const quant::Scheme& scheme = *job.storage.scheme;
        const quant::QuantizedRows rows = buffers_.resized(scheme, from.rows, job.columns);
        const quant::RowBlock block{from.bytes.data(), from.type, from.rows, job.columns,
                                    job.rows * job.columns < quant::kNncfSmallWeight};
        const quant::BlockStatistics statistics = quant::quantize_rows(scheme, options_.search, block, {}, rows);
        require_finite(task, statistics.nonfinite > 0);
        write_rows(*task.weight, rows, from.first_row);
        return statistics;
    }

    // The codes of the checkpoint as they are.
    quant::BlockStatistics store_codes(const Task& task) {
        const quant::CodeRows& codes = reader_.codes();
        require_finite(task, std::any_of(codes.scales.begin(), codes.scales.end(),
                                         [](float scale) { return !std::isfinite(scale); }));
        const quant::Scheme& scheme = *task.weight->job->storage.scheme;
        const quant::QuantizedRows rows = buffers_.resized(scheme, codes.rows, codes.columns);
        quant::store_codes(codes, scheme, rows);
        write_rows(*task.weight, rows, task.first_row);
        return {};
    }

    StreamOptions options_;
    std::vector<std::byte> source_;
    std::vector<float> values_;
    std::vector<std::byte> stored_;
    quant::QuantizedBuffers buffers_;
    checkpoint::RowReader reader_;
    std::vector<float> floats_;  // of quantized rows, and of those with an adapter
};

unsigned thread_count(unsigned wanted, std::size_t tasks) {
    const unsigned most = wanted > 0 ? wanted : std::max(1u, std::thread::hardware_concurrency());
    return static_cast<unsigned>(std::min<std::size_t>(most, std::max<std::size_t>(1, tasks)));
}

std::uint64_t bytes_of(const std::vector<Task>& tasks) {
    return std::accumulate(tasks.begin(), tasks.end(), std::uint64_t{0},
                           [](std::uint64_t sum, const Task& task) { return sum + task_bytes(task); });
}

}  // namespace

void write_rows(const StreamedWeight& weight, const quant::QuantizedRows& rows, std::uint64_t first_row) {
    const graph::WeightJob& job = *weight.job;
    const quant::StorageBytes before = quant::storage_bytes(*job.storage.scheme, first_row, job.columns);
    for (const Placement& place : weight.placements) {
        place.file->write(place.values_offset + before.packed, rows.packed);
        if (!rows.zero_points.empty()) {
            place.file->write(place.zero_points_offset + before.zero_points, rows.zero_points);
        }
        place.file->write(place.scales_offset + before.scales, rows.scales);
    }
}

double estimate_seconds(const std::vector<StreamedWeight>& weights, const StreamOptions& options, double budget) {
    std::vector<Task> tasks = make_tasks(weights);
    const std::uint64_t total = bytes_of(tasks);
    std::shuffle(tasks.begin(), tasks.end(), std::minstd_rand(1));
    using Clock = std::chrono::steady_clock;
    const auto start = Clock::now();
    const auto elapsed = [start] {
        return std::chrono::duration<double>(Clock::now() - start).count();
    };
    std::atomic<std::size_t> next{0};
    std::atomic<std::uint64_t> done{0};
    std::exception_ptr failure;
    std::mutex mutex;
    {
        std::vector<std::jthread> threads;
        for (unsigned i = 0; i < thread_count(options.threads, tasks.size()); ++i) {
            threads.emplace_back([&] {
                try {
                    Worker worker(options);
                    for (std::size_t k = next++; k < tasks.size() && elapsed() < budget; k = next++) {
                        worker.run(tasks[k]);
                        done += task_bytes(tasks[k]);
                    }
                } catch (...) {
                    const std::lock_guard lock(mutex);
                    failure = failure ? failure : std::current_exception();
                }
            });
        }
    }
    if (failure) {
        std::rethrow_exception(failure);
    }
    return done == 0 ? 0.0 : elapsed() * static_cast<double>(total) / static_cast<double>(done.load());
}

std::vector<quant::BlockStatistics> stream_weights(const std::vector<StreamedWeight>& weights,
                                                   const StreamOptions& options, ProgressSink& progress,
                                                   const std::function<void()>& beside) {
    const std::vector<Task> tasks = make_tasks(weights);
    const std::uint64_t total = bytes_of(tasks);
    std::atomic<std::size_t> next{0};
    std::atomic<std::uint64_t> done{0};
    std::atomic<bool> stop{false};
    std::atomic<unsigned> running{0};
    std::exception_ptr failure;
    std::vector<quant::BlockStatistics> statistics;
    for (const StreamedWeight& weight : weights) {
        statistics.push_back(weight.written.value_or(quant::BlockStatistics()));
    }
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
    const unsigned count = thread_count(options.threads, tasks.size());
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
