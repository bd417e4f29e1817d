// Exports a checkpoint in 4 bit and lets the result answer a question.
//   export_and_run CHECKPOINT DIRECTORY QUESTION
#include <deltavino/export.hpp>
#include <deltavino/generate.hpp>

#include <cstdio>
#include <string>

namespace {

// Says what the library has to say, and never asks it to stop.
class Notes : public deltavino::ProgressSink {
public:
    void update(const std::string&, std::uint64_t, std::uint64_t) override {}
    bool cancelled() override { return false; }
    void note(const std::string& sentence) override { std::fprintf(stderr, "note: %s\n", sentence.c_str()); }
};

void print(std::string_view piece) {
    std::fwrite(piece.data(), 1, piece.size(), stdout);
    std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 4) {
        std::fprintf(stderr, "usage: %s CHECKPOINT DIRECTORY QUESTION\n", argv[0]);
        return 2;
    }
    Notes notes;
    try {
        deltavino::ExportOptions wanted;
        wanted.model = argv[1];
        wanted.output = argv[2];
        wanted.compression.weight_format = "int4";
        const deltavino::ExportSummary summary = deltavino::export_model(wanted, notes);
        std::fprintf(stderr, "%s: %.2f s\n", summary.task.c_str(), summary.seconds);

        deltavino::RunnerOptions options;
        options.model = argv[2];
        deltavino::Runner runner(options, notes);
        deltavino::GenerateOptions limits;
        limits.max_new_tokens = 20;
        runner.ask({argv[3], {}}, limits, print);
        print("\n");
    } catch (const deltavino::Error& error) {
        std::fprintf(stderr, "error: %s\n", error.what());
        return error.exit_code();
    }
    return 0;
}
