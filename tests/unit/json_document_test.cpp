// JSON documents: what is refused, and that large objects are read in order and without a search per key.
#include "json/document.hpp"

#include "base/error.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace deltavino {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string refusal(const std::string& text, bool members) {
    try {
        members ? static_cast<void>(visit_members(text, "x.json", [](const std::string&, Json&) {}))
                : static_cast<void>(parse_json(text, "x.json"));
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::Input);
        EXPECT_THAT(error.what(), HasSubstr("cannot read 'x.json'"));
        return error.what();
    }
    ADD_FAILURE() << "accepted " << text;
    return {};
}

TEST(JsonDocument, TreeIsThatOfTheLibrary) {
    const std::string text =
        R"({"z": [1, -2, 3.5, {"b": null, "a": [[], {}]}], "a": {"y": "\u00e4\n", "x": {"k": true}}, "m": 18446744073709551615})";
    EXPECT_EQ(parse_json(text, "x").dump(), Json::parse(text).dump());
    for (const char* scalar : {"3", "\"a\"", "null", "[]", "\xEF\xBB\xBF{}"}) {
        EXPECT_EQ(parse_json(scalar, "x"), Json::parse(scalar)) << scalar;
    }
}

TEST(JsonDocument, WhatIsRefused) {
    for (const bool members : {false, true}) {
        EXPECT_THAT(refusal(R"({"a":{"b":1,"b":2}})", members), HasSubstr("key 'b' stands twice"));
        EXPECT_THAT(refusal(R"({"a":1,"b":{"a":2},"a":3})", members), HasSubstr("key 'a' stands twice"));
        EXPECT_THAT(refusal("{\"a\":" + std::string(200, '[') + std::string(200, ']') + "}", members),
                    HasSubstr("deeper"));
        for (const char* bad :
             {"", "{", "{\"a\":}", "{} x", "{\"a\":NaN}", "{\"a\":1e999}", "{\"a\":\"\xff\"}", "[1,]"}) {
            EXPECT_THAT(refusal(bad, members), HasSubstr("json.exception")) << bad;
        }
    }
}

TEST(JsonDocument, MembersComeOneByOne) {
    const std::string text = R"({"b":{"x":[1,{"y":2}]},"a":3,"inner":{"k":[4],"l":null}})";
    std::vector<std::string> seen;
    const MemberVisitor keep = [&](const std::string& key, Json& value) {
        seen.push_back(key + value.dump());
    };
    EXPECT_TRUE(visit_members(text, "x", keep));
    EXPECT_THAT(seen, ElementsAre(R"(b{"x":[1,{"y":2}]})", "a3", R"(inner{"k":[4],"l":null})"));
    seen.clear();
    EXPECT_TRUE(visit_members(text, "x", keep, "inner"));
    EXPECT_THAT(seen, ElementsAre("k[4]", "lnull"));
    EXPECT_FALSE(visit_members(text, "x", keep, "a"));  // no object
    EXPECT_FALSE(visit_members(text, "x", keep, "x"));  // deeper
    EXPECT_FALSE(visit_members("[{}]", "x", keep));
    EXPECT_FALSE(visit_members("7", "x", keep));
    EXPECT_EQ(seen.size(), 2u);
}

TEST(JsonDocument, OneMemberIsBounded) {
    std::string list(2u << 20, '0');
    for (std::size_t i = 1; i < list.size(); i += 2) {
        list[i] = ',';
    }
    list.back() = '0';
    list += "],\"b\":1}";
    EXPECT_THAT(refusal("{\"a\":[1,0," + list, true), HasSubstr("'a' holds more than 1048576 values"));
}

}  // namespace
}  // namespace deltavino
