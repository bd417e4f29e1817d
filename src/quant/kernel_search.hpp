// Scales and zero points of least squared error, tried out for sixteen groups at once.
// A trial rounds a group with some scale, then takes the scale that fits those codes best (least
// squares), rounded as it will be stored: what a trial promises can be stored. nncf's own choice is
// the first trial and the last word: it stays where nothing is better. Include rules as in
// kernel_batch.hpp.
#pragma once

#include "quant/kernel_choose.hpp"

namespace deltavino::quant {

inline constexpr float kSmallestScale = 0x1p-24f;  // of f16
inline constexpr float kLargestScale = 65504.0f;

// A scale as f16 stores it, kept away from zero and infinity.
template <typename Lanes>
inline Lanes storable(Lanes scale) {
    const Lanes size =
        clamp(round_to_f16(abs(scale)), Lanes::set(kSmallestScale), Lanes::set(kLargestScale));
    return select_negative(scale, Lanes::set(0.0f) - size, size);
}

// Of w against the levels t of a trial: sums over the group, each value times its importance.
template <typename Lanes>
struct Sums {
    Lanes cross;   // w * t
    Lanes square;  // t * t
};

// Integer levels low ... low + steps around zero.
template <typename Lanes>
struct IntegerLevels {
    Lanes inverse, low, high;

    Lanes operator()(Lanes w) const { return round_whole(clamp(w * inverse, low, high)); }
};

template <typename Lanes>
struct BookLevels {
    const Codebook& book;
    Lanes inverse;

