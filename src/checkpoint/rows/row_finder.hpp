// Collects the tensors of one weight and what is wrong with them: the work behind find_rows().
#pragma once

#include "checkpoint/rows/row_source.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace deltavino::checkpoint {

inline constexpr std::string_view kWeightEnd = ".weight";

// "model.layers.0.mlp.up_proj" of "model.layers.0.mlp.up_proj.weight".
std::string module_of(const std::string& name);
// The name of the file that holds the tensor.
std::string file_of(const Tensor& tensor);

class RowFinder {
public:
    using Shape = std::vector<std::uint64_t>;

    // All arguments must outlive the finder.
    RowFinder(const Checkpoint& checkpoint, const std::optional<Quantization>& quantization, const std::string& name,
              const Shape& shape)
        : checkpoint_(checkpoint), quantization_(quantization), name_(name), module_(module_of(name)), shape_(shape) {}

    RowLookup find();

private:
    template <typename... Args>
    void problem(fmt::format_string<Args...> text, Args&&... args) {
        lookup_.problems.push_back(fmt::format(text, std::forward<Args>(args)...));
    }
    template <typename... Args>
    void refuse(fmt::format_string<Args...> text, Args&&... args) {
        lookup_.unsupported.push_back(fmt::format(text, std::forward<Args>(args)...));
    }

    const Tensor* take(const std::string& name);
    const Tensor* take_required(const std::string& name, std::string_view what);
    void ignore_activation_scales();
    bool has_shape(const Tensor& tensor, const Shape& shape);
    bool has_type(const Tensor& tensor, std::initializer_list<DType> types);
    // Of [..., out, in].
    bool is_matrix(const Tensor& tensor);
    void begin(const Tensor& codes, std::string_view method);
    void plain(const Tensor& tensor);

    // row_finder_float8.cpp
    void float8(const Tensor& tensor);
    void set_blocks(std::uint64_t matrix_rows, std::uint64_t row_block, std::uint64_t column_block);
    // What one scale covers, from the shape of the scales and from the sizes that config.json mentions.
    void float8_blocks(const Tensor& scales);
    std::vector<std::array<std::uint64_t, 2>> block_sizes() const;

    // row_finder_integers.cpp
    // The columns of a group, from the number of groups in a row: by the sizes that config.json mentions, else
    // the power of two that fits.
    void set_group(std::uint64_t groups, const Tensor& scales);
    // qweight, qzeros, scales: stored across, [in, out].
    void across();
    // The bits follow from the sizes; whole words are needed in both directions.
    bool set_bits_across(const Tensor& codes);
    void check_group_order(bool desc_act);
    // Scales [rows, groups] or one for all.
    void scales_along(const Tensor& scales);
    void zero_points_along();
    void signed_bytes(const Tensor& codes);
    void packed_rows();
    void check_weight_shape();

    const Checkpoint& checkpoint_;
    const std::optional<Quantization>& quantization_;
    const std::string& name_;
    std::string module_;
    const Shape& shape_;
    RowSource source_;
    RowLookup lookup_;
};

}  // namespace deltavino::checkpoint
