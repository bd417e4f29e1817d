// Scales and zero points of least squared error, tried out for sixteen groups at once.
// A trial rounds a group with some scale, then takes the scale that fits those codes best (least
// squares), rounded as it will be stored: what a trial promises can be stored. nncf's own choice is
// the first trial and the last word: it stays where nothing is better. Include rules as in
// batch.hpp.
#pragma once

#include "quant/kernels/choose.hpp"

namespace deltavino::quant {

inline constexpr float kSmallestScale = 0x1p-24f;  // of f16
inline constexpr float kLargestScale = 65504.0f;

// A scale as f16 stores it, kept away from zero and infinity.
template <typename Lanes>
inline Lanes storable(Lanes scale) {
    const Lanes size = clamp(round_to_f16(abs(scale)), Lanes::set(kSmallestScale), Lanes::set(kLargestScale));
    return select_negative(scale, Lanes::set(0.0f) - size, size);
}

// Of w against the levels t of a trial: sums over the group, each value times its importance.
template <typename Lanes>
struct Sums {
    Lanes cross;   // w * t
    Lanes square;  // t * t
};

// Integer levels low ... low + steps around zero. Rounding is the loss of the fraction beside a large
// number; the ends are cut off while that number is still there.
template <typename Lanes>
struct IntegerLevels {
    Lanes inverse, low, high;

    Lanes operator()(Lanes w) const {
        const Lanes magic = Lanes::set(kRoundingMagic);
        return clamp(fma(w, inverse, magic), low, high) - magic;
    }
};

template <typename Lanes>
inline IntegerLevels<Lanes> integer_levels(Lanes scale, Lanes low, Lanes high) {
    const Lanes magic = Lanes::set(kRoundingMagic);
    return {Lanes::set(1.0f) / scale, magic + low, magic + high};
}

template <typename Lanes>
struct BookLevels {
    const Codebook* book;
    Lanes inverse;

    Lanes operator()(Lanes w) const {
        const Lanes x = w * inverse;
        const Lanes bucket = clamp(fma(x, Lanes::set(book->buckets_per_unit), Lanes::set(book->offset)),
                                   Lanes::set(0.0f), Lanes::set(31.0f));
        return select_less(x, lookup(book->border, bucket), lookup(book->low, bucket), lookup(book->high, bucket));
    }
};

// Some trials in one pass: they share the loads, and their sums do not wait for each other.
template <bool kWeighted, std::size_t kTrials, typename Lanes, typename Levels>
[[gnu::always_inline]] inline void add_sums(const Batch& batch, const Levels (&levels)[kTrials],
                                            Sums<Lanes> (&sums)[kTrials]) {
    for (Sums<Lanes>& sum : sums) {
        sum = {Lanes::set(0.0f), Lanes::set(0.0f)};
    }
    for_each_value<Lanes>(batch.group, [&](std::size_t i) {
        const Lanes w = Lanes::load(batch.turned + i * kLaneCount);
#pragma GCC unroll 4
        for (std::size_t k = 0; k < kTrials; ++k) {
            const Lanes t = levels[k](w);
            if constexpr (kWeighted) {
                const Lanes weighted = t * Lanes::load(batch.turned_importance + i * kLaneCount);
                sums[k] = {fma(w, weighted, sums[k].cross), fma(t, weighted, sums[k].square)};
            } else {
                sums[k] = {fma(w, t, sums[k].cross), fma(t, t, sums[k].square)};
            }
        }
    });
}

// As Sums, of what is left over: exact enough for eight bits, where w * t hides it.
template <typename Lanes>
struct Residue {
    Lanes error;   // miss * miss
    Lanes cross;   // miss * t
    Lanes square;  // t * t
};

template <bool kWeighted, std::size_t kTrials, typename Lanes, typename Levels>
[[gnu::always_inline]] inline void add_residues(const Batch& batch, const Levels (&levels)[kTrials],
                                                const Lanes (&scales)[kTrials], Residue<Lanes> (&sums)[kTrials]) {
    const Lanes nothing = Lanes::set(0.0f);
    for (Residue<Lanes>& sum : sums) {
        sum = {nothing, nothing, nothing};
    }
    for_each_value<Lanes>(batch.group, [&](std::size_t i) {
        const Lanes w = Lanes::load(batch.turned + i * kLaneCount);
#pragma GCC unroll 4
        for (std::size_t k = 0; k < kTrials; ++k) {
            const Lanes t = levels[k](w);
            const Lanes miss = fma(nothing - t, scales[k], w);
            Residue<Lanes>& sum = sums[k];
            if constexpr (kWeighted) {
                const Lanes importance = Lanes::load(batch.turned_importance + i * kLaneCount);
                const Lanes weighted = miss * importance;
                sum = {fma(miss, weighted, sum.error), fma(t, weighted, sum.cross), fma(t * importance, t, sum.square)};
            } else {
                sum = {fma(miss, miss, sum.error), fma(miss, t, sum.cross), fma(t, t, sum.square)};
            }
        }
    });
}

// The best trial so far. A gain is by how much a trial lowers the squared error, up to a constant.
template <typename Lanes>
struct Best {
    Lanes gain;
    Lanes tried;  // the scale that made the codes
    Lanes scale;  // the storable scale that fits them
    Lanes zero;

