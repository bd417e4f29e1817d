// The forms below are those that blocks/gated_delta_net.cpp writes, as openvino reads them.
#include "runtime/delta_rule/replace.hpp"

#include "runtime/delta_rule/form.hpp"
#include "runtime/delta_rule/operation.hpp"

#include <openvino/op/assign.hpp>
#include <openvino/op/concat.hpp>
#include <openvino/op/constant.hpp>
#include <openvino/op/convert.hpp>
#include <openvino/op/gather.hpp>
#include <openvino/op/group_conv.hpp>
#include <openvino/op/loop.hpp>
#include <openvino/op/read_value.hpp>
#include <openvino/op/transpose.hpp>
#include <openvino/op/util/multi_subgraph_base.hpp>
#include <openvino/op/variadic_split.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

namespace deltavino::runtime {
namespace {

using Value = ov::Output<ov::Node>;
using ov::op::v5::Loop;

// What a linear layer is made of.
struct Layer {
    std::shared_ptr<Loop> loop;
    Value mixed;              // silu(conv), [B, S, C]: what is split into q, k and v
    Value x;                  // what the convolution reads, [B, S, C]
    std::vector<float> taps;  // [width, C]
    Value g, beta;            // [B, S, H_v]
    std::shared_ptr<ov::op::v6::ReadValue> past_columns, past_state;
    std::shared_ptr<ov::op::v6::Assign> columns, state;
    std::shared_ptr<ov::Node> output;  // [B, S, H_v, V]
    std::size_t key_heads = 0, value_heads = 0, key_size = 0, value_size = 0, width = 0;

