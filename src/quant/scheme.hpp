// Which low-precision formats exist, how a weight is cut into groups, and how many bytes that
// takes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace deltavino::quant {

enum class Format : std::uint8_t { U8, I8, U4, I4, NF4, MXFP4 };
enum class ScaleType : std::uint8_t { F16, F8E8M0 };

struct FormatTraits {
    Format format;
    std::string_view name;  // as in options and reports
    unsigned bits;
    bool integer;
    bool zero_point;  // stored per group in the same low type; false means symmetric
    ScaleType scale_type;
};

const FormatTraits& traits(Format format);
std::optional<Format> find_format(std::string_view name);

// A weight [rows, columns] is cut along its rows into groups of `group_size` columns; each group
// has one scale and, for U8 and U4, one zero point.
struct Scheme {
    Format format = Format::U8;
    std::uint64_t group_size = 0;  // 0: one group per row ("per channel")

    bool operator==(const Scheme&) const = default;
};

// "u4 in groups of 128", "i8 per channel".
std::string scheme_text(const Scheme& scheme);

std::uint64_t groups_per_row(const Scheme& scheme, std::uint64_t columns);

struct StorageBytes {
    std::uint64_t packed = 0;
    std::uint64_t zero_points = 0;
    std::uint64_t scales = 0;
};

// Bytes of the three constants of a weight. 4-bit zero points are one stream over all groups of all
// rows, two to a byte, so their bytes can be cut by rows only where rows * groups is even.
// Throws ErrorKind::Input when a size does not fit 64 bits.
StorageBytes storage_bytes(const Scheme& scheme, std::uint64_t rows, std::uint64_t columns);

// Empty when weights of this many columns can be stored so, else the rule that is broken, as in
// "group size 7 does not divide 128 columns".
std::string why_unfit(const Scheme& scheme, std::uint64_t columns);

}  // namespace deltavino::quant
