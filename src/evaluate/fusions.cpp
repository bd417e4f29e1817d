// Seen with OpenVINO 2026.4. tests/e2e/test_check.py holds the CPU rows, tests/gpu/test_compile.py what the GPU rows say.
#include "evaluate/fusions.hpp"

#include "base/error.hpp"
#include "graph/names.hpp"

#include <openvino/op/constant.hpp>

#include <algorithm>
#include <array>
#include <cctype>
#include <regex>
#include <set>

namespace deltavino::evaluation {
namespace {

namespace names = graph::names;

enum class Expected : std::uint8_t { PerLinear, PerFull, TwicePerFull, PerExperts, ThricePerExperts, Norms };

struct FusionRow {
    const char* device;  // begins so
    Form form;
    const char* operation;  // in the device's graph; its case and underscores do not matter
    const char* meaning;
    Expected expected;
    Finding otherwise;
    const char* precision = "";  // only then; empty: any
};

constexpr std::array kFusions{
    FusionRow{"CPU", Form::Stateful, "GatedDeltaNet", "delta rule in one operation", Expected::PerLinear, Finding::Bad},
    FusionRow{"CPU", Form::Stateful, "ScaledDotProductAttention", "attention with its cache", Expected::PerFull,
              Finding::Bad},
    FusionRow{"CPU", Form::Stateful, "RoPE", "rotary positions", Expected::TwicePerFull, Finding::Note},
    FusionRow{"CPU", Form::Stateful, "RMS", "norms", Expected::Norms, Finding::Note},
    FusionRow{"CPU", Form::Stateful, "GatherMatmul", "experts, the chosen ones only", Expected::ThricePerExperts,
              Finding::Note},
    FusionRow{"CPU", Form::Paged, "PagedGatedDeltaNet", "delta rule in one operation", Expected::PerLinear,
              Finding::Bad},
    FusionRow{"CPU", Form::Paged, "PagedCausalConv1D", "convolution in one operation", Expected::PerLinear,
              Finding::Bad},
    FusionRow{"CPU", Form::Paged, "PagedAttention", "attention with its cache", Expected::PerFull, Finding::Bad},
    FusionRow{"CPU", Form::Paged, "RoPE", "rotary positions", Expected::TwicePerFull, Finding::Note},
    FusionRow{"CPU", Form::Paged, "RMS", "norms", Expected::Norms, Finding::Note},
    FusionRow{"CPU", Form::Paged, "GatherMatmul", "experts, the chosen ones only", Expected::ThricePerExperts,
              Finding::Note},
    FusionRow{"GPU", Form::Stateful, "GatedDeltaNet", "delta rule in one operation", Expected::PerLinear, Finding::Bad},
    FusionRow{"GPU", Form::Stateful, "scaled_dot_product_attention", "attention", Expected::PerFull, Finding::Note,
              "f16"},
    FusionRow{"GPU", Form::Stateful, "RoPE", "rotary positions", Expected::TwicePerFull, Finding::Note},
    FusionRow{"GPU", Form::Stateful, "rms", "norms", Expected::Norms, Finding::Note},
    FusionRow{"GPU", Form::Stateful, "kv_cache", "keys and values appended in place", Expected::TwicePerFull,
              Finding::Note},
    FusionRow{"GPU", Form::Stateful, "moe_3gemm_fused_compressed", "experts in 4 or 8 bit on matrix units",
              Expected::PerExperts, Finding::Note},
    FusionRow{"GPU", Form::Paged, "paged_gated_delta_net", "delta rule in one operation", Expected::PerLinear,
              Finding::Bad},
    FusionRow{"GPU", Form::Paged, "PagedCausalConv1D", "convolution in one operation", Expected::PerLinear,
              Finding::Bad},
    FusionRow{"GPU", Form::Paged, "paged_attention", "attention with its cache", Expected::PerFull, Finding::Bad},
    FusionRow{"GPU", Form::Paged, "RoPE", "rotary positions", Expected::TwicePerFull, Finding::Note},
    FusionRow{"GPU", Form::Paged, "rms", "norms", Expected::Norms, Finding::Note},
    FusionRow{"GPU", Form::Paged, "moe_3gemm_fused_compressed", "experts in 4 or 8 bit on matrix units",
              Expected::PerExperts, Finding::Note},
};

std::size_t expected_count(Expected expected, const LayerCounts& layers) {
    switch (expected) {
        case Expected::PerLinear: return layers.linear;
        case Expected::PerFull: return layers.full;
        case Expected::TwicePerFull: return 2 * layers.full;  // queries, keys
        case Expected::PerExperts: return layers.with_experts;
        case Expected::ThricePerExperts:
            return 3 * layers.with_experts;  // gate, up, down
        // Two of each layer and the last one; the gated one of the delta rule; queries and keys of attention.
        case Expected::Norms: return 3 * layers.linear + 4 * layers.full + 1;
    }
    return 0;
}

// "PagedGatedDeltaNet" and "paged_gated_delta_net" are the same.
std::string plain(std::string_view name) {
    std::string text;
    for (const char c : name) {
        if (c != '_') {
            text += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
        }
    }
    return text;
}

std::size_t count_of(const OperationCounts& counts, std::string_view operation) {
    std::size_t found = 0;
    for (const auto& [name, count] : counts) {
        found += plain(name) == plain(operation) ? count : 0;
    }
    return found;
}

CheckItem counted(std::string subject, std::string_view what, std::size_t found, std::size_t expected,
                  Finding otherwise) {
    return {"structure", std::move(subject), found == expected ? Finding::Good : otherwise,
            fmt::format("{}: {}, expected {}", what, found, expected)};
}

}  // namespace

LayerCounts count_layers(const ov::Model& language) {
    LayerCounts layers;
    for (const auto& variable : language.get_variables()) {
        const std::string& id = variable->get_info().variable_id;
        const auto is = [&](const char* kind) {
            return id.find(fmt::format(".past.{}.", kind)) != std::string::npos;
        };
        layers.linear += is(names::kRecurrentState) ? 1 : 0;
        layers.full += is(names::kKeyState) ? 1 : 0;
    }
    static const std::regex kExperts(R"(layers\.(\d{1,6})\.mlp\.experts\.)");
    std::set<std::string> with_experts;
    for (const auto& node : language.get_ordered_ops()) {
        std::smatch match;
        if (ov::is_type<ov::op::v0::Constant>(node) && std::regex_search(node->get_friendly_name(), match, kExperts)) {
            with_experts.insert(match[1].str());
        }
    }
    layers.with_experts = with_experts.size();
    return layers;
}

std::vector<CheckItem> check_fusions(const OperationCounts& compiled, const LayerCounts& layers,
                                     const std::string& device, Form form, const std::string& precision) {
    const std::string subject = fmt::format("fusions on {}{}", device, form == Form::Paged ? ", paged form" : "");
    std::vector<CheckItem> items;
    for (const FusionRow& row : kFusions) {
        const std::string_view only = row.precision;
        const std::size_t expected = expected_count(row.expected, layers);
        if (device.starts_with(row.device) && row.form == form && expected > 0 && (only.empty() || only == precision)) {
            items.push_back(counted(subject, fmt::format("{} ({})", row.meaning, row.operation),
                                    count_of(compiled, row.operation), expected, row.otherwise));
        }
    }
    items.push_back(counted(subject, "loops over tokens that are left",
                            count_of(compiled, "TensorIterator") + count_of(compiled, "Loop"), 0, Finding::Bad));
    return items;
}

std::vector<CheckItem> check_paged_operations(const OperationCounts& transformed, const LayerCounts& layers) {
    std::vector<CheckItem> items;
    for (const auto& [type, expected] :
         {std::pair("PagedGatedDeltaNet", layers.linear), std::pair("PagedCausalConv1D", layers.linear),
          std::pair("PagedAttentionExtension", layers.full)}) {
        items.push_back(counted("paged form", type, count_of(transformed, type), expected, Finding::Bad));
    }
    return items;
}

}  // namespace deltavino::evaluation
