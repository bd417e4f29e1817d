#include "support/engine.hpp"

#include <openvino/op/constant.hpp>
#include <openvino/pass/manager.hpp>
#include <openvino/pass/sdpa_to_paged_attention.hpp>
#include <openvino/runtime/core.hpp>
#include <openvino/runtime/properties.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

namespace deltavino::test {
namespace {

ov::Core& core() {
    static ov::Core instance;
    return instance;
}

template <typename T>
ov::Tensor tensor_of(ov::element::Type type, const ov::Shape& shape, const std::vector<T>& values) {
    ov::Tensor tensor(type, shape);
    std::memcpy(tensor.data(), values.data(), values.size() * sizeof(T));
    return tensor;
}

ov::Tensor matrix_of(const std::vector<Ids>& rows) {
    Ids flat;
    for (const Ids& row : rows) {
        flat.insert(flat.end(), row.begin(), row.end());
    }
    return tensor_of(ov::element::i64, {rows.size(), rows.front().size()}, flat);
}

std::vector<float> values_of(const std::vector<Embedded>& rows) {
    std::vector<float> flat;
    for (const Embedded& row : rows) {
        flat.insert(flat.end(), row.values.begin(), row.values.end());
    }
    return flat;
}

// [4, tokens of all rows]
Ids positions_of(const std::vector<Embedded>& rows) {
    Ids flat;
    for (std::size_t axis = 0; axis < 4; ++axis) {
        for (const Embedded& row : rows) {
            flat.insert(flat.end(), row.positions[axis].begin(), row.positions[axis].end());
        }
    }
    return flat;
}

bool is_cache(const std::string& name) {
    return name.find("_cache.") != std::string::npos || name.find("_state_table.") != std::string::npos;
}

}  // namespace

std::shared_ptr<ov::Model> read_model(const std::filesystem::path& xml) {
    return core().read_model(xml);
}

ov::CompiledModel compile_f32(const std::shared_ptr<ov::Model>& model) {
    return core().compile_model(
        model, "CPU",
        {ov::hint::inference_precision(ov::element::f32), ov::hint::kv_cache_precision(ov::element::f32),
         ov::hint::dynamic_quantization_group_size(0), ov::enable_mmap(true)});
}

std::map<std::string, std::size_t> runtime_counts(const ov::CompiledModel& compiled) {
    std::map<std::string, std::size_t> counts;
    for (const auto& node : compiled.get_runtime_model()->get_ordered_ops()) {
        counts[node->get_rt_info().at("layerType").as<std::string>()] += 1;
    }
    return counts;
}

std::map<std::string, std::size_t> weight_precisions(const ov::CompiledModel& compiled, const std::string& layer_type) {
    std::map<std::string, std::size_t> counts;
    for (const auto& node : compiled.get_runtime_model()->get_ordered_ops()) {
        if (node->get_rt_info().at("layerType").as<std::string>() != layer_type) {
            continue;
        }
        const auto source = node->get_input_node_shared_ptr(layer_type == "Gather" ? 0 : 1);
        if (source->get_rt_info().at("layerType").as<std::string>() == "Const") {
            counts[source->get_rt_info().at("outputPrecisions").as<std::string>()] += 1;
        }
    }
    return counts;
}

std::map<std::string, std::size_t> operation_counts(const ov::Model& model) {
    std::map<std::string, std::size_t> counts;
    for (const auto& node : model.get_ordered_ops()) {
        counts[node->get_type_name()] += 1;
    }
    return counts;
}

std::shared_ptr<ov::Model> decompress(const ov::Model& model) {
    const auto copy = model.clone();
    std::map<std::string, std::shared_ptr<ov::op::v0::Constant>> constants;
    for (const auto& node : copy->get_ordered_ops()) {
        if (const auto constant = ov::as_type_ptr<ov::op::v0::Constant>(node)) {
            constants[node->get_friendly_name()] = constant;
        }
    }
    const std::string end = "/fq_weights_1/convert";
    for (const auto& node : copy->get_ordered_ops()) {
        const std::string& name = node->get_friendly_name();
        if (!name.ends_with(end)) {
            continue;
        }
        const std::string weight = name.substr(0, name.size() - end.size());
        std::vector<float> values = constants.at(weight)->cast_vector<float>();
        const std::vector<float> scales = constants.at(weight + "/scale")->cast_vector<float>();
        const auto zero_points = constants.find(weight + "/zero_point");
        const std::vector<float> zeros = zero_points == constants.end() ? std::vector<float>(scales.size(), 0.0f)
                                                                        : zero_points->second->cast_vector<float>();
        const std::size_t group = values.size() / scales.size();
        for (std::size_t i = 0; i < values.size(); ++i) {
            values[i] = (values[i] - zeros[i / group]) * scales[i / group];
        }
        node->output(0).replace(
            std::make_shared<ov::op::v0::Constant>(ov::element::f32, node->get_output_shape(0), values));
    }
    copy->validate_nodes_and_infer_types();
    return copy;
}

StatefulEngine::StatefulEngine(const ov::CompiledModel& compiled)
    : request_(const_cast<ov::CompiledModel&>(compiled).create_infer_request()) {}

void StatefulEngine::reset() {
    request_.reset_state();
    past_ = 0;
}

Embedded Embedded::part(std::size_t begin, std::size_t end) const {
    const std::size_t width = values.size() / tokens();
    const auto cut = [&](const auto& from, std::size_t unit) {
        const auto first = from.begin();
        return std::remove_cvref_t<decltype(from)>(first + static_cast<std::ptrdiff_t>(begin * unit),
                                                   first + static_cast<std::ptrdiff_t>(end * unit));
    };
    return {cut(values, width),
            {cut(positions[0], 1), cut(positions[1], 1), cut(positions[2], 1), cut(positions[3], 1)}};
}

Drafting Drafting::part(std::size_t begin, std::size_t end) const {
    const auto cut = [&](const std::vector<float>& from) {
        return std::vector<float>(from.begin() + static_cast<std::ptrdiff_t>(begin * width),
                                  from.begin() + static_cast<std::ptrdiff_t>(end * width));
    };
    return {cut(hidden), cut(embedded), width};
}

Logits StatefulEngine::step(const std::vector<Drafting>& rows, std::vector<Ids> mask, std::vector<std::int32_t> beam) {
    const std::size_t length = rows.front().tokens();
    const ov::Shape shape{rows.size(), length, rows.front().width};
    std::vector<float> hidden;
    std::vector<float> embedded;
    Ids positions;
    for (const Drafting& row : rows) {
        hidden.insert(hidden.end(), row.hidden.begin(), row.hidden.end());
        embedded.insert(embedded.end(), row.embedded.begin(), row.embedded.end());
        for (std::size_t t = 0; t < length; ++t) {
            positions.push_back(static_cast<std::int64_t>(past_ + t));
        }
    }
    request_.set_tensor("hidden_states", tensor_of(ov::element::f32, shape, hidden));
    request_.set_tensor("inputs_embeds", tensor_of(ov::element::f32, shape, embedded));
    request_.set_tensor("position_ids", tensor_of(ov::element::i64, {rows.size(), length}, positions));
    return infer(rows.size(), length, std::move(mask), std::move(beam));
}

Logits StatefulEngine::step(const std::vector<Ids>& rows, std::vector<Ids> mask, std::vector<std::int32_t> beam) {
    request_.set_tensor("input_ids", matrix_of(rows));
    return infer(rows.size(), rows.front().size(), std::move(mask), std::move(beam));
}

Logits StatefulEngine::step(const std::vector<Embedded>& rows, std::vector<Ids> mask, std::vector<std::int32_t> beam) {
    const std::size_t length = rows.front().tokens();
    request_.set_tensor(
        "inputs_embeds",
        tensor_of(ov::element::f32, {rows.size(), length, rows.front().values.size() / length}, values_of(rows)));
    request_.set_tensor("position_ids", tensor_of(ov::element::i64, {4, rows.size(), length}, positions_of(rows)));
    return infer(rows.size(), length, std::move(mask), std::move(beam));
}

Logits StatefulEngine::infer(std::size_t rows, std::size_t length, std::vector<Ids> mask,
                             std::vector<std::int32_t> beam) {
    past_ += length;
    if (mask.empty()) {
        mask.assign(rows, Ids(past_, 1));
    }
    for (std::int32_t i = 0; beam.size() < rows; ++i) {
        beam.push_back(i);
    }
    request_.set_tensor("attention_mask", matrix_of(mask));
    request_.set_tensor("beam_idx", tensor_of(ov::element::i32, {beam.size()}, beam));
    request_.infer();
    const ov::Tensor logits = request_.get_output_tensor(0);
    const std::size_t row_size = length * logits.get_shape().back();
    if (logits.get_size() != rows * row_size) {
        throw std::runtime_error("unexpected shape of logits");
    }
    Logits result;
    for (std::size_t i = 0; i < rows; ++i) {
        const float* begin = logits.data<float>() + i * row_size;
        result.emplace_back(begin, begin + row_size);
    }
    return result;
}

PagedEngine::PagedEngine(const std::shared_ptr<ov::Model>& model, std::size_t sequences) : past_(sequences, 0) {
    ov::pass::Manager manager;
    manager.register_pass<ov::pass::SDPAToPagedAttention>();
    manager.run_passes(model);
    operations_ = operation_counts(*model);
    for (const auto& parameter : model->get_parameters()) {
        if (is_cache(parameter->get_friendly_name())) {
            parameter->set_element_type(ov::element::f32);
        }
    }
    model->validate_nodes_and_infer_types();
    compiled_ = compile_f32(model);
    request_ = compiled_.create_infer_request();
    for (const auto& input : compiled_.inputs()) {
        const std::string name = input.get_any_name();
        if (!is_cache(name)) {
            continue;
        }
        ov::Shape shape{sequences * kBlocksPerSequence};
        for (std::size_t i = 1; i < input.get_partial_shape().size(); ++i) {
            shape.push_back(static_cast<std::size_t>(input.get_partial_shape()[i].get_length()));
        }
        ov::Tensor table(input.get_element_type(), shape);
        std::memset(table.data(), 0, table.get_byte_size());
        request_.set_tensor(name, table);
    }
}

void PagedEngine::set(const std::string& name, const std::vector<std::int32_t>& values) {
    request_.set_tensor(name, tensor_of(ov::element::i32, {values.size()}, values));
}

Logits PagedEngine::step(const std::vector<Ids>& tokens) {
    Ids flat;
    Ids positions;
    std::vector<std::size_t> lengths;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
        for (std::size_t t = 0; t < tokens[i].size(); ++t) {
            flat.push_back(tokens[i][t]);
            positions.push_back(static_cast<std::int64_t>(past_[i] + t));
        }
        lengths.push_back(tokens[i].size());
    }
    request_.set_tensor("input_ids", tensor_of(ov::element::i64, {flat.size()}, flat));
    request_.set_tensor("position_ids", tensor_of(ov::element::i64, {positions.size()}, positions));
    return infer(lengths);
}

