// What a LoRA adapter adds to a weight: scale * B A, read and multiplied some rows at a time.
#pragma once

#include "checkpoint/safetensors.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace deltavino::checkpoint {

// One pair of factors. Its shapes were checked, its values were not read. The file must outlive it.
struct LowRank {
    TensorInfo a;  // [rank, columns]; of an embedding 'lora_embedding_B' [columns, rank]
    TensorInfo b;  // [rows, rank]; of an embedding 'lora_embedding_A' [rank, rows]
    const InputFile* file = nullptr;
    bool of_embedding = false;  // both factors lie across
    std::uint64_t rows = 0;
    std::uint64_t columns = 0;
    std::uint64_t rank = 0;
    float scale = 1.0f;

    // "rank 8, scale 2"
    std::string text() const;
};

// Buffers of one thread, used again for the next rows: one factor A and some rows of B.
class LowRankReader {
public:
    // Adds rows [first, first + out.size() / columns) of the product to `out`, in float32: each value is summed over
    // the rank in order, scaled, then added, whatever the rows of one call. Throws ErrorKind::Input for factors that
    // hold NaN or infinity.
    void add(const LowRank& product, std::uint64_t first, std::span<float> out);

private:
    void load_columns(const LowRank& product);
    void load_rows(std::uint64_t first, std::uint64_t rows);

    const LowRank* product_ = nullptr;
    std::vector<float> a_;  // [rank, columns]
    std::vector<float> b_;  // [rows, rank]
    std::vector<float> across_;
    std::vector<std::byte> raw_;
};

}  // namespace deltavino::checkpoint
