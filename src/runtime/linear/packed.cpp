#include "runtime/linear/packed.hpp"

#include "base/file.hpp"
#include "base/mapped_pages.hpp"

#include <openvino/core/type/element_type.hpp>

#include <fmt/format.h>
#include <tbb/parallel_for.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <map>
#include <mutex>

namespace deltavino::runtime {
namespace {

constexpr std::size_t kBlock = PackedShape::kBlockRows;
constexpr std::size_t kLine = PackedShape::kLineBytes;

// Eight nibbles of 32 bits, the lowest four in the low halves of four bytes, in order.
std::uint32_t four_low_halves(std::uint32_t nibbles) {
    const std::uint32_t pairs = (nibbles | nibbles << 8) & 0x00ff00ffu;
    return (pairs | pairs << 4) & 0x0f0f0f0fu;
}

template <typename Word>
Word load_word(const std::byte* from) {
    Word word{};
    std::memcpy(&word, from, sizeof word);
    return word;
}

bool is_signed(const StoredMatrix& matrix) {
    return matrix.codes->get_element_type().is_signed();
}

// One nibble of a stream, the first of two in the low half.
std::uint8_t nibble(const std::byte* from, std::size_t index) {
    return (std::to_integer<std::uint8_t>(from[index / 2]) >> (index % 2 * 4)) & 15;
}

class BlockPacker {
public:
    BlockPacker(const StoredMatrix& matrix, const PackedShape& shape)
        : shape_(shape),
          codes_(static_cast<const std::byte*>(matrix.codes->get_data_ptr())),
          zeros_(matrix.zero_points ? static_cast<const std::byte*>(matrix.zero_points->get_data_ptr()) : nullptr),
          scales_(static_cast<const std::byte*>(matrix.scales->get_data_ptr())),
          signed_(is_signed(matrix)) {}

    void pack(std::size_t block, std::byte* to) const {
        const std::size_t first = block * kBlock;
        for (std::size_t g = 0; g < shape_.groups(); ++g) {
            shape_.bits == 4 ? group_of_nibbles(first, g, to) : group_of_bytes(first, g, to);
            to += shape_.group_bytes();
            if (shape_.bits == 4) {
                parameters(first, g, shape_.groups(), to);
                to += PackedShape::kScaleBytes;
            }
        }
        if (shape_.bits == 8) {
            parameters(first, 0, 1, to);
        }
    }

private:
    void group_of_nibbles(std::size_t first, std::size_t group, std::byte* to) const {
        const std::uint32_t turn = signed_ ? 0x88888888u : 0u;  // -8 to 7 becomes 0 to 15
        for (std::size_t r = 0; r < kBlock; ++r) {
            const std::byte* row = codes_ + ((first + r) * shape_.columns + group * shape_.group) / 2;
            for (std::size_t i = 0; i < shape_.group / 8; ++i) {
                const std::uint32_t low = load_word<std::uint16_t>(row + 2 * i);
                const std::uint32_t high = load_word<std::uint16_t>(row + shape_.group / 4 + 2 * i);
                const std::uint32_t four = (four_low_halves(low) | four_low_halves(high) << 4) ^ turn;
                std::memcpy(to + i * kLine + r * sizeof four, &four, sizeof four);
            }
        }
    }

    void group_of_bytes(std::size_t first, std::size_t group, std::byte* to) const {
        const std::uint32_t turn = signed_ ? 0x80808080u : 0u;  // -128 to 127 becomes 0 to 255
        for (std::size_t r = 0; r < kBlock; ++r) {
            const std::byte* row = codes_ + (first + r) * shape_.columns + group * shape_.group;
            for (std::size_t i = 0; i < shape_.group / 4; ++i) {
                const std::uint32_t four = load_word<std::uint32_t>(row + 4 * i) ^ turn;
                std::memcpy(to + i * kLine + r * sizeof four, &four, sizeof four);
            }
        }
    }

    // Scales and zero points of `group`, of `groups` that are stored for each row.
    void parameters(std::size_t first, std::size_t group, std::size_t groups, std::byte* to) const {
        for (std::size_t r = 0; r < kBlock; ++r) {
            const std::size_t index = (first + r) * groups + group;
            std::memcpy(to + 2 * r, scales_ + 2 * index, 2);
            std::uint8_t zero = 0;
            if (zeros_ != nullptr) {
                zero = shape_.bits == 4 ? nibble(zeros_, index) : std::to_integer<std::uint8_t>(zeros_[index]);
            }
            const std::uint8_t turn = !signed_ ? 0 : shape_.bits == 4 ? 8 : 128;
            to[PackedShape::kZerosBegin + r] = static_cast<std::byte>(zero ^ turn);
        }
    }