    void offer(Lanes new_gain, Lanes new_tried, Lanes new_scale, Lanes new_zero) {
        tried = select_less(gain, new_gain, new_tried, tried);
        scale = select_less(gain, new_gain, new_scale, scale);
        zero = select_less(gain, new_gain, new_zero, zero);
        gain = select_less(gain, new_gain, new_gain, gain);
    }
};

// Searches one integer format. The scale is positive here; a symmetric format has two positions of
// zero, the lower of which (7 in four bits) stands for a negative scale.
template <bool kWeighted, typename Lanes>
class IntegerSearch {
public:
    IntegerSearch(const Batch& batch, Format format, Lanes scale, Lanes zero)
        : batch_(batch),
          steps_(code_range(format).steps),
          base_scale_(scale),
          base_zero_(zero),
          best_{Lanes::set(-3.0e38f), scale, scale, zero} {
        attempt({scale}, {zero});
    }

    Lanes steps() const { return Lanes::set(steps_); }
    const Best<Lanes>& best() const { return best_; }

    // Trials of these scales and zero points, in one pass over the group.
    template <std::size_t kTrials>
    [[gnu::always_inline]] void attempt(const Lanes (&scales)[kTrials], const Lanes (&zeros)[kTrials]) {
        IntegerLevels<Lanes> levels[kTrials];
        for (std::size_t k = 0; k < kTrials; ++k) {
            levels[k] = levels_of(scales[k], zeros[k]);
        }
        if (steps_ > 15.0f) {
            attempt_by_residue(levels, scales, zeros);
            return;
        }
        Sums<Lanes> sums[kTrials];
        add_sums<kWeighted>(batch_, levels, sums);
        for (std::size_t k = 0; k < kTrials; ++k) {
            const Lanes cross = sums[k].cross;
            const Lanes square = sums[k].square;
            const Lanes fitted = storable(max(cross / square, Lanes::set(0.0f)));
            best_.offer(fitted * (cross + cross - fitted * square), scales[k], fitted, zeros[k]);
        }
    }

    // The best scale and zero point, or those of the start where nothing is better.
    Choice<Lanes> result() {
        attempt({best_.scale}, {best_.zero});
        const Lanes scales[] = {base_scale_, best_.scale};
        const IntegerLevels<Lanes> levels[] = {levels_of(base_scale_, base_zero_), levels_of(best_.scale, best_.zero)};
        Residue<Lanes> sums[2];
        add_residues<kWeighted>(batch_, levels, scales, sums);
        const Lanes scale = select_less(sums[1].error, sums[0].error, best_.scale, base_scale_);
        const Lanes zero = select_less(sums[1].error, sums[0].error, best_.zero, base_zero_);
        return {scale, scale, zero};
    }

private:
    IntegerLevels<Lanes> levels_of(Lanes scale, Lanes zero) const {
        return integer_levels(scale, Lanes::set(0.0f) - zero, steps() - zero);
    }

    template <std::size_t kTrials>
    [[gnu::always_inline]] void attempt_by_residue(const IntegerLevels<Lanes> (&levels)[kTrials],
                                                   const Lanes (&scales)[kTrials], const Lanes (&zeros)[kTrials]) {
        Residue<Lanes> sums[kTrials];
        add_residues<kWeighted>(batch_, levels, scales, sums);
        for (std::size_t k = 0; k < kTrials; ++k) {
            const Lanes cross = sums[k].cross;
            const Lanes fitted = storable(max(scales[k] + cross / sums[k].square, Lanes::set(0.0f)));
            const Lanes change = fitted - scales[k];
            const Lanes gain = change * (cross + cross - change * sums[k].square) - sums[k].error;
            best_.offer(gain, scales[k], fitted, zeros[k]);
        }
    }