    Lanes operator()(Lanes w) const {
        const Lanes x = w * inverse;
        const Lanes bucket = clamp(x * Lanes::set(book.buckets_per_unit) + Lanes::set(book.offset),
                                   Lanes::set(0.0f), Lanes::set(31.0f));
        return select_less(x, lookup(book.border, bucket), lookup(book.low, bucket),
                           lookup(book.high, bucket));
    }
};

template <bool kWeighted, typename Lanes, typename Levels>
Sums<Lanes> sums_of(const Batch& batch, const Levels& levels) {
    Sums<Lanes> sums = {Lanes::set(0.0f), Lanes::set(0.0f)};
    for_each_value(batch.group, [&](std::size_t i) {
        const Lanes w = Lanes::load(batch.turned + i * kLaneCount);
        const Lanes t = levels(w);
        if constexpr (kWeighted) {
            const Lanes weighted = t * Lanes::load(batch.turned_importance + i * kLaneCount);
            sums.cross = sums.cross + w * weighted;
            sums.square = sums.square + t * weighted;
        } else {
            sums.cross = sums.cross + w * t;
            sums.square = sums.square + t * t;
        }
    });
    return sums;
}

// As sums_of, of what is left over: exact enough for eight bits, where w * t hides it.
template <typename Lanes>
struct Residue {
    Lanes error;   // miss * miss
    Lanes cross;   // miss * t
    Lanes square;  // t * t
};

template <bool kWeighted, typename Lanes, typename Levels>
Residue<Lanes> residue_of(const Batch& batch, const Levels& levels, Lanes scale) {
    Residue<Lanes> sums = {Lanes::set(0.0f), Lanes::set(0.0f), Lanes::set(0.0f)};
    for_each_value(batch.group, [&](std::size_t i) {
        const Lanes w = Lanes::load(batch.turned + i * kLaneCount);
        const Lanes t = levels(w);
        const Lanes miss = w - t * scale;
        if constexpr (kWeighted) {
            const Lanes importance = Lanes::load(batch.turned_importance + i * kLaneCount);
            const Lanes weighted = miss * importance;
            sums.error = sums.error + miss * weighted;
            sums.cross = sums.cross + t * weighted;
            sums.square = sums.square + t * (t * importance);
        } else {
            sums.error = sums.error + miss * miss;
            sums.cross = sums.cross + miss * t;
            sums.square = sums.square + t * t;
        }
    });
    return sums;
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
    IntegerSearch(const Batch& batch, Format format)
        : batch_(batch), steps_(code_range(format).steps) {}

    Lanes steps() const { return Lanes::set(steps_); }
    const Best<Lanes>& best() const { return best_; }

    void start(Lanes scale, Lanes zero) {
        const Lanes worst = Lanes::set(-3.0e38f);
        best_ = {worst, scale, scale, zero};
        attempt(scale, zero);
    }

    void attempt(Lanes scale, Lanes zero) {
        if (steps_ > 15.0f) {
            attempt_by_residue(scale, zero);
            return;
        }
        const Sums<Lanes> sums = sums_of<kWeighted, Lanes>(batch_, levels(scale, zero));
        const Lanes fitted = storable(max(sums.cross / sums.square, Lanes::set(0.0f)));
        const Lanes gain = fitted * (sums.cross + sums.cross - fitted * sums.square);
        best_.offer(gain, scale, fitted, zero);
    }

    Lanes error_of(Lanes scale, Lanes zero) const {
        return residue_of<kWeighted>(batch_, levels(scale, zero), scale).error;
    }

private:
    IntegerLevels<Lanes> levels(Lanes scale, Lanes zero) const {
        return {Lanes::set(1.0f) / scale, Lanes::set(0.0f) - zero, steps() - zero};
    }

    void attempt_by_residue(Lanes scale, Lanes zero) {
        const Residue<Lanes> sums = residue_of<kWeighted>(batch_, levels(scale, zero), scale);
        const Lanes fitted = storable(max(scale + sums.cross / sums.square, Lanes::set(0.0f)));
        const Lanes change = fitted - scale;
        const Lanes gain = change * (sums.cross + sums.cross - change * sums.square) - sums.error;
        best_.offer(gain, scale, fitted, zero);
    }

    const Batch& batch_;
    float steps_;
    Best<Lanes> best_;
};

// Fractions of the scale that just covers the group. Above 1, the ends of the group may fall on
// levels better; far below, outliers are cut off. Found by comparison with a search a hundred times
// as dense: what is left to gain is about 0.1 % of the squared error.
inline constexpr float kFourBitFractions[] = {1.16f, 1.12f, 1.08f, 1.04f, 0.97f, 0.93f, 0.9f,
                                              0.86f, 0.83f, 0.79f, 0.76f, 0.72f, 0.68f, 0.64f,
                                              0.6f,  0.55f, 0.48f, 0.41f, 0.34f};
inline constexpr float kEightBitFractions[] = {1.03f, 1.02f,  1.012f, 1.005f, 0.995f,
                                               0.99f, 0.985f, 0.975f, 0.95f,  0.85f};
inline constexpr float kNearby[] = {0.985f, 1.0f, 1.015f};
inline constexpr float kShifts[] = {-1.0f, 0.0f, 1.0f};  // of the zero point

inline constexpr std::size_t kOnlyForLongGroups = 3;  // of the fractions, the last ones
inline constexpr std::size_t kLongGroup = 512;

template <std::size_t kCount, typename Attempt>
[[gnu::always_inline]] inline void for_each_fraction(const float (&fractions)[kCount],
                                                     std::size_t group, const Attempt& attempt) {
    const std::size_t count = group < kLongGroup ? kCount - kOnlyForLongGroups : kCount;
    for (std::size_t i = 0; i < count; ++i) {
        attempt(fractions[i]);
    }
}

template <bool kWeighted, typename Lanes>
Choice<Lanes> search_asymmetric(const Batch& batch, Format format, const Extent<Lanes>& extent,
                                const Choice<Lanes>& nncf) {
    IntegerSearch<kWeighted, Lanes> search(batch, format);
    const Lanes nothing = Lanes::set(0.0f);
    const Lanes steps = search.steps();
    const Lanes least = min(nothing, extent.least);
    const Lanes most = max(nothing, extent.most);
    const Lanes covering = (most - least) / steps;
    const Lanes base = storable(nncf.scale);
    search.start(base, nncf.zero);
    const auto centered = [&](Lanes scale) {  // as much cut off at one end as at the other
        const Lanes middle = (least + most) / (scale + scale);
        return round_whole(clamp(steps * Lanes::set(0.5f) - middle, nothing, steps));
    };
    const auto coarse = [&](float fraction) {
        const Lanes scale = storable(covering * Lanes::set(fraction));
        search.attempt(scale, centered(scale));
    };
    if (format == Format::U4) {
        for_each_fraction(kFourBitFractions, batch.group, coarse);
        const Best<Lanes> middle = search.best();
        for (float fraction : kNearby) {
            for (float shift : kShifts) {
                search.attempt(middle.tried * Lanes::set(fraction),
                               clamp(middle.zero + Lanes::set(shift), nothing, steps));
            }
        }
    } else {
        for (float fraction : kEightBitFractions) {
            coarse(fraction);
        }
    }
    search.attempt(search.best().scale, search.best().zero);
    const Best<Lanes> best = search.best();
    const Lanes base_error = search.error_of(base, nncf.zero);
    const Lanes best_error = search.error_of(best.scale, best.zero);
    const Lanes scale = select_less(best_error, base_error, best.scale, base);
    const Lanes zero = select_less(best_error, base_error, best.zero, nncf.zero);
    return {scale, scale, zero};
}

template <bool kWeighted, typename Lanes>
Choice<Lanes> search_symmetric(const Batch& batch, Format format, const Extent<Lanes>& extent,
                               const Choice<Lanes>& nncf) {
    IntegerSearch<kWeighted, Lanes> search(batch, format);
    const Lanes nothing = Lanes::set(0.0f);
    const Lanes upper = Lanes::set(-code_range(format).low);
    const Lanes lower = upper - Lanes::set(1.0f);
    const Lanes covering = max(abs(extent.least), abs(extent.most)) / upper;
    const Lanes base = storable(abs(nncf.scale));
    const Lanes base_zero = select_negative(nncf.scale, lower, upper);
    search.start(base, base_zero);
    const auto both = [&](float fraction) {
        const Lanes scale = storable(covering * Lanes::set(fraction));
        search.attempt(scale, upper);
        search.attempt(scale, lower);
    };
    if (format == Format::I4) {
        for_each_fraction(kFourBitFractions, batch.group, both);
        const Best<Lanes> middle = search.best();
        for (float fraction : kNearby) {
            search.attempt(middle.tried * Lanes::set(fraction), middle.zero);
        }
    } else {
        for (float fraction : kEightBitFractions) {
            search.attempt(storable(covering * Lanes::set(fraction)), base_zero);
        }
    }
    search.attempt(search.best().scale, search.best().zero);
    const Best<Lanes> best = search.best();
    const Lanes base_error = search.error_of(base, base_zero);
    const Lanes best_error = search.error_of(best.scale, best.zero);
    const Lanes size = select_less(best_error, base_error, best.scale, base);
    const Lanes zero = select_less(best_error, base_error, best.zero, base_zero);
    const Lanes scale = select_less(zero, upper, nothing - size, size);
    return {scale, scale, nothing};
}

inline constexpr float kMxfp4Factors[] = {0.5f, 2.0f};
inline constexpr float kNf4Fractions[] = {1.08f, 1.04f, 0.96f, 0.92f, 0.88f,
                                          0.83f, 0.78f, 0.68f, 0.58f, 0.48f};

template <bool kWeighted, typename Lanes>
Choice<Lanes> search_nf4(const Batch& batch, const Extent<Lanes>& extent,
                         const Choice<Lanes>& nncf) {
    const Lanes one = Lanes::set(1.0f);
    const Lanes nothing = Lanes::set(0.0f);
    const Lanes base = storable(nncf.scale);
    Best<Lanes> best = {Lanes::set(-3.0e38f), base, base, nothing};
    const auto attempt = [&](Lanes scale) {
        const BookLevels<Lanes> levels = {kNf4Book, one / scale};
        const Sums<Lanes> sums = sums_of<kWeighted, Lanes>(batch, levels);
        const Lanes fitted = storable(sums.cross / sums.square);
        const Lanes gain = fitted * (sums.cross + sums.cross - fitted * sums.square);
        best.offer(gain, scale, fitted, nothing);
    };
    const Lanes largest = max(abs(extent.least), abs(extent.most));
    attempt(base);
    attempt(nothing - base);  // the levels are not the same on both sides of zero
    for_each_fraction(kNf4Fractions, batch.group, [&](float fraction) {
        attempt(storable(largest * Lanes::set(fraction)));
        attempt(storable(largest * Lanes::set(-fraction)));
    });
    attempt(best.scale);
    const auto error_of = [&](Lanes scale) {
        const BookLevels<Lanes> levels = {kNf4Book, one / scale};
        return residue_of<kWeighted>(batch, levels, scale).error;
    };
    const Lanes scale = select_less(error_of(best.scale), error_of(base), best.scale, base);
    return {scale, scale, nothing};
}

template <bool kWeighted, typename Lanes>
Choice<Lanes> search_mxfp4(const Batch& batch, const Choice<Lanes>& nncf) {
    const auto error_of = [&](Lanes scale) {
        const BookLevels<Lanes> levels = {kF4e2m1Book, Lanes::set(1.0f) / scale};
        return residue_of<kWeighted>(batch, levels, scale).error;
    };
    Lanes best = nncf.scale;
    Lanes least_error = error_of(best);
    for (float factor : kMxfp4Factors) {
        const Lanes scale =
            clamp(nncf.scale * Lanes::set(factor), Lanes::set(0x1p-126f), Lanes::set(0x1p127f));
        const Lanes error = error_of(scale);
        best = select_less(error, least_error, scale, best);
        least_error = select_less(error, least_error, error, least_error);
    }
    return {best, best, nncf.zero};
}

template <bool kWeighted, typename Lanes>
Choice<Lanes> search_scales(Format format, const Batch& batch, const Extent<Lanes>& extent,
                            const Choice<Lanes>& nncf) {
    switch (format) {
        case Format::U8:
        case Format::U4:
            return search_asymmetric<kWeighted>(batch, format, extent, nncf);
        case Format::I8:
        case Format::I4:
            return search_symmetric<kWeighted>(batch, format, extent, nncf);
        case Format::NF4:
            return search_nf4<kWeighted>(batch, extent, nncf);
        default:
            return search_mxfp4<kWeighted>(batch, nncf);
    }
}

}  // namespace deltavino::quant
