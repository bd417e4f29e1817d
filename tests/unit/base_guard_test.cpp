#include "base/guard.hpp"

#include <gtest/gtest.h>

#include <stdexcept>

namespace deltavino {
namespace {

template <typename Thrown>
Error caught(const Thrown& thrown) {
    try {
        guarded("cannot do it", [&]() { throw thrown; });
    } catch (const Error& error) {
        return error;
    }
    return {ErrorKind::Usage, "nothing was thrown"};
}

TEST(Guard, ReturnsWhatTheCallReturns) {
    int value = 3;
    EXPECT_EQ(guarded("cannot", [&]() { return value; }), 3);
    int& same = guarded("cannot", [&]() -> int& { return value; });
    EXPECT_EQ(&same, &value);
}

TEST(Guard, AnErrorPassesAsItIs) {
    const Error error = caught(Error(ErrorKind::Unsupported, "not that"));
    EXPECT_EQ(error.kind(), ErrorKind::Unsupported);
    EXPECT_STREQ(error.what(), "not that");
}

TEST(Guard, OthersBecomeErrorsOfTheirKind) {
    const Error memory = caught(std::bad_alloc());
    EXPECT_EQ(memory.kind(), ErrorKind::Input);
    EXPECT_STREQ(memory.what(), "cannot do it: there is not enough memory");
    const Error path = caught(
        std::filesystem::filesystem_error("open", "some/path", std::make_error_code(std::errc::permission_denied)));
    EXPECT_EQ(path.kind(), ErrorKind::Input);
    EXPECT_STREQ(path.what(), "cannot do it: 'some/path': Permission denied");
    const Error logic = caught(std::out_of_range("position 7"));
    EXPECT_EQ(logic.kind(), ErrorKind::Internal);
    EXPECT_STREQ(logic.what(), "cannot do it: position 7");
    EXPECT_EQ(caught(5).kind(), ErrorKind::Internal);
}

}  // namespace
}  // namespace deltavino
