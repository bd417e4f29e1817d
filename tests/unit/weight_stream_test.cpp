// Streamed weights: the bytes land where they belong, in every place that wants them, and whatever goes
// wrong ends the work.
#include "support/checkpoint_writer.hpp"
#include "support/engine.hpp"
#include "support/golden.hpp"

#include "base/error.hpp"
#include "checkpoint/checkpoint.hpp"
#include "export/weight_stream.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <limits>
#include <memory>
#include <stdexcept>

namespace deltavino::exporter {
namespace {

// Three megabytes: several tasks, with a last one that is smaller. A row has five zero points of four bits and
// 409 rows are read at once, were it not for the rule that a task starts on a byte.
constexpr std::uint64_t kRows = 1301;
constexpr std::uint64_t kColumns = 640;
constexpr std::uint64_t kGap = 77;  // before the first constant of a file

class CancelAtOnce : public test::SilentProgress {
public:
    bool cancelled() override { return true; }
};

class WeightStream : public testing::Test {
protected:
    void SetUp() override { use(test::noise(kRows * kColumns, 3)); }

    void use(std::vector<float> values) {
        values_ = std::move(values);
        test::write_checkpoint(directory_.path(), "{}", {{"model.weight", {kRows, kColumns}, values_}});
        checkpoint_ = std::make_unique<checkpoint::Checkpoint>(directory_.path());
        job_.name = job_.canonical_name = "model.weight";
        job_.rows = kRows;
        job_.columns = kColumns;
        job_.sources = {{&checkpoint_->require("model.weight"), 0, kRows}};
        job_.storage.scheme = quant::Scheme{quant::Format::U4, 128};
    }

    // What the three constants hold when they stand one after the other.
    std::vector<std::byte> expected() const {
        quant::QuantizedBuffers buffers;
        quant::quantize_rows(
            *job_.storage.scheme, quant::Search::LeastError,
            {reinterpret_cast<const std::byte*>(values_.data()), quant::SourceType::F32, kRows, kColumns}, {},
            buffers.resized(*job_.storage.scheme, kRows, kColumns));
        std::vector<std::byte> bytes = buffers.packed;
        bytes.insert(bytes.end(), buffers.zero_points.begin(), buffers.zero_points.end());
        bytes.insert(bytes.end(), buffers.scales.begin(), buffers.scales.end());
        return bytes;
    }

    Placement placement(OutputFile& file) const {
        const quant::StorageBytes bytes = quant::storage_bytes(*job_.storage.scheme, kRows, kColumns);
        return {&file, kGap, kGap + bytes.packed, kGap + bytes.packed + bytes.zero_points};
    }

    std::vector<std::byte> content(const char* name) const {
        const InputFile file(directory_.path() / name);
        std::vector<std::byte> bytes(file.size() - kGap);
        file.read(kGap, bytes);
        return bytes;
    }

    template <typename Run>
    static ErrorKind failure(Run run) {
        try {
            run();
        } catch (const Error& error) {
            return error.kind();
        }
        ADD_FAILURE() << "nothing failed";
        return ErrorKind::Internal;
    }

