#include "graph/state.hpp"

#include <openvino/op/assign.hpp>
#include <openvino/op/read_value.hpp>

namespace deltavino::graph {

namespace {

struct NamePair {
    std::string past;
    std::string present;
};

NamePair names_of(StateNames names, const std::string& kind, std::uint64_t index) {
    const std::string number = std::to_string(index);
    if (names == StateNames::CacheParams) {
        return {"cache_params.past." + kind + "." + number, "cache_params.present." + kind + "." + number};
    }
    return {"past_key_values." + number + "." + kind, "present_key_values." + number + "." + kind};
}

}  // namespace

State States::read(const char* kind, std::uint64_t index, const std::vector<std::uint64_t>& dims) {
    const NamePair name = names_of(names_, kind, index);
    std::vector<Value> initial_shape{inputs_.batch};
    ov::PartialShape shape{ov::Dimension::dynamic()};
    for (std::uint64_t dim : dims) {
        initial_shape.push_back(ints({static_cast<std::int64_t>(dim)}));
        shape.push_back(dim == 0 ? ov::Dimension::dynamic() : ov::Dimension(static_cast<std::int64_t>(dim)));
    }
    const Value initial = broadcast(scalar(0.0f), concat(initial_shape, 0));
    if (names_ == StateNames::None) {
        return {initial, nullptr};
    }

    State state;
    state.variable = std::make_shared<ov::op::util::Variable>(
        ov::op::util::VariableInfo{shape, ov::element::f32, name.past + name.present});
    const auto read_value = std::make_shared<ov::op::v6::ReadValue>(initial, state.variable);
    read_value->set_friendly_name(name.past);
    read_value->output(0).get_tensor().set_names({name.past});
    state.past = gather(read_value->output(0), inputs_.beam_idx, integer(0));
    return state;
}

void States::write(const State& state, const Value& next) {
    if (state.variable == nullptr) {
        return;
    }
    auto assign = std::make_shared<ov::op::v6::Assign>(next, state.variable);
    assign->set_friendly_name("assign." + state.variable->get_info().variable_id);
    sinks_.push_back(assign);
}

}  // namespace deltavino::graph
