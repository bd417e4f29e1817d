#include "runtime/states.hpp"

#include "base/error.hpp"

namespace deltavino::runtime {

ov::Tensor copy_of(const ov::Tensor& tensor) {
    ov::Tensor copy(tensor.get_element_type(), tensor.get_shape());
    tensor.copy_to(copy);
    return copy;
}

ov::Tensor first_tokens(const ov::Tensor& state, std::size_t tokens, const std::string& name) {
    const ov::Shape shape = state.get_shape();
    if (shape.size() != 4 || shape[2] < tokens) {
        fail(ErrorKind::Internal, "state '{}' has shape {}, expected 4 axes and at least {} tokens", name,
             shape_text({shape.begin(), shape.end()}), tokens);
    }
    return copy_of(ov::Tensor(state, {0, 0, 0, 0}, {shape[0], shape[1], tokens, shape[3]}));
}

}  // namespace deltavino::runtime