Logits PagedEngine::step(const std::vector<Embedded>& tokens) {
    std::vector<std::size_t> lengths;
    std::size_t total = 0;
    for (const Embedded& row : tokens) {
        lengths.push_back(row.tokens());
        total += row.tokens();
    }
    const std::vector<float> values = values_of(tokens);
    request_.set_tensor("inputs_embeds", tensor_of(ov::element::f32, {total, values.size() / total}, values));
    request_.set_tensor("position_ids", tensor_of(ov::element::i64, {4, total}, positions_of(tokens)));
    return infer(lengths);
}

Logits PagedEngine::step(const std::vector<Drafting>& tokens) {
    std::vector<std::size_t> lengths;
    std::vector<float> hidden;
    std::vector<float> embedded;
    Ids positions;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
        hidden.insert(hidden.end(), tokens[i].hidden.begin(), tokens[i].hidden.end());
        embedded.insert(embedded.end(), tokens[i].embedded.begin(), tokens[i].embedded.end());
        for (std::size_t t = 0; t < tokens[i].tokens(); ++t) {
            positions.push_back(static_cast<std::int64_t>(past_[i] + t));
        }
        lengths.push_back(tokens[i].tokens());
    }
    const std::size_t width = tokens.front().width;
    request_.set_tensor("hidden_states", tensor_of(ov::element::f32, {positions.size(), 1, width}, hidden));
    request_.set_tensor("inputs_embeds", tensor_of(ov::element::f32, {positions.size(), width}, embedded));
    request_.set_tensor("position_ids", tensor_of(ov::element::i64, {positions.size()}, positions));
    return infer(lengths);
}

