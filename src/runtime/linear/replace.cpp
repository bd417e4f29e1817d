// The chain is that of graph/weights.cpp, which is nncf's, too:
//   codes -> Convert -> [Subtract zero points] -> Multiply scales -> [Reshape] -> [Convert] -> MatMul
#include "runtime/linear/replace.hpp"

#include "runtime/linear/operation.hpp"

#include <openvino/op/convert.hpp>
#include <openvino/op/matmul.hpp>
#include <openvino/op/multiply.hpp>
#include <openvino/op/reshape.hpp>
#include <openvino/op/sigmoid.hpp>
#include <openvino/op/subtract.hpp>
#include <openvino/op/swish.hpp>

#include <algorithm>
#include <map>
#include <optional>
#include <utility>
#include <vector>

namespace deltavino::runtime {
namespace {

using ov::op::v0::Constant;
using ov::op::v0::Convert;

// Products with fewer rows take longer to call than to compute.
constexpr std::size_t kLeastRows = 64;

std::shared_ptr<ov::Node> skip_converts(const ov::Output<ov::Node>& value) {
    std::shared_ptr<ov::Node> node = value.get_node_shared_ptr();
    while (ov::is_type<Convert>(node)) {
        node = node->get_input_node_shared_ptr(0);
    }
    return node;
}

std::shared_ptr<Constant> constant_below(const ov::Output<ov::Node>& value) {
    return ov::as_type_ptr<Constant>(skip_converts(value));
}

std::optional<StoredMatrix> matrix_of(const ov::op::v0::MatMul& product) {
    const ov::PartialShape& shape = product.get_input_partial_shape(1);
    const ov::PartialShape& x = product.get_input_partial_shape(0);
    if (product.get_transpose_a() || !product.get_transpose_b() || shape.is_dynamic() || shape.size() != 2 ||
        x.rank().is_dynamic() || x.size() < 2 || product.get_output_element_type(0) != ov::element::f32) {
        return std::nullopt;
    }
    std::shared_ptr<ov::Node> node = skip_converts(product.input_value(1));
    if (ov::is_type<ov::op::v1::Reshape>(node)) {
        node = skip_converts(node->input_value(0));
    }
    if (!ov::is_type<ov::op::v1::Multiply>(node)) {
        return std::nullopt;
    }
    StoredMatrix matrix;
    matrix.rows = shape[0].get_length();
    matrix.columns = shape[1].get_length();
    matrix.scales = constant_below(node->input_value(1));
    node = skip_converts(node->input_value(0));
    if (ov::is_type<ov::op::v1::Subtract>(node)) {
        matrix.zero_points = constant_below(node->input_value(1));
        if (!matrix.zero_points) {
            return std::nullopt;
        }
        node = skip_converts(node->input_value(0));
    }
    matrix.codes = ov::as_type_ptr<Constant>(node);
    const bool found = matrix.codes && matrix.scales && matrix.rows >= kLeastRows && packed_shape(matrix);
    return found ? std::optional(std::move(matrix)) : std::nullopt;
}

using Value = ov::Output<ov::Node>;

// What a product reads. With a gate x and z have the shape of the product's own input.
struct Read {
    Gate gate = Gate::None;
    Value x, z;
};

std::optional<Gate> gate_of(const ov::Node& node) {
    if (ov::is_type<ov::op::v0::Sigmoid>(&node)) {
        return Gate::Sigmoid;
    }
    const bool silu = ov::is_type<ov::op::v4::Swish>(&node) && node.get_input_size() == 1;
    return silu ? std::optional(Gate::Silu) : std::nullopt;
}

bool has_one_reader(const ov::Node& node) {
    return node.output(0).get_target_inputs().size() == 1;
}

// `value` as `reshape` makes it of another of the same shape; where it was made from that shape, what it was made from.
Value like(const ov::Node& reshape, const Value& value) {
    const std::shared_ptr<ov::Node> maker = value.get_node_shared_ptr();
    const ov::PartialShape& wanted = reshape.get_output_partial_shape(0);
    if (ov::is_type<ov::op::v1::Reshape>(maker)) {
        const ov::PartialShape& before = maker->get_input_partial_shape(0);
        if (before.rank() == wanted.rank() && wanted.rank().is_static() && before.size() == 3 &&
            before[2].is_static() && before[2] == wanted[2]) {
            return maker->input_value(0);
        }
    }
    return reshape.clone_with_new_inputs({value, reshape.input_value(1)})->output(0);
}

// x silu(z) and x sigmoid(z), on either side of the product and before a Reshape or not, are read as x and z.
Read read_of(const ov::Node& product) {
    const Value whole = product.input_value(0);
    std::shared_ptr<ov::Node> node = whole.get_node_shared_ptr();
    const std::shared_ptr<ov::Node> reshape = ov::is_type<ov::op::v1::Reshape>(node) ? node : nullptr;
    if (reshape && has_one_reader(*reshape)) {
        node = reshape->get_input_node_shared_ptr(0);
    }
    const auto width = [&](std::size_t input) {
        const ov::PartialShape& shape = node->get_input_partial_shape(input);
        return shape.rank().is_static() && shape.size() > 1 ? shape[shape.size() - 1] : ov::Dimension();
    };
    if (!ov::is_type<ov::op::v1::Multiply>(node) || !has_one_reader(*node) || width(0).is_dynamic() ||
        node->get_input_partial_shape(0) != node->get_input_partial_shape(1)) {
        return {Gate::None, whole, {}};
    }
    for (const std::size_t side : {1, 0}) {
        const std::shared_ptr<ov::Node> activation = node->get_input_node_shared_ptr(side);
        const auto gate = gate_of(*activation);
        if (gate && has_one_reader(*activation)) {
            const Value x = node->input_value(1 - side);
            const Value z = activation->input_value(0);
            return reshape ? Read{*gate, like(*reshape, x), like(*reshape, z)} : Read{*gate, x, z};
        }
    }
    return {Gate::None, whole, {}};
}

// Values in the type of the products, each converted once at most.
class Typed {
public:
    explicit Typed(ov::element::Type type) : type_(type) {}

