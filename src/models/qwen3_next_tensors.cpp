#include "models/qwen3_next_tensors.hpp"

#include <vector>

namespace deltavino::models {

using graph::Part;
using graph::Role;

void add_interleaved_projections(graph::TensorTable& table, const checkpoint::TextConfig& config,
                                 const std::string& module) {
    const std::uint64_t H_k = config.linear_num_key_heads;
    const std::uint64_t K = config.linear_key_head_dim;
    const std::uint64_t r = config.linear_num_value_heads / H_k;
    const std::uint64_t values = r * config.linear_value_head_dim;  // rows of v, and of z, of one key head
    const std::uint64_t hidden = config.hidden_size;
    const std::string qkvz = module + "in_proj_qkvz.weight";
    const std::string ba = module + "in_proj_ba.weight";
    const std::uint64_t period = 2 * K + 2 * values;
    table.add(qkvz, {H_k * period, hidden}, Role::DeltaProjection);
    table.add(ba, {H_k * 2 * r, hidden}, Role::DecayProjection);

    // Rows [first, first + count) of each key head's share.
    const auto of_each_head = [&](std::vector<Part>& parts, const std::string& tensor, std::uint64_t share,
                                  std::uint64_t first, std::uint64_t count) {
        for (std::uint64_t h = 0; h < H_k; ++h) {
            parts.push_back({tensor, h * share + first, count});
        }
    };
    std::vector<Part> qkv;
    of_each_head(qkv, qkvz, period, 0, K);
    of_each_head(qkv, qkvz, period, K, K);
    of_each_head(qkv, qkvz, period, 2 * K, values);
    std::vector<Part> z;
    of_each_head(z, qkvz, period, 2 * K + values, values);
    std::vector<Part> b;
    of_each_head(b, ba, 2 * r, 0, r);
    std::vector<Part> a;
    of_each_head(a, ba, 2 * r, r, r);
    table.assemble(module + "in_proj_qkv.weight", {H_k * (2 * K + values), hidden}, Role::DeltaProjection,
                   std::move(qkv));
    table.assemble(module + "in_proj_z.weight", {H_k * values, hidden}, Role::DeltaProjection, std::move(z));
    table.assemble(module + "in_proj_b.weight", {H_k * r, hidden}, Role::DecayProjection, std::move(b));
    table.assemble(module + "in_proj_a.weight", {H_k * r, hidden}, Role::DecayProjection, std::move(a));
}

}  // namespace deltavino::models
