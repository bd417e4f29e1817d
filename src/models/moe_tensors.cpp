// Ground truth for the fused order: transformers 5.2 `Qwen3_5MoeExperts` (chunk of gate_up_proj's output).
#include "models/moe_tensors.hpp"

#include <vector>

namespace deltavino::models {

using checkpoint::Checkpoint;
using checkpoint::MoeConfig;
using graph::Part;
using graph::Role;
using graph::TensorTable;

namespace {

// One projection of all experts.
struct Stack {
    std::string projection;        // gate_proj
    std::string fused;             // name of the tensor that holds it for all experts
    std::uint64_t fused_rows = 0;  // of one expert in that tensor
    std::uint64_t first_row = 0;   // of the projection in these
    std::uint64_t rows = 0;
    std::uint64_t columns = 0;
};

// Whether the checkpoint holds any expert of the projection on its own, plain or quantized.
bool stored_per_expert(const Checkpoint& checkpoint, const std::string& experts, const std::string& projection) {
    const std::string module = "." + projection;
    for (auto at = checkpoint.tensors().lower_bound(experts);
         at != checkpoint.tensors().end() && at->first.starts_with(experts); ++at) {
        const std::string& name = at->first;
        if (name.size() > experts.size() && name[experts.size()] >= '0' && name[experts.size()] <= '9' &&
            (name.ends_with(module + ".weight") || name.ends_with(module + ".qweight") ||
             name.ends_with(module + ".weight_packed"))) {
            return true;
        }
    }
    return false;
}

void add_stack(TensorTable& table, const Stack& stack, std::uint64_t experts, const std::string& prefix,
               const Checkpoint& checkpoint) {
    std::vector<Part> parts;
    const bool split =
        checkpoint.find(stack.fused) == nullptr && stored_per_expert(checkpoint, prefix, stack.projection);
    if (!split && stack.first_row == 0) {  // once, though two projections may lie in it
        table.add(stack.fused, {experts, stack.fused_rows, stack.columns}, Role::Expert);
    }
    for (std::uint64_t e = 0; e < experts; ++e) {
        if (split) {
            const std::string name = prefix + std::to_string(e) + "." + stack.projection + ".weight";
            table.add(name, {stack.rows, stack.columns}, Role::Expert);
            parts.push_back({name, 0, stack.rows});
        } else {
            parts.push_back({stack.fused, e * stack.fused_rows + stack.first_row, stack.rows});
        }
    }
    table.assemble(prefix + stack.projection + ".weight", {experts, stack.rows, stack.columns}, Role::Expert,
                   std::move(parts));
}

}  // namespace

void add_moe_tensors(TensorTable& table, const checkpoint::TextConfig& config, const std::string& layer,
                     const Checkpoint& checkpoint) {
    const MoeConfig& moe = *config.moe;
    const std::uint64_t hidden = config.hidden_size;
    const std::uint64_t inner = moe.moe_intermediate_size;
    const std::string p = layer + "mlp.";
    const std::string experts = p + "experts.";
    table.add(p + "gate.weight", {moe.num_experts, hidden}, Role::Router);
    add_stack(table, {"gate_proj", experts + "gate_up_proj", 2 * inner, 0, inner, hidden}, moe.num_experts, experts,
              checkpoint);
    add_stack(table, {"up_proj", experts + "gate_up_proj", 2 * inner, inner, inner, hidden}, moe.num_experts, experts,
              checkpoint);
    add_stack(table, {"down_proj", experts + "down_proj", hidden, 0, hidden, inner}, moe.num_experts, experts,
              checkpoint);

    const std::string shared = p + "shared_expert.";
    table.add(shared + "gate_proj.weight", {moe.shared_expert_intermediate_size, hidden}, Role::SharedExpert);
    table.add(shared + "up_proj.weight", {moe.shared_expert_intermediate_size, hidden}, Role::SharedExpert);
    table.add(shared + "down_proj.weight", {hidden, moe.shared_expert_intermediate_size}, Role::SharedExpert);
    table.add(p + "shared_expert_gate.weight", {1, hidden}, Role::SharedExpertGate);
}

}  // namespace deltavino::models