    Value of(const Value& value) {
        if (value.get_element_type() == type_) {
            return value;
        }
        const std::shared_ptr<ov::Node> maker = value.get_node_shared_ptr();
        if (ov::is_type<Convert>(maker) && maker->get_input_element_type(0) == type_) {
            return maker->input_value(0);  // of another product
        }
        Value& made = made_[value];
        if (!made.get_node()) {
            made = std::make_shared<Convert>(value, type_)->output(0);
        }
        return made;
    }

private:
    ov::element::Type type_;
    std::map<Value, Value> made_;
};

void put_in_place_of(const std::shared_ptr<ov::Node>& product, const Value& own) {
    const ov::element::Type type = product->get_output_element_type(0);
    const Value result = own.get_element_type() == type ? own : std::make_shared<Convert>(own, type)->output(0);
    result.get_tensor().add_names(product->output(0).get_names());
    product->output(0).replace(result);
    for (ov::Input<ov::Node> reader : result.get_target_inputs()) {
        ov::Node* node = reader.get_node();
        if (result != own && ov::is_type<Convert>(node) && node->get_output_element_type(0) == own.get_element_type()) {
            node->output(0).replace(own);
        }
    }
}

}  // namespace

std::size_t use_own_products(const std::shared_ptr<ov::Model>& model, ov::element::Type type) {
    std::vector<std::shared_ptr<ov::Node>> products;
    std::vector<StoredMatrix> matrices;
    if (linear_kernel() == nullptr) {
        return 0;
    }
    for (const auto& node : model->get_ordered_ops()) {
        const auto product = ov::as_type_ptr<ov::op::v0::MatMul>(node);
        auto matrix = product ? matrix_of(*product) : std::nullopt;
        if (matrix) {
            products.push_back(product);
            matrices.push_back(std::move(*matrix));
        }
    }
    const auto packed = pack_matrices(matrices);
    Typed typed(type);
    for (std::size_t i = 0; i < products.size(); ++i) {
        const Read read = read_of(*products[i]);
        ov::OutputVector inputs{typed.of(read.x)};
        if (read.gate != Gate::None) {
            inputs.push_back(typed.of(read.z));
        }
        const auto own = std::make_shared<CompressedLinear>(inputs, read.gate, packed[i]);
        own->set_friendly_name(products[i]->get_friendly_name());
        put_in_place_of(products[i], own->output(0));
    }
    return products.size();
}

}  // namespace deltavino::runtime
