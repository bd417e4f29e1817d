// The parts of messages as they are written today.
#include "base/error_parts.hpp"

#include "base/error.hpp"

#include <deltavino/problems.hpp>

#include <gtest/gtest.h>

namespace deltavino {
namespace {

struct Case {
    const char* message;
    const char* object;
    const char* expected;
    const char* found;
    const char* hint;
};

const Case kCases[] = {
    {"--threads is 'x', expected a whole number from 0 to 4096\nrun `deltavino export --help` for the options",
     "--threads", "a whole number from 0 to 4096", "x", "run `deltavino export --help` for the options"},
    {"unknown --weight-format 'int5', expected fp32, fp16 or bf16", "int5", "fp32, fp16 or bf16", "", ""},
    {"cannot write to 'out': it exists and is not empty; --force replaces it", "out", "", "", "--force replaces it"},
    {"tensor 'x.A_log' in 'model.safetensors' has shape [16], expected [32] (linear_num_value_heads)", "x.A_log",
     "[32] (linear_num_value_heads)", "[16]", ""},
    {"tensor 'a' in 'b' has type F32, expected I32", "a", "I32", "F32", ""},
    {"cannot read 'f.json': expected a JSON object, found a list; is it a download?", "f.json", "a JSON object",
     "a list", "is it a download?"},
    {"cannot read 'the model's file' at byte 3: expected 2 more bytes", "the model's file", "2 more bytes", "", ""},
    {"the model's file is empty", "", "", "", ""},
    {"config.json: 2 problems\n  - 'a' is 1, expected 2\n  - 'b' is missing; add it", "", "", "", ""},
    // Words of the user's are no parts.
    {"cannot read '/a; b/expected 2, found 3.json': it is empty; was it downloaded?", "/a; b/expected 2, found 3.json",
     "", "", "was it downloaded?"},
    {"cannot use 'a is b': x/y is 'holds; more', expected 'none, found'; see docs", "a is b", "none, found",
     "holds; more", "see docs"},
    {"tensor 'a' in 'b' is unexpected (a second head)", "a", "", "", ""},
    {"cannot read 'the user's; file': it has 2 bytes, expected at most 1", "the user's; file", "at most 1", "2 bytes",
     ""},
    {"cannot use these options: --ratio is 2, expected 0 to 1", "--ratio", "0 to 1", "2", ""},
    {"cannot use 'a': --sym is given", "a", "", "", ""},
    {"stopped", "", "", "", ""},
    {"", "", "", "", ""},
    {"'", "", "", "", ""},
    {"expected ", "", "", "", ""},
};

TEST(ErrorParts, OfMessages) {
    for (const Case& c : kCases) {
        const ErrorParts parts = error_parts(c.message);
        EXPECT_EQ(parts.object, c.object) << c.message;
        EXPECT_EQ(parts.expected, c.expected) << c.message;
        EXPECT_EQ(parts.found, c.found) << c.message;
        EXPECT_EQ(parts.hint, c.hint) << c.message;
    }
}

TEST(ErrorParts, EveryKindHasAName) {
    const std::pair<ErrorKind, const char*> kinds[] = {
        {ErrorKind::Usage, "usage"},        {ErrorKind::Input, "input"},     {ErrorKind::Unsupported, "unsupported"},
        {ErrorKind::Output, "output"},      {ErrorKind::Network, "network"}, {ErrorKind::Internal, "internal"},
        {ErrorKind::Cancelled, "cancelled"}};
    for (const auto& [kind, name] : kinds) {
        EXPECT_EQ(error_kind_name(Error(kind, "x").exit_code()), name);
    }
}

TEST(ErrorParts, AllProblemsAreKeptBesideTheFirstTen) {
    Problems problems;
    for (int i = 0; i < 12; ++i) {
        problems.add(fmt::format("problem {}", i));
    }
    try {
        problems.throw_if_any(ErrorKind::Input, "cannot read 'x'");
        FAIL();
    } catch (const ProblemsError& error) {
        EXPECT_EQ(error.problems().size(), 12u);
        EXPECT_EQ(error.problems().back(), "problem 11");
        EXPECT_NE(std::string(error.what()).find("and 2 more"), std::string::npos);
        EXPECT_EQ(std::string(error.what()).find("problem 11"), std::string::npos);
        EXPECT_EQ(error.kind(), ErrorKind::Input);
    }
}

}  // namespace
}  // namespace deltavino
