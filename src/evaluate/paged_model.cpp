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
                       const std::string& precision) {
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
        compiled_ = core.compile_model(model, device, exact_properties(core, device, precision));
        request_ = compiled_.create_infer_request();
    });
}

OperationCounts PagedModel::compiled_operations() const {
    OperationCounts counts;
    for (const auto& node : compiled_.get_runtime_model()->get_ordered_ops()) {
        const auto type = node->get_rt_info().find("layerType");
        if (type != node->get_rt_info().end()) {
            counts[type->second.as<std::string>()] += 1;
        }
    }
    return counts;
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

Matrix PagedModel::logits(const Ids& ids, const std::optional<ov::Tensor>& embeddings,
                          std::span<const std::size_t> wanted, std::size_t piece) {
    Matrix kept;
    openvino_call(ErrorKind::Input, "run the paged form of the language model", [&] {
        make_tables(ids.size());
        const auto has = [&](const char* name) {
            return std::any_of(compiled_.inputs().begin(), compiled_.inputs().end(),
                               [&](const auto& input) { return input.get_names().contains(name); });
        };
        for (std::size_t begin = 0; begin < ids.size(); begin += piece) {
            const std::size_t count = std::min(piece, ids.size() - begin);
            const auto past = static_cast<std::int32_t>(begin);
            const auto end = static_cast<std::int32_t>(begin + count);
            std::vector<std::int32_t> blocks(blocks_);
            for (std::size_t b = 0; b < blocks_; ++b) {
                blocks[b] = static_cast<std::int32_t>(blocks_ - 1 - b);  // not in order: a graph must use the table
            }
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
            for (const auto& input : compiled_.inputs()) {
                if (!input.get_names().contains(names::kPositionIds)) {
                    continue;
                }
                const ov::PartialShape& shape = input.get_partial_shape();
                const std::size_t axes = shape.size() == 1 ? 1 : position_axes(shape);
                ov::Tensor positions(ov::element::i64, shape.size() == 1 ? ov::Shape{count} : ov::Shape{axes, count});
                for (std::size_t i = 0; i < axes * count; ++i) {
                    positions.data<std::int64_t>()[i] = static_cast<std::int64_t>(begin + i % count);
                }
                request_.set_tensor(names::kPositionIds, positions);
            }
            ov::Tensor longest(ov::element::i32, {});
            *longest.data<std::int32_t>() = end;
            request_.set_tensor("max_context_len", longest);
            set("past_lens", {past});
            set("subsequence_begins", {0, static_cast<std::int32_t>(count)});
            set("block_indices", blocks);
            set("block_indices_begins", {0, static_cast<std::int32_t>(blocks_)});
            if (has("la.past_lens")) {
                set("la.past_lens", {past});
                set("la.block_indices", {blocks[0], blocks[0]});
                set("la.block_indices_begins", {0, 2});
                set("la.cache_interval", {0});
            }
            request_.infer();
            const ov::Tensor logits = request_.get_output_tensor(0);
            const std::size_t vocabulary = logits.get_shape().empty() ? 0 : logits.get_shape().back();
            const bool same = kept.size() == 0 || static_cast<std::size_t>(kept.cols()) == vocabulary;
            if (vocabulary == 0 || logits.get_size() != count * vocabulary || !same) {
                fail(ErrorKind::Input, "cannot use the model: its paged form gives logits of shape {} for {} tokens",
                     logits.get_shape().to_string(), count);
            }
            if (kept.size() == 0) {
                kept.resize(static_cast<reference::Index>(wanted.size()), static_cast<reference::Index>(vocabulary));
            }
            for (std::size_t i = 0; i < wanted.size(); ++i) {
                if (wanted[i] >= begin && wanted[i] < begin + count) {
                    std::memcpy(kept.row(static_cast<reference::Index>(i)).data(),
                                logits.data<float>() + (wanted[i] - begin) * vocabulary, vocabulary * sizeof(float));
                }
            }
        }
    });
    return kept;
}

}  // namespace deltavino::evaluation
