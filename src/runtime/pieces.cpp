#include "runtime/pieces.hpp"

#include "runtime/language_model.hpp"

#include <algorithm>

namespace deltavino::runtime {

PieceSizes piece_sizes(const ov::Model& model, bool long_first) {
    constexpr std::size_t kValues = std::size_t{4096} * 1024;  // of one layer's input
    PieceSizes sizes;
    const std::shared_ptr<ov::Node> head = find_head(model);
    if (!long_first || !head || head->get_input_partial_shape(0)[2].is_dynamic()) {
        return sizes;
    }
    const auto width = static_cast<std::size_t>(head->get_input_partial_shape(0)[2].get_length());
    sizes.first = std::clamp<std::size_t>(kValues / std::max<std::size_t>(width, 1), sizes.next, 4096);
    return sizes;
}

std::size_t tokens_of_piece(const PieceSizes& sizes, std::size_t past) {
    constexpr std::size_t kContext = 8192;  // up to which pieces have their full length
    constexpr std::size_t kLeast = 64;      // products with fewer are slower by the token
    if (past == 0) {
        return sizes.first;
    }
    const std::size_t fit = sizes.next * kContext / (past + sizes.next);
    return std::clamp(fit, std::min(kLeast, sizes.next), sizes.next);
}

}  // namespace deltavino::runtime
