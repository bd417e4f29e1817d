// The order of operations is that of PEFT's merge (`peft.tuners.lora.layer.Linear.merge`, `Embedding.merge`):
// W + (B A) * scaling, in float32.
#include "checkpoint/lora/low_rank.hpp"

#include "base/error.hpp"
#include "quant/convert.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace deltavino::checkpoint {
namespace {

// Values of a factor that are kept in float32 by each thread: a gigabyte is the factor of an embedding that is no
// longer of low rank.
constexpr std::uint64_t kMostValues = 1ull << 28;

constexpr std::size_t kRows = 4;
constexpr std::size_t kColumns = 64;

// Some values of a factor, counted from its first.
void read_values(const InputFile& file, const TensorInfo& info, std::uint64_t first, std::span<float> out,
                 std::vector<std::byte>& raw) {
    const quant::SourceType type = source_type(info.dtype);
    raw.resize(out.size() * quant::source_bytes(type));
    file.read(info.offset + first * quant::source_bytes(type), raw);
    quant::widen(type, raw, out);
    if (!std::all_of(out.begin(), out.end(), [](float value) { return std::isfinite(value); })) {
        fail(ErrorKind::Input, "cannot merge tensor '{}' in '{}': it holds NaN or infinity", info.name,
             file.path().string());
    }
}

// out[r, c] += scale * sum over k of b[r, k] a[k, c], for a few rows and columns at once.
struct Tile {
    const float* a;
    const float* b;
    float* out;
    std::size_t rank;
    std::size_t columns;  // of a whole row
    float scale;

    void add(std::size_t row, std::size_t rows, std::size_t column, std::size_t count) const {
        std::array<std::array<float, kColumns>, kRows> sums{};
        for (std::size_t k = 0; k < rank; ++k) {
            const float* from = a + k * columns + column;
            for (std::size_t r = 0; r < rows; ++r) {
                const float factor = b[(row + r) * rank + k];
                float* sum = sums[r].data();
                for (std::size_t c = 0; c < count; ++c) {
                    sum[c] += factor * from[c];
                }
            }
        }
        for (std::size_t r = 0; r < rows; ++r) {
            float* to = out + (row + r) * columns + column;
            for (std::size_t c = 0; c < count; ++c) {
                to[c] += sums[r][c] * scale;
            }
        }
    }
};

}  // namespace

std::string LowRank::text() const {
    return fmt::format("rank {}, scale {:.4g}", rank, scale);
}

void LowRankReader::load_columns(const LowRank& product) {
    if (product.rank > kMostValues / product.columns) {
        fail(ErrorKind::Unsupported, "cannot merge tensor '{}' in '{}': rank {} times {} columns is no low rank",
             product.a.name, product.file->path().string(), product.rank, product.columns);
    }
    const auto rank = static_cast<std::size_t>(product.rank);
    const auto columns = static_cast<std::size_t>(product.columns);
    a_.resize(rank * columns);
    if (!product.of_embedding) {
        read_values(*product.file, product.a, 0, a_, raw_);
        return;
    }
    across_.resize(a_.size());
    read_values(*product.file, product.a, 0, across_, raw_);
    for (std::size_t k = 0; k < rank; ++k) {
        for (std::size_t c = 0; c < columns; ++c) {
            a_[k * columns + c] = across_[c * rank + k];
        }
    }
}

void LowRankReader::load_rows(std::uint64_t first, std::uint64_t rows) {
    const auto rank = static_cast<std::size_t>(product_->rank);
    const auto count = static_cast<std::size_t>(rows);
    b_.resize(count * rank);
    if (!product_->of_embedding) {
        read_values(*product_->file, product_->b, first * product_->rank, b_, raw_);
        return;
    }
    across_.resize(count);
    for (std::size_t k = 0; k < rank; ++k) {
        read_values(*product_->file, product_->b, k * product_->rows + first, across_, raw_);
        for (std::size_t r = 0; r < count; ++r) {
            b_[r * rank + k] = across_[r];
        }
    }
}

void LowRankReader::add(const LowRank& product, std::uint64_t first, std::span<float> out) {
    const std::uint64_t rows = out.size() / product.columns;
    if (rows * product.columns != out.size() || rows > product.rows || first > product.rows - rows) {
        fail(ErrorKind::Internal, "rows {} to {} of the product for '{}', which is {}", first, first + rows,
             product.a.name, shape_text({product.rows, product.columns}));
    }
    if (product_ != &product) {
        product_ = nullptr;  // when reading fails, nothing half read is used later
        load_columns(product);
        product_ = &product;
    }
    load_rows(first, rows);
    const Tile tile{a_.data(),
                    b_.data(),
                    out.data(),
                    static_cast<std::size_t>(product.rank),
                    static_cast<std::size_t>(product.columns),
                    product.scale};
    for (std::size_t row = 0; row < rows; row += kRows) {
        for (std::size_t column = 0; column < tile.columns; column += kColumns) {
            tile.add(row, std::min<std::size_t>(kRows, rows - row), column, std::min(kColumns, tile.columns - column));
        }
    }
}

}  // namespace deltavino::checkpoint