    PackedShape shape_;
    const std::byte* codes_;
    const std::byte* zeros_;
    const std::byte* scales_;
    bool signed_;
};

// Tells matrices apart that have the same name; `bytes` is a multiple of 64.
std::uint64_t fingerprint(const std::byte* from, std::size_t bytes) {
    std::array<std::uint64_t, 8> lanes{1, 2, 3, 4, 5, 6, 7, 8};
    for (std::size_t i = 0; i < bytes; i += kLine) {
        for (std::size_t j = 0; j < lanes.size(); ++j) {
            const std::uint64_t mixed = (lanes[j] ^ load_word<std::uint64_t>(from + i + 8 * j)) * 0x9e3779b97f4a7c15u;
            lanes[j] = mixed ^ mixed >> 32;
        }
    }
    std::uint64_t all = 0;
    for (const std::uint64_t lane : lanes) {
        all = (all ^ lane) * 0x9e3779b97f4a7c15u;
        all ^= all >> 29;
    }
    return all;
}

struct Registry {
    std::mutex mutex;
    std::map<std::string, std::weak_ptr<const PackedMatrix>> matrices;
};

Registry& registry() {
    static Registry all;
    return all;
}

void enter(const std::shared_ptr<const PackedMatrix>& matrix) {
    Registry& all = registry();
    const std::lock_guard lock(all.mutex);
    std::erase_if(all.matrices, [](const auto& entry) { return entry.second.expired(); });
    all.matrices[matrix->key] = matrix;
}

}  // namespace

std::optional<PackedShape> packed_shape(const StoredMatrix& matrix) {
    const ov::element::Type type = matrix.codes->get_element_type();
    ov::Shape per_group = matrix.codes->get_shape();
    const bool known =
        type == ov::element::u4 || type == ov::element::i4 || type == ov::element::u8 || type == ov::element::i8;
    if (!known || per_group.empty() || ov::shape_size(per_group) != matrix.rows * matrix.columns ||
        matrix.rows % kBlock != 0 || matrix.columns == 0) {
        return std::nullopt;
    }
    PackedShape shape{matrix.rows, matrix.columns, 32, static_cast<unsigned>(type.bitwidth())};
    if (shape.bits == 4) {  // in 8 bit 32, which is the plugin's own: larger ones cost as much as the weights do
        shape.group = per_group.back();
    }
    if ((shape.group != 32 && shape.group != 64 && shape.group != 128) || shape.columns % shape.group != 0) {
        return std::nullopt;
    }
    // Scales of the same number might stand for columns.
    per_group.back() = 1;
    const auto stands = [&](const std::shared_ptr<ov::op::v0::Constant>& constant, ov::element::Type wanted) {
        return constant->get_element_type() == wanted && constant->get_shape() == per_group;
    };
    const bool fits = ov::shape_size(per_group) == matrix.rows * (shape.bits == 4 ? shape.groups() : 1) &&
                      stands(matrix.scales, ov::element::f16) &&
                      (!matrix.zero_points || stands(matrix.zero_points, type));
    return fits ? std::optional(shape) : std::nullopt;
}

std::vector<std::shared_ptr<const PackedMatrix>> pack_matrices(const std::vector<StoredMatrix>& matrices) {
    std::vector<PackedShape> shapes;
    std::vector<std::size_t> begins;
    std::size_t size = 0;
    for (const StoredMatrix& matrix : matrices) {
        shapes.push_back(packed_shape(matrix).value());
        begins.push_back(size);
        size += shapes.back().bytes();
    }
    const std::shared_ptr<std::byte[]> memory = large_memory(size);
    std::vector<std::shared_ptr<const PackedMatrix>> packed;
    for (std::size_t m = 0; m < matrices.size(); ++m) {
        const PackedShape& shape = shapes[m];
        std::byte* const begin = memory.get() + begins[m];
        const BlockPacker packer(matrices[m], shape);
        tbb::parallel_for(std::size_t{0}, shape.blocks(),
                          [&](std::size_t block) { packer.pack(block, begin + block * shape.block_bytes()); });
        give_back_file_pages(std::span(static_cast<const std::byte*>(matrices[m].codes->get_data_ptr()),
                                       matrices[m].codes->get_byte_size()));
        auto one = std::make_shared<PackedMatrix>();
        one->shape = shape;
        one->bytes = std::shared_ptr<const std::byte[]>(memory, begin);
        one->key = fmt::format("{} {:016x}", matrices[m].codes->get_friendly_name(), fingerprint(begin, shape.bytes()));
        enter(one);
        packed.push_back(std::move(one));
    }
    return packed;
}

std::shared_ptr<const PackedMatrix> find_packed(const std::string& key) {
    Registry& all = registry();
    const std::lock_guard lock(all.mutex);
    const auto found = all.matrices.find(key);
    return found == all.matrices.end() ? nullptr : found->second.lock();
}

}  // namespace deltavino::runtime
