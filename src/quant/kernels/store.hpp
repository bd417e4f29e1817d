// Codes of sixteen groups from their scales, packed, with the error they leave.
// Include rules as in batch.hpp.
#pragma once

#include "quant/kernels/search.hpp"

namespace deltavino::quant {

template <typename Lanes>
struct Coded {
    Lanes code;
    Lanes value;  // as it comes back
};

// With nncf's rounding of the quotient.
template <typename Lanes>
struct DividingCoder {
    Lanes divisor, scale, zero, low, high;

    Coded<Lanes> operator()(Lanes w) const {
        const Lanes code = round_whole(clamp(w / divisor + zero, low, high));
        return {code, (code - zero) * scale};
    }
};

// With the levels that the search counted on; several times as fast.
template <typename Lanes>
struct SearchedCoder {
    IntegerLevels<Lanes> levels;
    Lanes scale, zero;

    Coded<Lanes> operator()(Lanes w) const {
        const Lanes level = levels(w);
        return {level + zero, level * scale};
    }
};

template <typename Lanes>
struct BookCoder {
    const Codebook& book;
    Lanes divisor, scale;

    Coded<Lanes> operator()(Lanes w) const {
        const Lanes x = w / divisor;
        const Lanes bucket =
            clamp(x * Lanes::set(book.buckets_per_unit) + Lanes::set(book.offset), Lanes::set(0.0f), Lanes::set(31.0f));
        const Lanes border = lookup(book.border, bucket);
        const Lanes level = select_less(x, border, lookup(book.low, bucket), lookup(book.high, bucket));
        const Lanes code = select_less(x, border, lookup(book.low_code, bucket), lookup(book.high_code, bucket));
        const Lanes zero_code = select_negative(x, Lanes::set(book.negative_zero_code), code);
        const Lanes is_zero = Lanes::set(0x1p-100f);
        return {select_less(abs(level), is_zero, zero_code, code), level * scale};
    }
};

template <typename Lanes>
inline void store_codes(unsigned bits, std::byte* to, std::size_t count, Lanes code) {
    auto* bytes = reinterpret_cast<std::uint8_t*>(to);
    std::uint8_t rest[kLaneCount];
    std::uint8_t* target = count == kLaneCount ? bytes : rest;
    if (bits == 4) {
        store_nibbles(target, code);
    } else {
        store_bytes(target, code);
    }
    if (count != kLaneCount) {
        std::memcpy(bytes, rest, bits == 4 ? (count + 1) / 2 : count);
    }
}

template <typename Lanes>
inline Lanes load_some(const float* from, std::size_t count) {
    if (count == kLaneCount) {
        return Lanes::load(from);
    }
    float values[kLaneCount] = {};
    std::memcpy(values, from, count * sizeof(float));
    return Lanes::load(values);
}

// Per lane, over the groups of a batch.
template <typename Lanes>
struct Losses {
    Lanes squared, error, weighted, worst;
};

template <typename Lanes, typename Coder>
void store_group(const Coder& coder, unsigned bits, const float* row, std::size_t group, const float* importance,
                 std::byte* packed, Losses<Lanes>& losses) {
    const Lanes nothing = Lanes::set(0.0f);
    Losses<Lanes> sums = {nothing, nothing, nothing, losses.worst};
    for (std::size_t i = 0; i < group; i += kLaneCount) {
        const std::size_t count = group - i < kLaneCount ? group - i : kLaneCount;
        const Lanes w = Lanes::load(row + i);
        const Coded<Lanes> coded = coder(w);
        store_codes(bits, packed + i * bits / 8, count, coded.code);
        const Lanes miss = w - coded.value;
        sums.squared = sums.squared + w * w;
        sums.error = sums.error + miss * miss;
        sums.worst = max(abs(miss), sums.worst);
        if (importance != nullptr) {
            sums.weighted = sums.weighted + miss * miss * load_some<Lanes>(importance + i, count);
        }
    }
    losses = {losses.squared + sums.squared, losses.error + sums.error, losses.weighted + sums.weighted, sums.worst};
}

template <typename Lanes>
void add_losses(const Losses<Lanes>& losses, BlockStatistics& statistics) {
    statistics.squared_weight += static_cast<double>(sum(losses.squared));
    statistics.squared_error += static_cast<double>(sum(losses.error));
    statistics.weighted_error += static_cast<double>(sum(losses.weighted));
    const double largest_error = static_cast<double>(largest(losses.worst));
    if (largest_error > statistics.max_abs_error) {
        statistics.max_abs_error = largest_error;
    }
}

template <typename Lanes>
void store_scales(const QuantizeJob& job, const Batch& batch, const Choice<Lanes>& choice) {
    if (job.format == Format::MXFP4) {  // powers of two from 2^-126: the scale type is their exponent
        float scales[kLaneCount];
        choice.scale.store(scales);
        for (std::size_t j = 0; j < batch.count; ++j) {
            const std::uint32_t bits = __builtin_bit_cast(std::uint32_t, scales[j]);
            job.scales[batch.first + j] = static_cast<std::byte>(bits >> 23);
        }
        return;
    }
    std::byte halves[kLaneCount * 2];
    store_f16(halves, choice.scale);
    std::memcpy(job.scales + batch.first * 2, halves, batch.count * 2);
    if (job.zero_points != nullptr) {
        const unsigned bits = job.format == Format::U4 ? 4 : 8;
        store_codes(bits, job.zero_points + batch.first * bits / 8, batch.count, choice.zero);
    }
}

template <typename Lanes>
void store_batch(const QuantizeJob& job, const Batch& batch, const Choice<Lanes>& choice, BlockStatistics& statistics) {
    store_scales(job, batch, choice);
    float divisors[kLaneCount];
    float scales[kLaneCount];
    float zeros[kLaneCount];
    choice.divisor.store(divisors);
    choice.scale.store(scales);
    choice.zero.store(zeros);
    const unsigned bits = job.format == Format::U8 || job.format == Format::I8 ? 8 : 4;
    const CodeRange range = code_range(job.format);
    const Lanes nothing = Lanes::set(0.0f);
    Losses<Lanes> losses = {nothing, nothing, nothing, nothing};
    for (std::size_t j = 0; j < batch.count; ++j) {
        const std::size_t begin = (batch.first + j) * job.group;
        const float* row = batch.rows + j * batch.stride;
        const float* importance =
            job.importance == nullptr ? nullptr : job.importance + first_column(job, batch.first + j);
        std::byte* packed = job.packed + begin * bits / 8;
        const Lanes divisor = Lanes::set(divisors[j]);
        const Lanes scale = Lanes::set(scales[j]);
        if (range.steps > 0 && job.search == Search::LeastError) {
            const Lanes zero = Lanes::set(zeros[j]);
            const SearchedCoder<Lanes> coder = {
                integer_levels(scale, Lanes::set(range.low) - zero, Lanes::set(range.low + range.steps) - zero), scale,
                zero};
            store_group<Lanes>(coder, bits, row, job.group, importance, packed, losses);
        } else if (range.steps > 0) {
            const DividingCoder<Lanes> coder = {divisor, scale, Lanes::set(zeros[j]), Lanes::set(range.low),
                                                Lanes::set(range.low + range.steps)};
            store_group<Lanes>(coder, bits, row, job.group, importance, packed, losses);
        } else {
            const BookCoder<Lanes> coder = {job.format == Format::NF4 ? kNf4Book : kF4e2m1Book, divisor, scale};
            store_group<Lanes>(coder, bits, row, job.group, importance, packed, losses);
        }
        statistics.scale_overflows += scales[j] - scales[j] == 0.0f ? 0u : 1u;
    }
    add_losses(losses, statistics);
}

}  // namespace deltavino::quant