    const Batch& batch_;
    float steps_;
    Lanes base_scale_, base_zero_;
    Best<Lanes> best_;
};

// Fractions of the scale that just covers the group, two by two. Above 1, the ends of the group may
// fall on levels better; far below, outliers are cut off. Chosen one after the other, each the one
// that lowers the squared error of normal, Laplace, Student and trained weights most; with the
// nearby ones below, about 0.1 % of it is left to a search a hundred times as dense.
inline constexpr float kFourBitFractions[][2] = {{0.92f, 1.06f}, {0.86f, 0.97f}, {1.13f, 0.8f},
                                                 {0.74f, 0.66f}, {0.56f, 0.47f}, {0.4f, 0.34f}};
inline constexpr float kEightBitFractions[][2] = {{0.9925f, 1.0075f}, {0.985f, 0.9975f}, {1.015f, 0.95f}, {0.9f, 0.8f}};
inline constexpr float kNearby[][2] = {{0.98f, 1.02f}, {0.96f, 1.04f}};  // of the best of those
inline constexpr float kShiftedFractions[] = {0.98f, 1.0f, 1.02f};       // with another zero point
inline constexpr std::size_t kOnlyForLongGroups = 1;                     // of the pairs, the last ones
inline constexpr std::size_t kLongGroup = 512;

template <std::size_t kCount, typename Attempt>
[[gnu::always_inline]] inline void for_each_pair(const float (&fractions)[kCount][2], std::size_t group,
                                                 const Attempt& attempt) {
    const std::size_t count = group < kLongGroup ? kCount - kOnlyForLongGroups : kCount;
    for (std::size_t i = 0; i < count; ++i) {
        attempt(fractions[i]);
    }
}

template <bool kWeighted, typename Lanes>
Choice<Lanes> search_asymmetric(const Batch& batch, Format format, const Extent<Lanes>& extent,
                                const Choice<Lanes>& nncf) {
    IntegerSearch<kWeighted, Lanes> search(batch, format, storable(nncf.scale), nncf.zero);
    const Lanes nothing = Lanes::set(0.0f);
    const Lanes steps = search.steps();
    const Lanes least = min(nothing, extent.least);
    const Lanes most = max(nothing, extent.most);
    const Lanes covering = (most - least) / steps;
    const auto centered = [&](Lanes scale) {  // as much cut off at one end as at the other
        const Lanes middle = (least + most) / (scale + scale);
        return round_whole(clamp(steps * Lanes::set(0.5f) - middle, nothing, steps));
    };
    const auto coarse = [&](const float (&fractions)[2]) {
        const Lanes first = storable(covering * Lanes::set(fractions[0]));
        const Lanes second = storable(covering * Lanes::set(fractions[1]));
        search.attempt({first, second}, {centered(first), centered(second)});
    };
    if (format == Format::U8) {
        for_each_pair(kEightBitFractions, batch.group, coarse);
        return search.result();
    }
    for_each_pair(kFourBitFractions, batch.group, coarse);
    const Best<Lanes> middle = search.best();
    const auto shifted = [&](float by) {
        return clamp(middle.zero + Lanes::set(by), nothing, steps);
    };
    for (float fraction : kShiftedFractions) {
        const Lanes scale = middle.tried * Lanes::set(fraction);
        search.attempt({scale, scale}, {shifted(-1.0f), shifted(1.0f)});
    }
    search.attempt({middle.tried * Lanes::set(0.98f), middle.tried * Lanes::set(1.02f)}, {middle.zero, middle.zero});
    return search.result();
}

template <bool kWeighted, typename Lanes>
Choice<Lanes> search_symmetric(const Batch& batch, Format format, const Extent<Lanes>& extent,
                               const Choice<Lanes>& nncf) {
    const Lanes upper = Lanes::set(-code_range(format).low);
    const Lanes lower = upper - Lanes::set(1.0f);
    const Lanes base_zero = select_negative(nncf.scale, lower, upper);
    IntegerSearch<kWeighted, Lanes> search(batch, format, storable(abs(nncf.scale)), base_zero);
    const Lanes covering = max(abs(extent.least), abs(extent.most)) / upper;
    if (format == Format::I8) {
        for_each_pair(kEightBitFractions, batch.group, [&](const float (&fractions)[2]) {
            search.attempt(
                {storable(covering * Lanes::set(fractions[0])), storable(covering * Lanes::set(fractions[1]))},
                {base_zero, base_zero});
        });
    } else {
        for_each_pair(kFourBitFractions, batch.group, [&](const float (&fractions)[2]) {
            for (float fraction : fractions) {
                const Lanes scale = storable(covering * Lanes::set(fraction));
                search.attempt({scale, scale}, {upper, lower});
            }
        });
        const Best<Lanes> middle = search.best();
        for (const float (&fractions)[2] : kNearby) {
            search.attempt({middle.tried * Lanes::set(fractions[0]), middle.tried * Lanes::set(fractions[1])},
                           {middle.zero, middle.zero});
        }
    }
    const Choice<Lanes> found = search.result();
    const Lanes scale = select_less(found.zero, upper, Lanes::set(0.0f) - found.scale, found.scale);
    return {scale, scale, Lanes::set(0.0f)};
}

inline constexpr float kMxfp4Factors[] = {1.0f, 0.5f, 2.0f};
inline constexpr float kNf4Fractions[] = {1.08f, 1.04f, 0.96f, 0.92f, 0.88f, 0.83f, 0.78f, 0.68f, 0.58f, 0.48f};

template <bool kWeighted, typename Lanes>
Choice<Lanes> search_nf4(const Batch& batch, const Extent<Lanes>& extent, const Choice<Lanes>& nncf) {
    const Lanes nothing = Lanes::set(0.0f);
    const Lanes base = storable(nncf.scale);
    Best<Lanes> best = {Lanes::set(-3.0e38f), base, base, nothing};
    const auto levels_of = [](Lanes scale) {
        return BookLevels<Lanes>{&kNf4Book, Lanes::set(1.0f) / scale};
    };
    const auto both_signs = [&](Lanes scale) {  // the levels are not the same on both sides of zero
        const Lanes scales[] = {scale, nothing - scale};
        const BookLevels<Lanes> levels[] = {levels_of(scales[0]), levels_of(scales[1])};
        Sums<Lanes> sums[2];
        add_sums<kWeighted>(batch, levels, sums);
        for (std::size_t k = 0; k < 2; ++k) {
            const Lanes cross = sums[k].cross;
            const Lanes square = sums[k].square;
            const Lanes fitted = storable(cross / square);
            best.offer(fitted * (cross + cross - fitted * square), scales[k], fitted, nothing);
        }
    };
    const Lanes largest = max(abs(extent.least), abs(extent.most));
    both_signs(base);
    for (float fraction : kNf4Fractions) {
        both_signs(storable(largest * Lanes::set(fraction)));
    }
    both_signs(best.scale);
    const Lanes scales[] = {base, best.scale};
    const BookLevels<Lanes> levels[] = {levels_of(base), levels_of(best.scale)};
    Residue<Lanes> sums[2];
    add_residues<kWeighted>(batch, levels, scales, sums);
    const Lanes scale = select_less(sums[1].error, sums[0].error, best.scale, base);
    return {scale, scale, nothing};
}

template <bool kWeighted, typename Lanes>
Choice<Lanes> search_mxfp4(const Batch& batch, const Choice<Lanes>& nncf) {
    Lanes scales[3] = {nncf.scale, nncf.scale, nncf.scale};
    BookLevels<Lanes> levels[3];
    for (std::size_t k = 0; k < 3; ++k) {
        scales[k] = clamp(nncf.scale * Lanes::set(kMxfp4Factors[k]), Lanes::set(0x1p-126f), Lanes::set(0x1p127f));
        levels[k] = {&kF4e2m1Book, Lanes::set(1.0f) / scales[k]};
    }
    Residue<Lanes> sums[3];
    add_residues<kWeighted>(batch, levels, scales, sums);
    Lanes best = scales[0];
    Lanes least_error = sums[0].error;
    for (std::size_t k = 1; k < 3; ++k) {
        best = select_less(sums[k].error, least_error, scales[k], best);
        least_error = min(sums[k].error, least_error);
    }
    return {best, best, nncf.zero};
}

template <bool kWeighted, typename Lanes>
Choice<Lanes> search_scales(Format format, const Batch& batch, const Extent<Lanes>& extent, const Choice<Lanes>& nncf) {
    switch (format) {
        case Format::U8:
        case Format::U4: return search_asymmetric<kWeighted>(batch, format, extent, nncf);
        case Format::I8:
        case Format::I4: return search_symmetric<kWeighted>(batch, format, extent, nncf);
        case Format::NF4: return search_nf4<kWeighted>(batch, extent, nncf);
        default: return search_mxfp4<kWeighted>(batch, nncf);
    }
}

}  // namespace deltavino::quant