Logits PagedEngine::infer(const std::vector<std::size_t>& lengths) {
    std::vector<std::int32_t> begins{0};
    std::vector<std::int32_t> past;
    std::vector<std::int32_t> blocks;
    std::vector<std::int32_t> block_begins{0};
    std::vector<std::int32_t> linear_blocks;
    std::vector<std::int32_t> linear_begins{0};
    std::size_t longest = 0;
    for (std::size_t i = 0; i < lengths.size(); ++i) {
        past.push_back(static_cast<std::int32_t>(past_[i]));
        begins.push_back(begins.back() + static_cast<std::int32_t>(lengths[i]));
        past_[i] += lengths[i];
        longest = std::max(longest, past_[i]);
        // Blocks in reverse order of sequences, so that a graph that ignores the table shows.
        const auto first = static_cast<std::int32_t>((lengths.size() - 1 - i) * kBlocksPerSequence);
        for (std::size_t b = 0; b < kBlocksPerSequence; ++b) {
            blocks.push_back(first + static_cast<std::int32_t>(b));
        }
        block_begins.push_back(static_cast<std::int32_t>(blocks.size()));
        linear_blocks.insert(linear_blocks.end(), {first, first});
        linear_begins.push_back(static_cast<std::int32_t>(linear_blocks.size()));
    }
    ov::Tensor max_context(ov::element::i32, {});
    *max_context.data<std::int32_t>() = static_cast<std::int32_t>(longest);
    request_.set_tensor("max_context_len", max_context);
    set("past_lens", past);
    set("subsequence_begins", begins);
    set("block_indices", blocks);
    set("block_indices_begins", block_begins);
    if (operations_.contains("PagedGatedDeltaNet")) {
        set("la.past_lens", past);
        set("la.block_indices", linear_blocks);
        set("la.block_indices_begins", linear_begins);
        set("la.cache_interval", std::vector<std::int32_t>(lengths.size(), 0));
    }
    request_.infer();
    const ov::Tensor logits = request_.get_output_tensor(0);
    const std::size_t vocabulary = logits.get_shape().back();
    Logits result;
    for (std::size_t i = 0; i < lengths.size(); ++i) {
        const float* begin = logits.data<float>() + static_cast<std::size_t>(begins[i]) * vocabulary;
        result.emplace_back(begin, begin + lengths[i] * vocabulary);
    }
    return result;
}

double relative_error(const std::vector<float>& a, const std::vector<float>& b) {
    if (a.size() != b.size() || a.empty()) {
        return INFINITY;
    }
    double largest_difference = 0.0;
    double largest = 0.0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        const double difference = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
        largest_difference = std::isfinite(difference) ? std::max(largest_difference, difference) : INFINITY;
        largest = std::max(largest, std::abs(static_cast<double>(b[i])));
    }
    return largest_difference / largest;
}

}  // namespace deltavino::test
