// The reader accepts and refuses what the format's reference implementation does.
#include "checkpoint/safetensors.hpp"

#include "base/error.hpp"
#include "support/golden.hpp"

#include <gtest/gtest.h>

#include <fstream>

namespace deltavino::checkpoint {
namespace {

class Safetensors : public testing::Test {
protected:
    SafetensorsTable read(const std::string& header, std::size_t data_bytes) {
        std::string file;
        for (int i = 0; i < 8; ++i) {
            file += static_cast<char>(header.size() >> (8 * i) & 0xff);
        }
        file += header + std::string(data_bytes, '\1');
        const auto path = directory_.path() / "x.safetensors";
        std::ofstream(path, std::ios::binary) << file;
        return read_safetensors_table(InputFile(path));
    }
    void refuse(const std::string& header, std::size_t data_bytes, const std::string& word) {
        try {
            read(header, data_bytes);
            ADD_FAILURE() << "accepted: " << header;
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::Input);
            EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
        }
    }

    test::TemporaryDirectory directory_;
};

TEST_F(Safetensors, ReadsTensorsInFileOrder) {
    const auto table = read(
        R"({"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[4,16]},"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"__metadata__":{"format":"pt"}})",
        16);
    ASSERT_EQ(table.tensors.size(), 2u);
    EXPECT_EQ(table.tensors[0].name, "a");
    EXPECT_EQ(table.tensors[1].name, "b");
    EXPECT_EQ(table.tensors[1].shape, (std::vector<std::uint64_t>{2, 3}));
    EXPECT_EQ(table.tensors[1].bytes, 12u);
    EXPECT_EQ(table.tensors[1].offset, table.tensors[0].offset + 4);
    EXPECT_EQ(table.metadata.at("format"), "pt");
}

TEST_F(Safetensors, AcceptsNoTensorsAndPaddedHeaders) {
    EXPECT_TRUE(read("{}", 0).tensors.empty());
    EXPECT_TRUE(read("{}      ", 0).tensors.empty());
}

TEST_F(Safetensors, AcceptsEmptyTensors) {
    EXPECT_EQ(read(R"({"a":{"dtype":"F32","shape":[0,5],"data_offsets":[0,0]}})", 0).tensors[0].bytes, 0u);
}

TEST_F(Safetensors, RefusesHolesOverlapsAndTails) {
    refuse(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})", 3, "starts at data byte 1");
    refuse(
        R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
        3, "starts at data byte 1");
    refuse(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})", 3, "found 3");
    refuse(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", 3, "found 3");
}

TEST_F(Safetensors, RefusesSizesThatLie) {
    refuse(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4, "do not hold");
    refuse(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8, "do not hold");
    refuse(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}})", 4, "64 bits");
    refuse(R"({"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}})", 2, "do not hold");
}

TEST_F(Safetensors, MessagesStayShort) {
    const std::string long_name(1u << 20, 'x');
    std::string dims = "1";
    for (int i = 0; i < 100'000; ++i) {
        dims += ",1";
    }
    for (const std::string& entry : {R"({"dtype":")" + long_name + R"(","shape":[1],"data_offsets":[0,4]})",
                                     R"({"dtype":"F32","shape":")" + long_name + R"(","data_offsets":[0,4]})",
                                     R"({"dtype":"F32","shape":[)" + dims + R"(],"data_offsets":[0,5]})",
                                     R"({"dtype":"F32","shape":[1],"data_offsets":[)" + dims + "]}"}) {
        try {
            read(R"({"a":)" + entry + "}", 4);
            ADD_FAILURE() << "accepted";
        } catch (const Error& error) {
            EXPECT_LT(std::string(error.what()).size(), 1000u);
        }
    }
}

TEST_F(Safetensors, RefusesWrongTypes) {
    refuse(R"({"a":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}})", 4, "F33");
    refuse(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4, "-1");
    refuse(R"({"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}})", 4, "1.0");
    refuse(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}})", 4, "two numbers");
    refuse(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"more":1}})", 4, "expected an object");
    refuse(R"({"a":[]})", 0, "expected an object");
    refuse(R"({"__metadata__":{"a":1}})", 0, "not a string");
    refuse(R"([])", 0, "not a JSON object");
}

// With a search per name this took minutes.
TEST_F(Safetensors, ManyNames) {
    constexpr std::size_t kNames = 200'000;
    std::string header = "{";
    for (std::size_t i = 0; i < kNames; ++i) {
        header += (i == 0 ? "\"" : ",\"") + std::to_string(i) + R"(":{"dtype":"U8","shape":[1],"data_offsets":[)" +
                  std::to_string(i) + "," + std::to_string(i + 1) + "]}";
    }
    const SafetensorsTable table = read(header + "}", kNames);
    ASSERT_EQ(table.tensors.size(), kNames);
    EXPECT_EQ(table.tensors.back().name, "199999");
}

TEST_F(Safetensors, RefusesDuplicateNamesAndDeepNesting) {
    refuse(
        R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
        1, "stands twice");
    refuse("{\"a\":" + std::string(200, '[') + std::string(200, ']') + "}", 0, "deeper");
}

}  // namespace
}  // namespace deltavino::checkpoint
