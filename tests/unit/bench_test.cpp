// The arithmetic of benchmarks, and the processes they start.
#include "base/child_process.hpp"
#include "base/error.hpp"
#include "base/host.hpp"
#include "benchmark/bandwidth.hpp"
#include "benchmark/measurement_json.hpp"
#include "benchmark/statistics.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include <csignal>

namespace {

using namespace deltavino;
using namespace deltavino::benchmark;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(Schedule, EveryOtherRoundRunsBackwards) {
    EXPECT_THAT(schedule(3, 4), ElementsAre(0, 1, 2, 2, 1, 0, 0, 1, 2, 2, 1, 0));
    EXPECT_THAT(schedule(2, 3), ElementsAre(0, 1, 1, 0, 0, 1));
    EXPECT_THAT(schedule(1, 3), ElementsAre(0, 0, 0));
}

TEST(SpreadOf, MedianOfOddAndEvenNumbers) {
    const Spread odd = spread_of({5.0, 1.0, 3.0});
    EXPECT_EQ(odd.median, 3.0);
    EXPECT_EQ(odd.least, 1.0);
    EXPECT_EQ(odd.most, 5.0);
    EXPECT_EQ(spread_of({4.0, 1.0, 3.0, 100.0}).median, 3.5);
    EXPECT_EQ(spread_of({7.0}).median, 7.0);
    EXPECT_THROW(spread_of({}), Error);
}

Measurement measured(double prefill_seconds, double decode_seconds) {
    Measurement measurement;
    measurement.load_seconds = 2.0;
    measurement.peak_memory_bytes = 1000;
    measurement.lengths.push_back({100, 4.0 * prefill_seconds, prefill_seconds, decode_seconds, 10, {}, {}});
    return measurement;
}

// Two directories; the machine was ten times slower in the third round.
std::vector<DirectoryResult> two_directories() {
    std::vector<DirectoryResult> results(2);
    results[0].measurements = {measured(1.0, 2.0), measured(1.0, 2.0), measured(10.0, 20.0)};
    results[1].measurements = {measured(3.0, 3.0), measured(2.0, 3.0), measured(20.0, 30.0)};
    results[0].weight_bytes_per_token = 1'000'000;
    return results;
}

TEST(Summarize, RatesAreMediansAndRatiosAreTakenWithinEachRound) {
    std::vector<DirectoryResult> results = two_directories();
    summarize(results, 10e6);
    const LengthResult& model = results[0].lengths.at(0);
    EXPECT_EQ(model.prefill_rate.median, 100.0);
    EXPECT_EQ(model.prefill_rate.least, 10.0);
    EXPECT_EQ(model.decode_rate.median, 5.0);
    EXPECT_EQ(model.first_token_seconds.median, 4.0);
    EXPECT_EQ(model.prefill_ratio.median, 1.0);
    const LengthResult& other = results[1].lengths.at(0);
    EXPECT_DOUBLE_EQ(other.prefill_ratio.median, 2.0);  // the model is twice as fast
    EXPECT_DOUBLE_EQ(other.prefill_ratio.most, 3.0);
    EXPECT_DOUBLE_EQ(other.decode_ratio.median, 1.5);
    EXPECT_DOUBLE_EQ(other.decode_ratio.least, 1.5);
    EXPECT_DOUBLE_EQ(other.first_token_ratio.median, 2.0);
}

TEST(Summarize, ShareOfTheBandwidthOnlyWhereAllIsKnown) {
    std::vector<DirectoryResult> results = two_directories();
    summarize(results, 10e6);
    EXPECT_DOUBLE_EQ(*results[0].lengths.at(0).bandwidth_share, 0.5);  // 1 MB, 5 times a second, of 10 MB/s
    EXPECT_FALSE(results[1].lengths.at(0).bandwidth_share);
    std::vector<DirectoryResult> unmeasured = two_directories();
    summarize(unmeasured, std::nullopt);
    EXPECT_FALSE(unmeasured[0].lengths.at(0).bandwidth_share);
}

TEST(MeasurementJson, ComesBackAsItWas) {
    Measurement measurement = measured(1.25, 2.5);
    measurement.precision = "bf16";
    measurement.dynamic_quantization_group = "32";
    measurement.random_embeddings = true;
    measurement.lengths.front().prefill_operations = {{"FullyConnected", 5.0}};
    measurement.lengths.front().decode_operations = {{"MatMul", 6.0}};
    const Measurement back = measurement_of(measurement_json(measurement));
    EXPECT_EQ(measurement_json(back), measurement_json(measurement));
    EXPECT_EQ(back.precision, "bf16");
    EXPECT_EQ(back.lengths.at(0).decode_operations.at("MatMul"), 6.0);
    EXPECT_EQ(back.peak_memory_bytes, 1000u);
    EXPECT_THROW(measurement_of("{}"), Error);
    EXPECT_THROW(measurement_of("not JSON"), Error);
}

BenchReport small_report() {
    BenchReport report;
    report.results = two_directories();
    report.results[0].model = "ours";
    report.results[1].model = "theirs";
    report.rounds = 3;
    report.order = schedule(2, 3);
    summarize(report.results, std::nullopt);
    return report;
}

TEST(BenchReport, WhatIsNotKnownIsNotInvented) {
    const BenchReport report = small_report();
    const std::string text = bench_text(report);
    EXPECT_THAT(text, HasSubstr("its bandwidth was not measured"));
    EXPECT_THAT(text, HasSubstr("instruction sets are not known"));
    EXPECT_THAT(text, HasSubstr("2.00 (2.00-3.00)"));
    const auto json = nlohmann::json::parse(bench_json(report));
    EXPECT_TRUE(json["read_bytes_per_second"].is_null());
    EXPECT_TRUE(json["models"][1]["weight_bytes_per_token"].is_null());
    EXPECT_TRUE(json["models"][0]["lengths"][0]["bandwidth_share"].is_null());
    EXPECT_EQ(json["models"][1]["lengths"][0]["prefill_ratio"]["median"], 2.0);
    EXPECT_EQ(json["models"][0]["processes"].size(), 3u);
}

TEST(BenchReport, SharesByKindOfOperation) {
    BenchReport report = small_report();
    report.results[0].lengths[0].prefill_operations = {{"FullyConnected", 750.0}, {"Reorder", 249.0}, {"Shape", 1.0}};
    report.results[0].lengths[0].decode_operations = {{"MatMul", 10.0}};
    const std::string text = bench_text(report);
    EXPECT_THAT(text, HasSubstr("A, prompt of 100: FullyConnected 75 %, Reorder 25 %, others 0 %"));
    EXPECT_THAT(text, HasSubstr("A, new tokens after 100: MatMul 100 %"));
}

TEST(HostOf, NamesOfTheKernelInAFixedOrder) {
    const Host host = host_of("processor\t: 0\nmodel name\t: A Processor\nflags\t\t: fpu amx_int8 avx2 avx512_vnni\n");
    EXPECT_EQ(host.processor, "A Processor");
    EXPECT_THAT(host.instruction_sets, ElementsAre("avx2", "avx512_vnni", "amx_int8"));
    EXPECT_THAT(host_of("Features : fp asimd i8mm\n").instruction_sets, ElementsAre("asimd", "i8mm"));
    EXPECT_THAT(host_of("").instruction_sets, IsEmpty());
    EXPECT_THAT(host_of(": x\n").processor, IsEmpty());
}

TEST(ReadBandwidth, ReadsEveryWordOfEveryThread) {
    for (const unsigned threads : {1u, 3u}) {
        const std::optional<double> bandwidth = read_bandwidth(threads, {});  // checks the sums by itself
        EXPECT_TRUE(!bandwidth || *bandwidth > 0.0);
    }
    EXPECT_THROW(read_bandwidth(1, []() { return true; }), Error);
}

TEST(RunChild, OutputErrorsAndCode) {
    const ChildResult result = run_child("/bin/sh", {"-c", "echo out; echo err >&2; cat; exit 7"}, {});
    EXPECT_EQ(result.output, "out\n");
    EXPECT_EQ(result.errors, "err\n");
    EXPECT_EQ(result.exit_code, 7);
    EXPECT_EQ(result.signal, 0);
    EXPECT_EQ(run_child("/bin/sh", {"-c", "kill -KILL $$"}, {}).signal, SIGKILL);
}

TEST(RunChild, WhatCannotBeStarted) {
    EXPECT_THROW(run_child("/nothing/there", {}, {}), Error);
}

TEST(RunChild, StopsTheChildWhenAsked) {
    const auto kind_of = [](const std::function<bool()>& stop) {
        try {
            run_child("/bin/sh", {"-c", "exec sleep 1000"}, stop);
        } catch (const Error& error) {
            return error.kind();
        }
        return ErrorKind::Internal;
    };
    EXPECT_EQ(kind_of([]() { return true; }), ErrorKind::Cancelled);
    EXPECT_EQ(kind_of([]() -> bool { throw Error(ErrorKind::Usage, "of the caller"); }), ErrorKind::Usage);
}

TEST(RunChild, EndlessOutputIsRefused) {
    EXPECT_THROW(run_child("/bin/sh", {"-c", "exec cat /dev/zero"}, {}), Error);
}

}  // namespace
