// Search::Nncf against what nncf itself wrote (tests/golden_quant/generate.py), bit for bit.
#include "quant/quantize.hpp"

#include "quant_test_support.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

namespace deltavino::quant {
namespace {

struct Tensor {
    std::string dtype;
    std::vector<std::uint64_t> shape;
    std::vector<std::byte> bytes;
};

using Tensors = std::map<std::string, Tensor>;

Tensors read_goldens() {
    const auto path = std::filesystem::path(DELTAVINO_SOURCE_DIR) / "tests" / "golden_quant" / "nncf.safetensors";
    std::ifstream file(path, std::ios::binary);
    const std::string content{std::istreambuf_iterator<char>(file), {}};
    if (content.size() < 8) {
        return {};
    }
    std::uint64_t length = 0;
    std::memcpy(&length, content.data(), 8);
    const auto header = nlohmann::json::parse(content.substr(8, length));
    Tensors tensors;
    for (const auto& [name, entry] : header.items()) {
        if (name == "__metadata__") {
            continue;
        }
        const auto begin = 8 + length + entry["data_offsets"][0].get<std::uint64_t>();
        const auto end = 8 + length + entry["data_offsets"][1].get<std::uint64_t>();
        Tensor tensor{entry["dtype"], entry["shape"], std::vector<std::byte>(end - begin)};
        std::memcpy(tensor.bytes.data(), content.data() + begin, end - begin);
        tensors.emplace(name, std::move(tensor));
    }
    return tensors;
}

const Tensors& goldens() {
    static const Tensors tensors = read_goldens();
    return tensors;
}

SourceType source_type(const std::string& dtype) {
    return dtype == "F32" ? SourceType::F32 : dtype == "F16" ? SourceType::F16 : SourceType::BF16;
}

struct Case {
    std::string weight;
    Scheme scheme;
};

void PrintTo(const Case& test, std::ostream* out) {
    *out << test.weight << ' ' << scheme_text(test.scheme);
}

std::vector<Case> all_cases() {
    std::vector<Case> cases;
    for (const auto& [name, tensor] : goldens()) {
        const std::size_t dot = name.find('.');
        if (dot == std::string::npos || !name.ends_with(".packed")) {
            continue;
        }
        const std::size_t second = name.find('.', dot + 1);
        const auto format = find_format(name.substr(dot + 1, second - dot - 1));
        cases.push_back({name.substr(0, dot), {format.value(), std::stoull(name.substr(second + 1))}});
    }
    return cases;
}

std::string golden_name(const Case& test, const std::string& part) {
    return test.weight + '.' + std::string(traits(test.scheme.format).name) + '.' +
           std::to_string(test.scheme.group_size) + '.' + part;
}

std::size_t first_difference(const std::vector<std::byte>& a, const std::vector<std::byte>& b) {
    std::size_t i = 0;
    while (i < a.size() && i < b.size() && a[i] == b[i]) {
        ++i;
    }
    return i;
}

void expect_bytes(const Case& test, const std::string& part, const std::vector<std::byte>& found) {
    const auto golden = goldens().find(golden_name(test, part));
    const std::vector<std::byte> expected = golden == goldens().end() ? std::vector<std::byte>{} : golden->second.bytes;
    ASSERT_EQ(expected.size(), found.size()) << part;
    const std::size_t place = first_difference(expected, found);
    EXPECT_EQ(place, expected.size()) << part << " differ at byte " << place << ": nncf "
                                      << std::to_integer<int>(expected[place]) << ", here "
                                      << std::to_integer<int>(found[place]);
}

TEST(QuantNncfGoldens, CoverEveryFormatAndSourceType) {
    std::map<std::string, int> seen;
    for (const Case& test : all_cases()) {
        ++seen[std::string(traits(test.scheme.format).name) + ' ' + goldens().at(test.weight).dtype];
    }
    for (const char* format : {"u8", "i8", "u4", "i4", "nf4", "mxfp4"}) {
        for (const char* type : {" F32", " F16", " BF16"}) {
            EXPECT_GT(seen[std::string(format) + type], 0) << format << type;
        }
    }
}

class QuantNncf : public testing::TestWithParam<std::tuple<Case, Isa>> {};

TEST_P(QuantNncf, WritesTheSameBytes) {
    const auto& [test, isa] = GetParam();
    DELTAVINO_SKIP_WITHOUT(isa);
    const Tensor& weight = goldens().at(test.weight);
    const RowBlock block{weight.bytes.data(), source_type(weight.dtype), weight.shape[0], weight.shape[1],
                         weight.shape[0] * weight.shape[1] < kNncfSmallWeight};
    const StorageBytes bytes = storage_bytes(test.scheme, block.rows, block.columns);
    std::vector<std::byte> packed(bytes.packed), zero_points(bytes.zero_points), scales(bytes.scales);
    quantize_rows(test.scheme, Search::Nncf, block, {}, {packed, zero_points, scales}, isa);
    expect_bytes(test, "scales", scales);
    expect_bytes(test, "zero_points", zero_points);
    expect_bytes(test, "packed", packed);
}

INSTANTIATE_TEST_SUITE_P(Goldens, QuantNncf,
                         testing::Combine(testing::ValuesIn(all_cases()), testing::ValuesIn(kAllIsas)));

}  // namespace
}  // namespace deltavino::quant
