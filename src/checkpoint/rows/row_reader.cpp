#include "checkpoint/rows/row_reader.hpp"

#include "base/checked.hpp"
#include "base/error.hpp"
#include "quant/convert.hpp"

#include <algorithm>
#include <cstring>

namespace deltavino::checkpoint {
namespace {

// Columns [first, first + count) of a stored matrix of `elements` wide lines, one line after the other. Where little
// lies between them, whole lines are read: a call of the system takes as long as to copy some thousand bytes.
void read_columns(const Tensor& tensor, std::uint64_t lines, std::uint64_t elements, std::uint64_t first,
                  std::uint64_t count, std::vector<std::byte>& out) {
    constexpr std::uint64_t kGapBytes = 4096;
    constexpr std::uint64_t kPieceBytes = 256u << 10;
    const std::uint64_t width = dtype_bits(tensor.info.dtype) / 8;
    const std::uint64_t line_bytes = elements * width;
    const std::uint64_t bytes = count * width;
    out.resize(static_cast<std::size_t>(lines * bytes));
    if (count == elements) {
        tensor.file->read(tensor.info.offset, out);
        return;
    }
    const std::span<std::byte> all(out);
    if (line_bytes - bytes > kGapBytes) {
        for (std::uint64_t line = 0; line < lines; ++line) {
            tensor.file->read(tensor.info.offset + line * line_bytes + first * width,
                              all.subspan(static_cast<std::size_t>(line * bytes), static_cast<std::size_t>(bytes)));
        }
        return;
    }
    const std::uint64_t most = std::max<std::uint64_t>(1, kPieceBytes / line_bytes);
    std::vector<std::byte> piece;
    for (std::uint64_t line = 0; line < lines; line += most) {
        const std::uint64_t some = std::min(most, lines - line);
        // From the first wanted byte to the last: nothing outside of the tensor.
        piece.resize(static_cast<std::size_t>((some - 1) * line_bytes + bytes));
        tensor.file->read(tensor.info.offset + line * line_bytes + first * width, piece);
        for (std::uint64_t i = 0; i < some; ++i) {
            std::memcpy(out.data() + (line + i) * bytes, piece.data() + i * line_bytes, bytes);
        }
    }
}

void read_lines(const Tensor& tensor, std::uint64_t line_bytes, std::uint64_t first, std::uint64_t lines,
                std::vector<std::byte>& out) {
    out.resize(static_cast<std::size_t>(lines * line_bytes));
    tensor.file->read(tensor.info.offset + first * line_bytes, out);
}

// Of a stack, blocks begin anew with each matrix.
std::uint64_t scale_row(const RowSource& source, std::uint64_t row) {
    return row / source.matrix_rows * divide_up(source.matrix_rows, source.row_block) +
           row % source.matrix_rows / source.row_block;
}

}  // namespace

bool is_scale_type(DType type) {
    return is_plain_float(type) || type == DType::F8E8M0;
}

void decode_scales(DType type, std::span<const std::byte> bytes, std::span<float> out) {
    switch (type) {
        case DType::F32:
        case DType::F16:
        case DType::BF16: return quant::widen(source_type(type), bytes, out);
        case DType::F8E8M0: return quant::scale_float8(quant::Float8::E8M0, bytes, 1.0f, out);
        default: fail(ErrorKind::Internal, "scales of type {} were not refused", dtype_name(type));
    }
}

void RowReader::load(const RowSource& source, std::uint64_t first, std::uint64_t rows) {
    source_ = &source;
    tensor_ = source.codes;
    columns_ = source.columns;
    first_ = first;
    if (rows > source.rows || first > source.rows - rows) {
        fail(ErrorKind::Internal, "rows {} to {} of '{}', which has {}", first, first + rows, source.codes->info.name,
             source.rows);
    }
    source.float8 ? load_float8(first, rows) : load_integers(first, rows);
}

void RowReader::load(const Tensor& plain, std::uint64_t columns, std::uint64_t first, std::uint64_t rows) {
    source_ = nullptr;
    tensor_ = &plain;
    columns_ = columns;
    first_ = first;
    const std::uint64_t width = quant::source_bytes(source_type(plain.info.dtype));
    read_lines(plain, checked_multiply(columns, width), first, rows, raw_);
}

void RowReader::load_float8(std::uint64_t first, std::uint64_t rows) {
    read_lines(*source_->codes, source_->columns, first, rows, raw_);
    const std::uint64_t per_line = divide_up(source_->columns, source_->column_block);
    first_scale_row_ = scale_row(*source_, first);
    const std::uint64_t lines = scale_row(*source_, first + rows - 1) - first_scale_row_ + 1;
    const DType type = source_->scales->info.dtype;
    read_lines(*source_->scales, per_line * dtype_bits(type) / 8, first_scale_row_, lines, raw_scales_);
    scales_.resize(static_cast<std::size_t>(lines * per_line));
    decode_scales(type, raw_scales_, scales_);
}

void RowReader::load_integers(std::uint64_t first, std::uint64_t rows) {
    codes_.bits = source_->bits;
    codes_.rows = rows;
    codes_.columns = source_->columns;
    codes_.group = source_->group;
    codes_.resize();
    load_codes(first);
    load_zero_points(first);
    load_scales(first);
}

void RowReader::load_codes(std::uint64_t first) {
    const std::uint64_t per_word = 32 / source_->bits;
    std::uint64_t skip = 0;
    switch (source_->packing) {
        case quant::Packing::Gptq:
            read_columns(*source_->codes, source_->columns / per_word, source_->rows, first, codes_.rows, raw_);
            break;
        case quant::Packing::Awq:
            skip = first % 8;
            read_columns(*source_->codes, source_->columns, source_->rows / 8, first / 8,
                         divide_up(skip + codes_.rows, 8), raw_);
            break;
        case quant::Packing::Rows:
            read_lines(*source_->codes, divide_up(source_->columns, per_word) * 4, first, codes_.rows, raw_);
            break;
        case quant::Packing::Bytes: read_lines(*source_->codes, source_->columns, first, codes_.rows, raw_); break;
    }
    quant::unpack_codes(source_->packing, raw_, skip, codes_);
}

void RowReader::load_zero_points(std::uint64_t first) {
    if (source_->zero_points == nullptr) {
        return;
    }
    const std::uint64_t per_word = 32 / source_->bits;
    const std::uint64_t skip = first % per_word;
    const std::uint64_t words = divide_up(skip + codes_.rows, per_word);
    if (source_->plain_zero_points) {
        read_lines(*source_->zero_points, codes_.groups(), first, codes_.rows, raw_scales_);
        quant::unpack_zero_points(quant::Packing::Bytes, raw_scales_, 0, false, codes_);
        return;
    }
    if (source_->packing == quant::Packing::Rows) {
        read_lines(*source_->zero_points, codes_.groups() * 4, first / per_word, words, raw_scales_);
    } else {
        read_columns(*source_->zero_points, codes_.groups(), source_->rows / per_word, first / per_word, words,
                     raw_scales_);
    }
    quant::unpack_zero_points(source_->packing, raw_scales_, skip, source_->zero_points_less_one, codes_);
}

void RowReader::load_scales(std::uint64_t first) {
    const DType type = source_->scales->info.dtype;
    const std::uint64_t groups = codes_.groups();
    const bool across = source_->stored_across();
    if (source_->one_scale) {
        read_lines(*source_->scales, dtype_bits(type) / 8, 0, 1, raw_scales_);
        float scale = 0.0f;
        decode_scales(type, raw_scales_, std::span(&scale, 1));
        std::fill(codes_.scales.begin(), codes_.scales.end(), scale);
        return;
    }
    if (!across) {
        read_lines(*source_->scales, groups * dtype_bits(type) / 8, first, codes_.rows, raw_scales_);
        decode_scales(type, raw_scales_, codes_.scales);
        return;
    }
    read_columns(*source_->scales, groups, source_->rows, first, codes_.rows, raw_scales_);
    scales_.resize(codes_.scales.size());
    decode_scales(type, raw_scales_, scales_);
    for (std::uint64_t group = 0; group < groups; ++group) {
        for (std::uint64_t row = 0; row < codes_.rows; ++row) {
            codes_.scales[row * groups + group] = scales_[group * codes_.rows + row];
        }
    }
}

void RowReader::floats(std::uint64_t first, std::span<float> out) {
    if (source_ == nullptr) {
        const quant::SourceType type = source_type(tensor_->info.dtype);
        const std::size_t width = quant::source_bytes(type);
        const auto begin = static_cast<std::size_t>(first * columns_) * width;
        quant::widen(type, std::span(raw_).subspan(begin, out.size() * width), out);
    } else if (source_->float8) {
        float8(first, out);
    } else {
        quant::dequantize_codes(codes_, first, out);
    }
    if (tensor_->added != nullptr) {
        adapter_.add(*tensor_->added, first_ + first, out);
    }
}

void RowReader::float8(std::uint64_t first, std::span<float> out) const {
    const std::uint64_t columns = source_->columns;
    const std::uint64_t per_line = divide_up(columns, source_->column_block);
    for (std::uint64_t row = 0; row < out.size() / columns; ++row) {
        const std::uint64_t line = scale_row(*source_, first_ + first + row) - first_scale_row_;
        for (std::uint64_t block = 0; block < per_line; ++block) {
            const std::uint64_t begin = block * source_->column_block;
            const std::uint64_t size = std::min(source_->column_block, columns - begin);
            quant::scale_float8(
                *source_->float8,
                std::span(raw_).subspan(static_cast<std::size_t>((first + row) * columns + begin),
                                        static_cast<std::size_t>(size)),
                scales_[line * per_line + block],
                out.subspan(static_cast<std::size_t>(row * columns + begin), static_cast<std::size_t>(size)));
        }
    }
}

}  // namespace deltavino::checkpoint