    std::size_t channels() const { return 2 * key_heads * key_size + value_heads * value_size; }
};

// The node above `value` through the first inputs of operations of these types; null where another type stands.
std::shared_ptr<ov::Node> climb(Value value, std::initializer_list<std::string_view> types) {
    std::shared_ptr<ov::Node> node;
    for (const std::string_view type : types) {
        node = value.get_node_shared_ptr();
        if (node->get_type_name() != type) {
            return nullptr;
        }
        if (node->get_input_size() > 0) {
            value = node->input_value(0);
        }
    }
    return node;
}

template <typename Node>
std::shared_ptr<Node> only_consumer(const Value& value) {
    const auto consumers = value.get_target_inputs();
    return consumers.size() == 1 ? ov::as_type_ptr<Node>(consumers.begin()->get_node()->shared_from_this()) : nullptr;
}

// Whether the loop slices q, k, v, g and beta along their third axis, one step at a time, and carries state and
// outputs, in this order of its inputs and of its body's.
bool is_wired(const Loop& loop) {
    using Description = ov::op::util::MultiSubGraphOp;
    const auto& inputs = loop.get_input_descriptions();
    const auto& outputs = loop.get_output_descriptions();
    const auto ports = loop.get_special_body_ports();
    if (inputs.size() != 7 || outputs.size() != 2 || ports.current_iteration_input_idx != 0 ||
        ports.body_condition_output_idx != 0) {
        return false;
    }
    for (std::size_t i = 0; i < inputs.size(); ++i) {
        if (inputs[i]->m_input_index != i + 2 || inputs[i]->m_body_parameter_index != i + 1) {
            return false;
        }
        if (i < 5) {
            const auto slice = ov::as_type_ptr<Description::SliceInputDescription>(inputs[i]);
            if (!slice || slice->m_axis != 2 || slice->m_start != 0 || slice->m_stride != 1 || slice->m_end != -1 ||
                slice->m_part_size != 1) {
                return false;
            }
        } else {
            const auto merged = ov::as_type_ptr<Description::MergedInputDescription>(inputs[i]);
            if (!merged || merged->m_body_value_index != i - 4) {  // 1 the state, 2 the outputs
                return false;
            }
        }
    }
    return std::all_of(outputs.begin(), outputs.end(), [](const auto& description) {
        const auto output = ov::as_type_ptr<Description::BodyOutputDescription>(description);
        return output && output->m_iteration == -1 && output->m_body_value_index + output->m_output_index == 2;
    });
}

bool is_rule(const Loop& loop) {
    const auto& body = loop.get_function();
    if (!is_wired(loop) || body->get_parameters().size() != 8 || body->get_results().size() != 3) {
        return false;
    }
    constexpr const char* kNames[] = {"step", "q", "k", "v", "g", "beta", "state", "outputs"};
    FormNames names;
    for (std::size_t i = 0; i < 8; ++i) {
        names.emplace(body->get_parameters()[i]->output(0), kNames[i]);
    }
    const auto form = [&](std::size_t result) {
        return form_of(body->get_results()[result]->input_value(0), names);
    };
    const std::string key = "Unsqueeze(Squeeze(k, 2), -1)";
    const std::string decayed = "Multiply(state, Unsqueeze(Exp(g), -1))";
    const std::string recalled = fmt::format("ReduceSum(Multiply({}, {}), -2)", decayed, key);
    const std::string correction = fmt::format("Multiply(Subtract(Squeeze(v, 2), {}), beta)", recalled);
    const std::string state = fmt::format("Add({}, Multiply({}, Unsqueeze({}, -2)))", decayed, key, correction);
    const std::string output = fmt::format("ReduceSum(Multiply({}, Unsqueeze(Squeeze(q, 2), -1)), -2)", state);
    return form(0) == "1" && form(1) == state &&
           form(2) == fmt::format("ScatterUpdate(outputs, Unsqueeze(step, 0), {}, 2)", output);
}

// `gather` repeats each key head H_v / H_k times in a row.
bool repeats_heads(const ov::Node& gather, const Layer& layer) {
    const auto* index = dynamic_cast<const ov::op::v0::Constant*>(gather.get_input_node_ptr(1));
    if (index == nullptr || ov::shape_size(index->get_shape()) != layer.value_heads) {
        return false;
    }
    const std::vector<std::int64_t> heads = index->cast_vector<std::int64_t>();
    for (std::size_t h = 0; h < heads.size(); ++h) {
        if (heads[h] != static_cast<std::int64_t>(h / (layer.value_heads / layer.key_heads))) {
            return false;
        }
    }
    return true;
}

// Finds the split above q, k and v, and the sizes of the heads.
std::shared_ptr<ov::Node> find_split(Layer& layer) {
    const ov::PartialShape& state = layer.loop->get_input_partial_shape(7);
    const auto split = climb(layer.loop->input_value(4), {"Transpose", "Reshape", "VariadicSplit"});
    if (!split || split->get_output_size() != 3 || state.rank() != 4 || state[1].is_dynamic() ||
        state[2].is_dynamic() || state[3].is_dynamic()) {
        return nullptr;
    }
    layer.mixed = split->input_value(0);
    layer.value_heads = static_cast<std::size_t>(state[1].get_length());
    layer.key_size = static_cast<std::size_t>(state[2].get_length());
    layer.value_size = static_cast<std::size_t>(state[3].get_length());
    const ov::PartialShape& q = split->get_output_partial_shape(0);
    if (q.rank() != 3 || q[2].is_dynamic() || layer.key_size == 0 || layer.key_size % 16 != 0 ||
        layer.value_size == 0 || layer.value_size % 16 != 0) {
        return nullptr;
    }
    layer.key_heads = static_cast<std::size_t>(q[2].get_length()) / layer.key_size;
    const bool fits = layer.key_heads > 0 && layer.value_heads % layer.key_heads == 0 &&
                      form_of(split->input_value(1), {}) == "-1" &&
                      form_of(split->input_value(2), {}) == fmt::format("{0} {0} {1}", layer.key_heads * layer.key_size,
                                                                        layer.value_heads * layer.value_size);
    return fits ? split : nullptr;
}

// q or k [B, S, H_v, K], each key head in as many places as value heads read it; nothing where that is done otherwise.
std::optional<Value> in_heads(const Value& part, const Layer& layer) {
    const auto reshaped = only_consumer<ov::Node>(part);
    const std::string form = fmt::format("Reshape(x, 0 0 {} {})", layer.key_heads, layer.key_size);
    if (!reshaped || form_of(reshaped, {{part, "x"}}) != form) {
        return std::nullopt;
    }
    if (layer.key_heads == layer.value_heads) {
        return reshaped->output(0);
    }
    const auto repeated = only_consumer<ov::op::v8::Gather>(reshaped->output(0));
    const bool fits = repeated && repeats_heads(*repeated, layer) && form_of(repeated->input_value(2), {}) == "2";
    return fits ? std::optional(repeated->output(0)) : std::nullopt;
}

// Checks what is between the split and the loop.
bool find_heads(Layer& layer) {
    const auto split = find_split(layer);
    const auto q = split ? in_heads(split->output(0), layer) : std::nullopt;
    const auto k = split ? in_heads(split->output(1), layer) : std::nullopt;
    if (!q || !k) {
        return false;
    }
    const auto normed = [](const char* name) {
        return fmt::format(
            "Transpose(Multiply({0}, Divide(1, Sqrt(Add(ReduceSum(Multiply({0}, {0}), -1), 1e-06)))), "
            "0 2 1 3)",
            name);
    };
    const std::string query = fmt::format("Divide({0}, Power(Convert(Gather(ShapeOf({0}), 3, 0)), 0.5))", normed("q"));
    const std::string value =
        fmt::format("Transpose(Reshape(v, 0 0 {} {}), 0 2 1 3)", layer.value_heads, layer.value_size);
    const FormNames names{{*q, "q"}, {*k, "k"}, {split->output(2), "v"}};
    const std::string expected[] = {fmt::format("Convert(Gather(ShapeOf({}), 2, 0))", value), "1", query, normed("k"),
                                    value};
    for (std::size_t input = 0; input < std::size(expected); ++input) {
        if (form_of(layer.loop->input_value(input), names) != expected[input]) {
            return false;
        }
    }
    return form_of(layer.loop->input_value(8), names) == fmt::format("Broadcast(0, ShapeOf({}))", value);
}

// The values of a constant, or of one that is stored in fewer bits.
std::optional<std::vector<float>> constant_values(const Value& value) {
    const ov::Node* node = value.get_node();
    if (ov::is_type<ov::op::v0::Convert>(node)) {
        node = node->get_input_node_ptr(0);
    }
    const auto* constant = dynamic_cast<const ov::op::v0::Constant*>(node);
    return constant == nullptr ? std::nullopt : std::optional(constant->cast_vector<float>());
}

std::shared_ptr<ov::op::v6::ReadValue> past_of(const Value& value) {
    const auto gather = ov::as_type_ptr<ov::op::v8::Gather>(value.get_node_shared_ptr());
    return gather == nullptr ? nullptr : ov::as_type_ptr<ov::op::v6::ReadValue>(gather->get_input_node_shared_ptr(0));
}

bool find_convolution(Layer& layer) {
    const auto convolution = ov::as_type_ptr<ov::op::v1::GroupConvolution>(
        climb(layer.mixed, {"Swish", "Reshape", "Transpose", "Reshape", "Slice", "GroupConvolution"}));
    const auto joined =
        convolution ? ov::as_type_ptr<ov::op::v0::Concat>(convolution->get_input_node_shared_ptr(0)) : nullptr;
    if (!joined || joined->get_input_size() != 2 || joined->get_axis() != -1) {
        return false;
    }
    layer.past_columns = past_of(joined->input_value(0));
    const auto source = climb(joined->input_value(1), {"Reshape", "Transpose", "Reshape"});
    const ov::Shape kernel =
        convolution->get_input_partial_shape(1).is_static() ? convolution->get_input_shape(1) : ov::Shape{};
    if (!layer.past_columns || !source || kernel.size() != 4 || kernel[0] != layer.channels() || kernel[1] != 1 ||
        kernel[2] != 1 || convolution->get_strides() != ov::Strides{1} ||
        convolution->get_dilations() != ov::Strides{1} || convolution->get_pads_begin() != ov::CoordinateDiff{0} ||
        convolution->get_pads_end() != ov::CoordinateDiff{0}) {
        return false;
    }
    layer.x = source->input_value(0);
    layer.width = kernel[3];
    const std::string columns =
        fmt::format("Reshape(Transpose(Reshape(x, 0 0 1 {}), 0 3 1 2), 0 0 -1)", layer.channels());
    const FormNames names{{layer.x, "x"}, {joined->input_value(0), "past"}, {convolution->input_value(1), "taps"}};
    const std::string form = fmt::format(
        "Swish(Reshape(Transpose(Reshape(Slice(GroupConvolution(Concat(past, {0}), taps), "
        "Multiply(Gather(ShapeOf({0}), 2, 0), -1), {1:.6g}, 1, 2), 0 0 1 -1), 0 3 1 2), 0 0 -1))",
        columns, static_cast<double>(std::numeric_limits<std::int64_t>::max()));
    if (form_of(layer.mixed, names) != form) {
        return false;
    }
    const auto values = constant_values(convolution->input_value(1));
    if (!values || values->size() != layer.channels() * layer.width) {
        return false;
    }
    layer.taps.resize(values->size());
    for (std::size_t c = 0; c < layer.channels(); ++c) {
        for (std::size_t j = 0; j < layer.width; ++j) {
            layer.taps[j * layer.channels() + c] = (*values)[c * layer.width + j];
        }
    }
    return true;
}

// The operation that writes the variable which `read` reads; null when there is not just one.
std::shared_ptr<ov::op::v6::Assign> writer_of(const ov::Model& model, const ov::op::v6::ReadValue& read) {
    std::shared_ptr<ov::op::v6::Assign> found;
    for (const auto& sink : model.get_sinks()) {
        const auto assign = ov::as_type_ptr<ov::op::v6::Assign>(sink);
        if (assign && assign->get_variable_id() == read.get_variable_id()) {
            if (found) {
                return nullptr;
            }
            found = assign;
        }
    }
    return found;
}

bool find_states_and_output(const ov::Model& model, Layer& layer) {
    Loop& loop = *layer.loop;
    layer.past_state = past_of(loop.input_value(7));
    if (!layer.past_state || layer.past_state->get_input_size() != 1 || layer.past_columns->get_input_size() != 1) {
        return false;
    }
    layer.state = writer_of(model, *layer.past_state);
    layer.columns = writer_of(model, *layer.past_columns);
    const auto transpose = only_consumer<ov::op::v1::Transpose>(loop.output(0));
    const auto g = climb(loop.input_value(5), {"Transpose"});
    const auto beta = climb(loop.input_value(6), {"Transpose"});
    const auto axes = [](const std::shared_ptr<ov::Node>& node) {
        return form_of(node->input_value(1), {});
    };
    if (!layer.state || !layer.columns || layer.state->input_value(0) != loop.output(1) ||
        loop.output(1).get_target_inputs().size() != 1 || !transpose || axes(transpose) != "0 2 1 3" || !g ||
        axes(g) != "0 2 1" || !beta || axes(beta) != "0 2 1") {
        return false;
    }
    const std::string kept = fmt::format("Slice(joined, -{}, {:.6g}, 1, 2)", layer.width,
                                         static_cast<double>(std::numeric_limits<std::int64_t>::max()));
    const auto joined = climb(layer.columns->input_value(0), {"Slice", "Concat"});
    if (!joined || form_of(layer.columns->input_value(0), {{joined->output(0), "joined"}}) != kept ||
        past_of(joined->input_value(0)) != layer.past_columns) {
        return false;
    }
    layer.output = transpose;
    layer.g = g->input_value(0);
    layer.beta = beta->input_value(0);
    return true;
}

// A read of the columns as [B, width, C]; `variable` as it was in all else.
std::shared_ptr<ov::op::v6::ReadValue> turned_columns(const Layer& layer,
                                                      const std::shared_ptr<ov::op::util::Variable>& variable) {
    const auto order = ov::op::v0::Constant::create(ov::element::i64, {3}, std::vector<std::int64_t>{0, 2, 1});
    const auto first = std::make_shared<ov::op::v1::Transpose>(layer.past_columns->input_value(0), order);
    const auto read = std::make_shared<ov::op::v6::ReadValue>(first, variable);
    read->set_friendly_name(layer.past_columns->get_friendly_name());
    read->output(0).set_names(layer.past_columns->output(0).get_names());
    return read;
}

void replace(ov::Model& model, const Layer& layer, ov::element::Type type) {
    const auto turned = std::make_shared<ov::op::util::Variable>(
        ov::op::util::VariableInfo{ov::PartialShape{ov::Dimension::dynamic(), static_cast<std::int64_t>(layer.width),
                                                    static_cast<std::int64_t>(layer.channels())},
                                   ov::element::f32, layer.past_columns->get_variable_id()});
    const auto past_columns = turned_columns(layer, turned);
    const auto as = [](const Value& value, ov::element::Type wanted) -> Value {
        return value.get_element_type() == wanted ? value
                                                  : std::make_shared<ov::op::v0::Convert>(value, wanted)->output(0);
    };
    ov::OutputVector inputs{layer.x, layer.g, layer.beta, layer.past_state, past_columns};
    for (Value& input : inputs) {
        input = as(input, type);
    }
    inputs.push_back(
        ov::op::v0::Constant::create(ov::element::f32, {layer.width, layer.channels()}, layer.taps)->output(0));
    const auto rule = std::make_shared<DeltaRule>(inputs, static_cast<std::int64_t>(layer.key_heads));
    rule->set_friendly_name(layer.loop->get_friendly_name());
    const auto columns = std::make_shared<ov::op::v6::Assign>(as(rule->output(2), ov::element::f32), turned);
    columns->set_friendly_name(layer.columns->get_friendly_name());
    layer.output->output(0).replace(as(rule->output(0), ov::element::f32));
    layer.state->input(0).replace_source_output(as(rule->output(1), ov::element::f32));
    model.remove_sink(layer.columns);
    model.remove_variable(layer.columns->get_variable());
    model.add_variables({turned});
    model.add_sinks({columns});
}

}  // namespace

std::size_t use_own_delta_rule(const std::shared_ptr<ov::Model>& model, ov::element::Type type) {
    std::vector<Layer> layers;
    for (const auto& node : model->get_ordered_ops()) {
        Layer layer;
        layer.loop = ov::as_type_ptr<Loop>(node);
        if (layer.loop && is_rule(*layer.loop) && find_heads(layer) && find_convolution(layer) &&
            find_states_and_output(*model, layer)) {
            layers.push_back(std::move(layer));
        }
    }
    for (const Layer& layer : layers) {
        replace(*model, layer, type);
    }
    if (!layers.empty()) {
        model->validate_nodes_and_infer_types();
    }
    return layers.size();
}

}  // namespace deltavino::runtime
