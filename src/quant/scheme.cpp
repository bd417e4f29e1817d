// The table of formats and the rules of their storage.
// Source of truth: the Constants that nncf 3.4.0 writes (tests/golden_quant) and what the OpenVINO
// CPU plugin keeps compressed. Which weight gets which scheme is decided elsewhere.
#include "quant/scheme.hpp"

#include "base/checked.hpp"

#include <array>
#include <bit>

namespace deltavino::quant {
namespace {

constexpr std::uint64_t kSmallestGroup = 16;
constexpr std::uint64_t kMxfp4Group = 32;

constexpr std::array<FormatTraits, 6> kFormats = {{
    {Format::U8, "u8", 8, true, true, ScaleType::F16},
    {Format::I8, "i8", 8, true, false, ScaleType::F16},
    {Format::U4, "u4", 4, true, true, ScaleType::F16},
    {Format::I4, "i4", 4, true, false, ScaleType::F16},
    {Format::NF4, "nf4", 4, false, false, ScaleType::F16},
    {Format::MXFP4, "mxfp4", 4, false, false, ScaleType::F8E8M0},
}};

std::uint64_t bytes_of(std::uint64_t count, unsigned bits) {
    return bits == 4 ? count / 2 + count % 2 : count;
}

}  // namespace

const FormatTraits& traits(Format format) {
    return kFormats[static_cast<std::size_t>(format)];
}

std::optional<Format> find_format(std::string_view name) {
    for (const FormatTraits& row : kFormats) {
        if (row.name == name) {
            return row.format;
        }
    }
    return std::nullopt;
}

std::string scheme_text(const Scheme& scheme) {
    const std::string_view name = traits(scheme.format).name;
    return scheme.group_size == 0 ? fmt::format("{} per channel", name)
                                  : fmt::format("{} in groups of {}", name, scheme.group_size);
}

std::uint64_t groups_per_row(const Scheme& scheme, std::uint64_t columns) {
    return scheme.group_size == 0 ? 1 : columns / scheme.group_size;
}

StorageBytes storage_bytes(const Scheme& scheme, std::uint64_t rows, std::uint64_t columns) {
    const FormatTraits& format = traits(scheme.format);
    const std::uint64_t groups = checked_multiply(rows, groups_per_row(scheme, columns));
    StorageBytes bytes;
    bytes.packed = bytes_of(checked_multiply(rows, columns), format.bits);
    bytes.zero_points = format.zero_point ? bytes_of(groups, format.bits) : 0;
    bytes.scales = format.scale_type == ScaleType::F16 ? checked_multiply(groups, 2) : groups;
    return bytes;
}

std::string why_unfit(const Scheme& scheme, std::uint64_t columns) {
    const FormatTraits& format = traits(scheme.format);
    if (columns < 2) {
        return fmt::format("a weight with {} column{} is not quantized: the scale would be the weight", columns,
                           columns == 1 ? "" : "s");
    }
    if (format.bits == 4 && columns % 2 != 0) {
        return fmt::format("{} needs an even number of columns, got {}", format.name, columns);
    }
    if (scheme.format == Format::MXFP4 && scheme.group_size != kMxfp4Group) {
        return scheme.group_size == 0
                   ? fmt::format("mxfp4 needs groups of {} columns, not per channel", kMxfp4Group)
                   : fmt::format("mxfp4 needs groups of {} columns, got {}", kMxfp4Group, scheme.group_size);
    }
    if (scheme.group_size == 0) {
        return {};
    }
    if (columns % scheme.group_size != 0) {
        return fmt::format("group size {} does not divide {} columns", scheme.group_size, columns);
    }
    if (!std::has_single_bit(scheme.group_size) || scheme.group_size < kSmallestGroup) {
        return fmt::format("group size {} is not a power of two of at least {}", scheme.group_size, kSmallestGroup);
    }
    return {};
}

}  // namespace deltavino::quant