    test::TemporaryDirectory directory_;
    std::unique_ptr<checkpoint::Checkpoint> checkpoint_;
    std::vector<float> values_;
    graph::WeightJob job_;
    test::SilentProgress progress_;
};

TEST_F(WeightStream, EveryPlaceGetsTheSameBytesWhateverTheThreads) {
    for (unsigned threads : {1u, 3u}) {
        OutputFile first(directory_.path() / "first");
        OutputFile second(directory_.path() / "second");
        const auto statistics =
            stream_weights({{&job_, {placement(first), placement(second)}, {}}}, {.threads = threads}, progress_);
        first.close();
        second.close();
        ASSERT_EQ(statistics.size(), 1u);
        EXPECT_EQ(statistics[0].values, kRows * kColumns);
        EXPECT_EQ(content("first"), expected());
        EXPECT_EQ(content("second"), expected());
    }
}

// nncf takes another path for small weights, which shows in the scales of tiny values. The last task alone is small.
TEST_F(WeightStream, ALargeWeightIsLargeInItsLastTask) {
    constexpr std::uint64_t kTaskRows = (1u << 20) / (kColumns * sizeof(float)) / 2 * 2;
    constexpr std::uint64_t kRowsHere = kTaskRows + 10;
    static_assert(10 * kColumns < quant::kNncfSmallWeight && kRowsHere * kColumns >= quant::kNncfSmallWeight);
    std::vector<float> values = test::noise(kRowsHere * kColumns, 4);
    for (float& value : values) {
        value *= 3e-7f;
    }
    const quant::Scheme scheme{quant::Format::MXFP4, 32};
    const auto quantized = [&](bool small) {
        quant::QuantizedBuffers buffers;
        quant::quantize_rows(
            scheme, quant::Search::Nncf,
            {reinterpret_cast<const std::byte*>(values.data()), quant::SourceType::F32, kRowsHere, kColumns, small}, {},
            buffers.resized(scheme, kRowsHere, kColumns));
        return buffers.scales;
    };
    ASSERT_NE(quantized(false), quantized(true));
    test::write_checkpoint(directory_.path(), "{}", {{"model.weight", {kRowsHere, kColumns}, values}});
    checkpoint_ = std::make_unique<checkpoint::Checkpoint>(directory_.path());
    job_.rows = kRowsHere;
    job_.sources = {{&checkpoint_->require("model.weight"), 0, kRowsHere}};
    job_.storage.scheme = scheme;
    OutputFile file(directory_.path() / "file");
    const quant::StorageBytes bytes = quant::storage_bytes(scheme, kRowsHere, kColumns);
    stream_weights({{&job_, {{&file, kGap, 0, kGap + bytes.packed}}, {}}}, {.search = quant::Search::Nncf}, progress_);
    file.close();
    const std::vector<std::byte> found = content("file");
    EXPECT_EQ(std::vector<std::byte>(found.begin() + static_cast<std::ptrdiff_t>(bytes.packed), found.end()),
              quantized(false));
}

TEST_F(WeightStream, SameBytesNeedTheSameSourcesAndStorage) {
    graph::WeightJob other = job_;
    EXPECT_TRUE(job_.makes_same_bytes(other));
    other.storage.scheme->group_size = 64;
    EXPECT_FALSE(job_.makes_same_bytes(other));
    other = job_;
    other.sources[0].first_row = 1;
    EXPECT_FALSE(job_.makes_same_bytes(other));
    other = job_;
    other.storage.scheme.reset();
    EXPECT_FALSE(job_.makes_same_bytes(other));
}

TEST_F(WeightStream, WorkBesideRunsOnceAndItsFailureEndsAll) {
    OutputFile file(directory_.path() / "file");
    std::atomic<int> runs{0};
    stream_weights({{&job_, {placement(file)}, {}}}, {.threads = 3}, progress_, [&] { ++runs; });
    EXPECT_EQ(runs, 1);
    EXPECT_EQ(content("file"), expected());
    stream_weights({}, {}, progress_, [&] { ++runs; });
    EXPECT_EQ(runs, 2) << "without any weight";
    EXPECT_THROW(stream_weights({{&job_, {placement(file)}, {}}}, {.threads = 3}, progress_,
                                [] { throw std::runtime_error("beside"); }),
                 std::runtime_error);
}

TEST_F(WeightStream, NonfiniteValuesAreRefusedUnlessAllowed) {
    std::vector<float> values = values_;
    values.back() = std::numeric_limits<float>::infinity();
    use(values);
    OutputFile file(directory_.path() / "file");
    EXPECT_EQ(failure([&] { stream_weights({{&job_, {placement(file)}, {}}}, {}, progress_); }), ErrorKind::Input);
    const auto statistics = stream_weights({{&job_, {placement(file)}, {}}}, {.allow_nonfinite = true}, progress_);
    EXPECT_EQ(statistics[0].nonfinite, 1u);
}

TEST_F(WeightStream, StopsWhenAsked) {
    OutputFile file(directory_.path() / "file");
    CancelAtOnce progress;
    EXPECT_EQ(failure([&] { stream_weights({{&job_, {placement(file)}, {}}}, {}, progress); }), ErrorKind::Cancelled);
}

}  // namespace
}  // namespace deltavino::exporter
