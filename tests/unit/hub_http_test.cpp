// Requests themselves: tests/e2e/test_hub.py.
#include "hub/http.hpp"

#include <gtest/gtest.h>

namespace deltavino::hub {
namespace {

using std::chrono::seconds;

Monitor quiet() {
    return {[] { return false; }, [](const std::string&) {}};
}

std::optional<seconds> wait_of(const std::string& header, const std::string& value, long status = 429) {
    return asked_wait({status, {{header, value}}});
}

TEST(HubHttp, AskedWait) {
    EXPECT_EQ(wait_of("retry-after", "7"), seconds(7));
    EXPECT_EQ(wait_of("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT"), seconds(0));
    EXPECT_GT(wait_of("retry-after", "Fri, 21 Oct 2095 07:28:00 GMT"), seconds(1000));
    EXPECT_EQ(wait_of("retry-after", "soon"), std::nullopt);
    EXPECT_EQ(wait_of("retry-after", "-5"), std::nullopt);
    EXPECT_EQ(wait_of("ratelimit", "\"api\";r=0;t=55"), seconds(55));
    EXPECT_EQ(wait_of("ratelimit", "\"api\";r=0"), std::nullopt);
    EXPECT_EQ(wait_of("ratelimit", "\"api\";r=9;t=55", 503), std::nullopt);
}

TEST(HubHttp, NextPage) {
    const auto next = [](const std::string& link) {
        return next_page({200, {{"link", link}}});
    };
    EXPECT_EQ(next("<https://h/a?cursor=x>; rel=\"next\""), "https://h/a?cursor=x");
    EXPECT_EQ(next("<https://h/1>; rel=\"first\", <https://h/2>; rel=\"next\""), "https://h/2");
    EXPECT_EQ(next("<https://h/1>; rel=\"last\""), "");
    EXPECT_EQ(next("<https://h/1"), "");
    EXPECT_EQ(next(""), "");
    EXPECT_EQ(next_page({200, {}}), "");
}

std::string failure_of(Retries& retries, const Failure& failure, bool progressed = false) {
    try {
        retries.after(failure, progressed);
        return "";
    } catch (const Error& error) {
        return error.what();
    }
}

TEST(HubHttp, WhatIsTriedAgain) {
    const Monitor monitor = quiet();
    Retries patient(monitor, "cannot x", true);
    Retries hasty(monitor, "cannot x", false);
    Retries never(monitor, "cannot x", true, 0);
    EXPECT_EQ(failure_of(patient, {.reason = "gone"}), "cannot x: gone");
    EXPECT_EQ(failure_of(patient, {.reason = "busy", .transient = true, .wait = seconds(0)}), "");
    EXPECT_EQ(failure_of(never, {.reason = "busy", .transient = true}), "cannot x: busy");
    const Failure unreachable{.reason = "down", .transient = true, .unreachable = true, .wait = seconds(0)};
    EXPECT_EQ(failure_of(patient, unreachable), "");
    EXPECT_EQ(failure_of(hasty, unreachable), "cannot x: down");
}

TEST(HubHttp, TriesAreBounded) {
    const Monitor monitor = quiet();
    const Failure busy{.reason = "busy", .transient = true, .wait = seconds(0)};
    Retries idle(monitor, "cannot x", true);
    int tries = 0;
    while (failure_of(idle, busy).empty()) {
        ++tries;
    }
    EXPECT_EQ(tries, 4);
    // Bytes that arrive count as a beginning, but not for ever.
    Retries progressing(monitor, "cannot x", true);
    for (tries = 0; failure_of(progressing, busy, true).empty(); ++tries) {
        ASSERT_LT(tries, 1000);
    }
    EXPECT_GT(tries, 100);
    EXPECT_NE(failure_of(progressing, {.reason = "busy", .transient = true, .wait = seconds(301)}), "");
}

TEST(HubHttp, WaitingEndsWhenTheUserStopsIt) {
    int asked = 0;
    const Monitor monitor{[&] { return ++asked > 1; }, [](const std::string&) {}};
    EXPECT_THROW(wait_for(std::chrono::hours(1), monitor), Error);
}

TEST(HubHttp, TextIsBounded) {
    TextSink sink(4);
    const std::string text = "abcde";
    sink.write(std::as_bytes(std::span(text).first(4)));
    EXPECT_EQ(sink.text(), "abcd");
    EXPECT_THROW(sink.write(std::as_bytes(std::span(text).last(1))), Error);
}

}  // namespace
}  // namespace deltavino::hub
