// The paged form, with one sequence. Source: openvino `SDPAToPagedAttention`, and the block tables that
// openvino_genai's scheduler fills for hybrids: a linear layer reads its state from the first of its blocks and
// leaves the new one in the last.
#include "evaluate/directory_model.hpp"

#include "base/error.hpp"
#include "graph/names.hpp"
#include "runtime/openvino_call.hpp"

#include <openvino/pass/manager.hpp>
#include <openvino/pass/sdpa_to_paged_attention.hpp>

#include <algorithm>
#include <cstring>

namespace deltavino::evaluation {
namespace {

namespace names = graph::names;
using runtime::openvino_call;

bool is_cache(const std::string& name) {
    return name.find("_cache.") != std::string::npos || name.find("_state_table.") != std::string::npos;
}

bool is_key_or_value(const std::string& name) {
    return name.find("_cache.") != std::string::npos;
}

}  // namespace

PagedModel::PagedModel(ov::Core& core, const std::shared_ptr<ov::Model>& language, const std::string& device,
                       const std::string& precision, bool with_layers) {
    openvino_call(ErrorKind::Input, "bring the language model into the paged form", [&] {
        const std::shared_ptr<ov::Model> model = language->clone();
        ov::pass::Manager manager;
        manager.register_pass<ov::pass::SDPAToPagedAttention>();
        manager.run_passes(model);
        operations_ = count_operations(*model);
        for (const auto& parameter : model->get_parameters()) {
            if (is_cache(parameter->get_friendly_name()) && precision == "f32") {
                parameter->set_element_type(ov::element::f32);
            }
        }
        model->validate_nodes_and_infer_types();
        own_outputs_ = model->outputs().size();
        if (with_layers) {
            places_ = add_layer_outputs(*model);
        }
        compiled_ = core.compile_model(model, device, exact_properties(core, device, precision));
        request_ = compiled_.create_infer_request();
    });
}

OperationCounts PagedModel::compiled_operations() const {
    return count_operations(compiled_);
}

void PagedModel::make_tables(std::size_t tokens) {
    for (const auto& input : compiled_.inputs()) {
        const std::string name = input.get_any_name();
        if (is_key_or_value(name)) {
            const ov::PartialShape& shape = input.get_partial_shape();  // [blocks, heads, block size, width]
            if (shape.size() == 4 && shape[2].is_static() && shape[2].get_length() > 0) {
                block_size_ = static_cast<std::size_t>(shape[2].get_length());
            }
        }
    }
    blocks_ = tokens / block_size_ + 2;
    for (const auto& input : compiled_.inputs()) {
        const std::string name = input.get_any_name();
        if (!is_cache(name)) {
            continue;
        }
        ov::Shape shape{blocks_};
        for (std::size_t i = 1; i < input.get_partial_shape().size(); ++i) {
            shape.push_back(static_cast<std::size_t>(input.get_partial_shape()[i].get_length()));
        }
        ov::Tensor table(input.get_element_type(), shape);
        std::memset(table.data(), 0, table.get_byte_size());
        request_.set_tensor(name, table);
    }
}

void PagedModel::set(const std::string& name, const std::vector<std::int32_t>& values) {
    ov::Tensor tensor(ov::element::i32, {values.size()});
    std::memcpy(tensor.data(), values.data(), values.size() * sizeof(std::int32_t));
    request_.set_tensor(name, tensor);
}

bool PagedModel::has_input(const char* name) const {
    return std::any_of(compiled_.inputs().begin(), compiled_.inputs().end(),
                       [&](const auto& input) { return input.get_names().contains(name); });
}

void PagedModel::set_tokens(const Ids& ids, const std::optional<ov::Tensor>& embeddings, std::size_t begin,
                            std::size_t count) {
    if (embeddings) {
        const std::size_t width = embeddings->get_shape().back();
        ov::Tensor part(ov::element::f32, {count, width});
        std::memcpy(part.data(), embeddings->data<float>() + begin * width, part.get_byte_size());
        request_.set_tensor(names::kInputsEmbeds, part);
    } else {
        ov::Tensor part(ov::element::i64, {count});
        std::memcpy(part.data(), ids.data() + begin, part.get_byte_size());
        request_.set_tensor(names::kInputIds, part);
    }
}

void PagedModel::set_positions(std::size_t begin, std::size_t count) {
    if (!has_input(names::kPositionIds)) {
        return;
    }
    const ov::PartialShape& shape = compiled_.input(names::kPositionIds).get_partial_shape();
    const std::size_t axes = shape.size() == 1 ? 1 : position_axes(shape);
    ov::Tensor positions(ov::element::i64, shape.size() == 1 ? ov::Shape{count} : ov::Shape{axes, count});
    for (std::size_t i = 0; i < axes * count; ++i) {
        positions.data<std::int64_t>()[i] = static_cast<std::int64_t>(begin + i % count);
    }
    request_.set_tensor(names::kPositionIds, positions);
}

void PagedModel::set_tables(std::size_t begin, std::size_t count) {
    const auto past = static_cast<std::int32_t>(begin);
    std::vector<std::int32_t> blocks(blocks_);
    for (std::size_t b = 0; b < blocks_; ++b) {
        blocks[b] = static_cast<std::int32_t>(blocks_ - 1 - b);  // not in order: a graph must use the table
    }
    ov::Tensor longest(ov::element::i32, {});
    *longest.data<std::int32_t>() = static_cast<std::int32_t>(begin + count);
    request_.set_tensor("max_context_len", longest);
    set("past_lens", {past});
    set("subsequence_begins", {0, static_cast<std::int32_t>(count)});
    set("block_indices", blocks);
    set("block_indices_begins", {0, static_cast<std::int32_t>(blocks_)});
    if (has_input("la.past_lens")) {
        set("la.past_lens", {past});
        set("la.block_indices", {blocks[0], blocks[0]});
        set("la.block_indices_begins", {0, 2});
        set("la.cache_interval", {0});
    }
}

void PagedModel::read(const Ids& ids, const std::optional<ov::Tensor>& embeddings, std::size_t begin,
                      std::size_t count) {
    set_tokens(ids, embeddings, begin, count);
    set_positions(begin, count);
    set_tables(begin, count);
    request_.infer();
}

Matrix PagedModel::logits(const Ids& ids, const std::optional<ov::Tensor>& embeddings,
                          std::span<const std::size_t> wanted, std::size_t piece, const StopCheck& stop) {
    Matrix kept;
    openvino_call(ErrorKind::Input, "run the paged form of the language model", [&] {
        make_tables(ids.size());
        for (std::size_t begin = 0; begin < ids.size(); begin += piece) {
            const std::size_t count = std::min(piece, ids.size() - begin);
            read(ids, embeddings, begin, count);
            stop_if_asked(stop);
            keep_wanted(request_.get_output_tensor(0), begin, count, wanted, kept);
        }
    });
    return kept;
}

LayerOutputs PagedModel::layer_outputs(const Ids& ids, const std::optional<ov::Tensor>& embeddings) {
    LayerOutputs outputs;
    openvino_call(ErrorKind::Input, "run the paged form layer by layer", [&] {
        make_tables(ids.size());
        read(ids, embeddings, 0, ids.size());
        for (std::size_t i = 0; i < places_.size(); ++i) {
            const ov::Tensor tensor = request_.get_output_tensor(own_outputs_ + i);
            const auto width = static_cast<reference::Index>(tensor.get_shape().back());
            outputs.emplace(places_[i],
                            Eigen::Map<const Matrix>(tensor.data<float>(),
                                                     static_cast<reference::Index>(tensor.get_size()) / width, width));
        }
    });
    return outputs;
}

}  // namespace deltavino::evaluation
