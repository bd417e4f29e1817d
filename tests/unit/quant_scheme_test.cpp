// Formats, storage sizes and the rules of what can be stored.
#include "quant/scheme.hpp"

#include <deltavino/error.hpp>

#include <gtest/gtest.h>

#include <limits>

namespace deltavino::quant {
namespace {

TEST(QuantScheme, NamesAndTraitsOfEveryFormat) {
    struct Row {
        Format format;
        const char* name;
        unsigned bits;
        bool zero_point;
        ScaleType scale_type;
    };
    const Row rows[] = {
        {Format::U8, "u8", 8, true, ScaleType::F16},    {Format::I8, "i8", 8, false, ScaleType::F16},
        {Format::U4, "u4", 4, true, ScaleType::F16},    {Format::I4, "i4", 4, false, ScaleType::F16},
        {Format::NF4, "nf4", 4, false, ScaleType::F16}, {Format::MXFP4, "mxfp4", 4, false, ScaleType::F8E8M0}};
    for (const Row& row : rows) {
        const FormatTraits& found = traits(row.format);
        EXPECT_EQ(found.format, row.format);
        EXPECT_EQ(found.name, row.name);
        EXPECT_EQ(found.bits, row.bits);
        EXPECT_EQ(found.zero_point, row.zero_point);
        EXPECT_EQ(found.scale_type, row.scale_type);
        EXPECT_EQ(find_format(row.name), row.format);
    }
    EXPECT_EQ(find_format("int4"), std::nullopt);
}

TEST(QuantScheme, TextForReports) {
    EXPECT_EQ(scheme_text({Format::U4, 128}), "u4 in groups of 128");
    EXPECT_EQ(scheme_text({Format::I8, 0}), "i8 per channel");
}

void expect_bytes(Scheme scheme, std::uint64_t rows, std::uint64_t columns, std::uint64_t packed,
                  std::uint64_t zero_points, std::uint64_t scales) {
    const StorageBytes bytes = storage_bytes(scheme, rows, columns);
    EXPECT_EQ(bytes.packed, packed) << scheme_text(scheme);
    EXPECT_EQ(bytes.zero_points, zero_points) << scheme_text(scheme);
    EXPECT_EQ(bytes.scales, scales) << scheme_text(scheme);
}

TEST(QuantScheme, StorageBytes) {
    expect_bytes({Format::U8, 0}, 3, 100, 300, 3, 6);
    expect_bytes({Format::I8, 0}, 3, 100, 300, 0, 6);
    expect_bytes({Format::U4, 0}, 3, 100, 150, 2, 6);
    expect_bytes({Format::U4, 128}, 9, 1152, 5184, 41, 162);
    expect_bytes({Format::I4, 32}, 2, 64, 64, 0, 8);
    expect_bytes({Format::NF4, 64}, 2, 64, 64, 0, 4);
    expect_bytes({Format::MXFP4, 32}, 2, 64, 64, 0, 4);
    expect_bytes({Format::U4, 32}, 0, 64, 0, 0, 0);
}

TEST(QuantScheme, SizesThatOverflowAreRefused) {
    const std::uint64_t huge = std::numeric_limits<std::uint64_t>::max() / 2;
    EXPECT_THROW(storage_bytes({Format::U8, 0}, huge, 1024), Error);
    EXPECT_THROW(storage_bytes({Format::I8, 0}, huge + 1, 1), Error);
}

TEST(QuantScheme, RulesAreStated) {
    EXPECT_EQ(why_unfit({Format::U4, 128}, 1024), "");
    EXPECT_EQ(why_unfit({Format::U8, 0}, 3), "");
    EXPECT_EQ(why_unfit({Format::MXFP4, 32}, 64), "");
    EXPECT_EQ(why_unfit({Format::I4, 7}, 128), "group size 7 does not divide 128 columns");
    EXPECT_EQ(why_unfit({Format::U4, 128}, 1056), "group size 128 does not divide 1056 columns");
    EXPECT_EQ(why_unfit({Format::I4, 48}, 96), "group size 48 is not a power of two of at least 16");
    EXPECT_EQ(why_unfit({Format::I4, 8}, 96), "group size 8 is not a power of two of at least 16");
    EXPECT_EQ(why_unfit({Format::U4, 0}, 101), "u4 needs an even number of columns, got 101");
    EXPECT_EQ(why_unfit({Format::I8, 0}, 1), "a weight with 1 column is not quantized: the scale would be the weight");
    EXPECT_EQ(why_unfit({Format::U8, 0}, 0), "a weight with 0 columns is not quantized: the scale would be the weight");
    EXPECT_EQ(why_unfit({Format::MXFP4, 0}, 64), "mxfp4 needs groups of 32 columns, not per channel");
    EXPECT_EQ(why_unfit({Format::MXFP4, 64}, 64), "mxfp4 needs groups of 32 columns, got 64");
    EXPECT_EQ(why_unfit({Format::MXFP4, 32}, 48), "group size 32 does not divide 48 columns");
}

}  // namespace
}  // namespace deltavino::quant
