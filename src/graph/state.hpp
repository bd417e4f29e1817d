// States that a stateful OpenVINO model keeps between calls: key, value, convolution, recurrence.
#pragma once

#include "graph/ops.hpp"

#include <openvino/op/op.hpp>
#include <openvino/op/sink.hpp>
#include <openvino/op/util/variable.hpp>

#include <memory>
#include <string>
#include <vector>

namespace deltavino::graph {

// What a block needs besides its input: the beam order and the batch size of this call.
struct StateInputs {
    Value beam_idx;  // i32 [B]: row i of the new states continues row beam_idx[i] of the old ones; none for None
    Value batch;     // i64 [1]: rows of this call, for states that do not exist yet
};

// One state: read once, written once.
struct State {
    Value past;                                        // f32: the old state with its rows in beam order
    std::shared_ptr<ov::op::util::Variable> variable;  // null where nothing is kept
};

// How the states of a model are called: those of a model with linear layers, or of one without.
enum class StateNames {
    CacheParams,
    PastKeyValues,
    None,  // nothing is kept: every call begins with empty states
};

// Collects the states of a model in the order in which they are made.
class States {
public:
    explicit States(StateInputs inputs, StateNames names = StateNames::CacheParams)
        : inputs_(std::move(inputs)), names_(names) {}

    // A state of shape [batch, dims...]; a dimension of 0 grows (the cached tokens).
    //
    // ReadValue (initialised with zeros of a shape that GenAI recognises by its pattern of static,
    // zero and dynamic dimensions) -> Gather(beam_idx, axis 0). Without the Gather neither beam search
    // nor the paged transformation works.
    State read(const char* kind, std::uint64_t index, const std::vector<std::uint64_t>& dims);
    void write(const State& state, const Value& next);

    const ov::SinkVector& sinks() const { return sinks_; }

private:
    StateInputs inputs_;
    StateNames names_;
    ov::SinkVector sinks_;
};

}  // namespace deltavino::graph
