// See ir_writer.hpp. Ground truth for the format: files written and read by OpenVINO 2026.4.1
// (ports, Loop port maps, layer rt_info). Only the attribute kinds of the operations that this project
// emits are handled; any other is an internal error, never silently dropped.
#include "graph/ir_writer.hpp"

#include "base/checked.hpp"
#include "base/error.hpp"
#include "base/text.hpp"
#include "graph/extension_op.hpp"

#include <openvino/core/attribute_adapter.hpp>
#include <openvino/core/attribute_visitor.hpp>
#include <openvino/core/version.hpp>
#include <openvino/op/loop.hpp>
#include <openvino/op/result.hpp>
#include <openvino/op/util/variable.hpp>

#include <algorithm>
#include <cstring>
#include <functional>
#include <string_view>

namespace deltavino::graph {
namespace {

// Weights start on a cache line, so that a mapped file can be used in place.
constexpr std::uint64_t kAlignment = 64;
// Constants up to this size are stored once when their bytes are equal.
constexpr std::size_t kSharedConstantLimit = 4096;

std::string attribute(std::string_view name, std::string_view value) {
    return fmt::format(" {}=\"{}\"", name, xml_escaped(value));
}

std::string precision_name(ov::element::Type type) {
    if (type == ov::element::boolean) {
        return "BOOL";
    }
    if (type.is_dynamic()) {
        return "UNSPECIFIED";
    }
    std::string name = type.get_type_name();
    if (name.starts_with("f") && type.is_real() && (name == "f16" || name == "f32" || name == "f64")) {
        name = "fp" + name.substr(1);
    }
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::toupper(c); });
    return name;
}

std::string shape_attribute(const ov::PartialShape& shape) {
    if (shape.rank().is_dynamic()) {
        return "...";
    }
    std::string text;
    for (const ov::Dimension& dim : shape) {
        text += (text.empty() ? "" : ",") + (dim.is_static() ? std::to_string(dim.get_length()) : std::string("?"));
    }
    return text;
}

// Turns a node's attributes into the attributes of its <data> element.
class DataAttributes : public ov::AttributeVisitor {
public:
    explicit DataAttributes(const ov::Node& node) : node_(node) {}

    const std::string& text() const { return text_; }

    void on_adapter(const std::string& name, ov::ValueAccessor<void>& adapter) override {
        if (auto* shape = ov::as_type<ov::AttributeAdapter<ov::PartialShape>>(&adapter)) {
            put(name, shape_attribute(shape->get()));
        } else if (auto* variable =
                       ov::as_type<ov::AttributeAdapter<std::shared_ptr<ov::op::util::Variable>>>(&adapter)) {
            put(name, variable->get()->get_info().variable_id);
        } else {
            unsupported(name);
        }
    }
    void on_adapter(const std::string& name, ov::ValueAccessor<std::string>& adapter) override {
        put(name, adapter.get());
    }
    void on_adapter(const std::string& name, ov::ValueAccessor<bool>& adapter) override {
        put(name, adapter.get() ? "true" : "false");
    }
    void on_adapter(const std::string& name, ov::ValueAccessor<std::int64_t>& adapter) override {
        put(name, std::to_string(adapter.get()));
    }
    void on_adapter(const std::string& name, ov::ValueAccessor<double>& adapter) override {
        put(name, fmt::format("{}", adapter.get()));
    }
    void on_adapter(const std::string& name, ov::ValueAccessor<std::vector<std::int64_t>>& adapter) override {
        put(name, fmt::format("{}", fmt::join(adapter.get(), ", ")));
    }
    void on_adapter(const std::string& name, ov::ValueAccessor<std::shared_ptr<ov::Model>>&) override {
        unsupported(name);
    }

private:
    void put(const std::string& name, const std::string& value) { text_ += attribute(name, value); }
    [[noreturn]] void unsupported(const std::string& name) {
        fail(ErrorKind::Internal, "cannot write attribute '{}' of operation '{}' ({})", name, node_.get_friendly_name(),
             node_.get_type_name());
    }

    const ov::Node& node_;
    std::string text_;
};

class Writer {
public:
    Writer(const std::unordered_set<const ov::Node*>& streamed,
           const std::unordered_set<const ov::Node*>& decompressions)
        : streamed_(streamed), decompressions_(decompressions) {}

    IrLayout run(const ov::Model& model, const RuntimeInfo& runtime_info) {
        layout_.xml = "<?xml version=\"1.0\"?>\n";
        layout_.xml += fmt::format("<net{} version=\"11\">\n", attribute("name", model.get_friendly_name()));
        write_graph(model, "\t");
        layout_.xml += "\t<rt_info>\n";
        layout_.xml +=
            fmt::format("\t\t<Runtime_version{} />\n", attribute("value", ov::get_openvino_version().buildNumber));
        layout_.xml += runtime_info_xml(runtime_info);
        layout_.xml += "\t</rt_info>\n</net>\n";
        return std::move(layout_);
    }

private:
    using Ids = std::unordered_map<const ov::Node*, std::size_t>;

    // Parameters and Results keep the model's order, which readers take as the order of ports.
    static std::vector<std::shared_ptr<ov::Node>> order(const ov::Model& model) {
        std::vector<std::shared_ptr<ov::Node>> nodes(model.get_parameters().begin(), model.get_parameters().end());
        for (const std::shared_ptr<ov::Node>& node : model.get_ordered_ops()) {
            if (!ov::is_type<ov::op::v0::Parameter>(node) && !ov::is_type<ov::op::v0::Result>(node)) {
                nodes.push_back(node);
            }
        }
        nodes.insert(nodes.end(), model.get_results().begin(), model.get_results().end());
        return nodes;
    }

    void write_graph(const ov::Model& model, const std::string& indent) {
        const auto nodes = order(model);
        Ids ids;
        for (const auto& node : nodes) {
            ids.emplace(node.get(), ids.size());
        }
        layout_.xml += indent + "<layers>\n";
        for (const auto& node : nodes) {
            write_layer(*node, ids.at(node.get()), indent + "\t");
        }
        layout_.xml += indent + "</layers>\n" + indent + "<edges>\n";
        for (const auto& node : nodes) {
            for (const auto& input : node->inputs()) {
                const auto source = input.get_source_output();
                layout_.xml += fmt::format(
                    "{}\t<edge from-layer=\"{}\" from-port=\"{}\" to-layer=\"{}\" to-port=\"{}\" />\n", indent,
                    ids.at(source.get_node()), source.get_node()->get_input_size() + source.get_index(),
                    ids.at(node.get()), input.get_index());
            }
        }
        layout_.xml += indent + "</edges>\n";
    }

    static std::string type_name(const ov::Node& node) {
        const std::string name = node.get_type_info().name;
        return name == "Constant" ? "Const" : name == "Softmax" ? "SoftMax" : name;
    }

    // Names that the graph did not give come from a process-wide counter; replace them by the position.
    static std::string layer_name(const ov::Node& node, std::size_t id) {
        const bool unnamed = node.get_friendly_name() == node.get_name();
        return unnamed ? fmt::format("{}_{}", node.get_type_info().name, id) : node.get_friendly_name();
    }

    void write_layer(const ov::Node& node, std::size_t id, const std::string& indent) {
        layout_.xml +=
            fmt::format("{}<layer id=\"{}\"{}{}{}>\n", indent, id, attribute("name", layer_name(node, id)),
                        attribute("type", type_name(node)), attribute("version", node.get_type_info().version_id));
        const std::string inner = indent + "\t";
        if (const auto* constant = ov::as_type<const ov::op::v0::Constant>(&node)) {
            write_constant(*constant, inner);
        } else if (!ov::is_type<const ov::op::v5::Loop>(&node)) {
            DataAttributes attributes(node);
            const_cast<ov::Node&>(node).visit_attributes(attributes);  // reads only
            if (!attributes.text().empty()) {
                layout_.xml += inner + "<data" + attributes.text() + " />\n";
            }
        }
        if (decompressions_.contains(&node)) {
            write_mark("decompression", inner);
        } else if (is_precise(node)) {
            write_mark("precise", inner);
        }
        // A Loop's port map comes before its ports and its body after them.
        const auto* loop = ov::as_type<const ov::op::v5::Loop>(&node);
        if (loop != nullptr) {
            write_port_map(*loop, inner);
        }
        write_ports(node, inner);
        if (loop != nullptr) {
            layout_.xml += inner + "<body>\n";
            write_graph(*loop->get_function(), inner + "\t");
            layout_.xml += inner + "</body>\n";
        }
        layout_.xml += indent + "</layer>\n";
    }

    void write_mark(const char* name, const std::string& indent) {
        layout_.xml +=
            fmt::format("{0}<rt_info>\n{0}\t<attribute name=\"{1}\" version=\"0\" />\n{0}</rt_info>\n", indent, name);
    }

    void write_ports(const ov::Node& node, const std::string& indent) {
        std::size_t port = 0;
        if (node.get_input_size() > 0) {
            layout_.xml += indent + "<input>\n";
            for (const auto& input : node.inputs()) {
                write_port(port++, input.get_element_type(), input.get_partial_shape(), {}, indent + "\t");
            }
            layout_.xml += indent + "</input>\n";
        }
        if (node.get_output_size() > 0 && !ov::is_type<const ov::op::v0::Result>(&node)) {
            layout_.xml += indent + "<output>\n";
            for (const auto& output : node.outputs()) {
                write_port(port++, output.get_element_type(), output.get_partial_shape(), output.get_names(),
                           indent + "\t");
            }
            layout_.xml += indent + "</output>\n";
        }
    }

    void write_port(std::size_t id, ov::element::Type type, const ov::PartialShape& shape,
                    const std::unordered_set<std::string>& names, const std::string& indent) {
        layout_.xml += fmt::format("{}<port id=\"{}\" precision=\"{}\"", indent, id, precision_name(type));
        if (!names.empty()) {
            std::vector<std::string> sorted(names.begin(), names.end());
            std::sort(sorted.begin(), sorted.end());
            layout_.xml += attribute("names", fmt::format("{}", fmt::join(sorted, ",")));
        }
        if (shape.rank().is_dynamic() || shape.size() == 0) {
            layout_.xml += shape.rank().is_dynamic() ? " rank=\"dynamic\" />\n" : " />\n";
            return;
        }
        layout_.xml += ">\n";
        for (const ov::Dimension& dim : shape) {
            layout_.xml += fmt::format("{}\t<dim>{}</dim>\n", indent, dim.is_static() ? dim.get_length() : -1);
        }
        layout_.xml += indent + "</port>\n";
    }

    void write_constant(const ov::op::v0::Constant& constant, const std::string& indent) {
        const std::uint64_t bytes = constant.get_byte_size();
        const std::uint64_t offset = place(constant, bytes);
        layout_.xml += fmt::format("{}<data element_type=\"{}\" shape=\"{}\" offset=\"{}\" size=\"{}\" />\n", indent,
                                   constant.get_element_type().get_type_name(), fmt::join(constant.get_shape(), ", "),
                                   offset, bytes);
    }

    std::uint64_t place(const ov::op::v0::Constant& constant, std::uint64_t bytes) {
        const bool streamed = streamed_.contains(&constant);
        std::string content;
        if (!streamed && bytes <= kSharedConstantLimit) {
            content.assign(static_cast<const char*>(constant.get_data_ptr()), static_cast<std::size_t>(bytes));
            const auto [known, fresh] = shared_.emplace(content, 0);
            if (!fresh) {
                return known->second;
            }
        }
        const std::uint64_t offset = align_up(layout_.bin_bytes, kAlignment);
        layout_.bin_bytes = checked_add(offset, bytes);
        if (streamed) {
            layout_.streamed_offsets.emplace(&constant, offset);
        } else {
            layout_.inline_constants.emplace_back(offset, &constant);
            if (bytes <= kSharedConstantLimit) {
                shared_[content] = offset;
            }
        }
        return offset;
    }

    // Every Loop of this project has slices and merged states as inputs and last values as outputs.
    void write_port_map(const ov::op::v5::Loop& loop, const std::string& indent) {
        using Base = ov::op::util::MultiSubGraphOp;
        const ov::Model& body = *loop.get_function();
        Ids ids;
        for (const auto& node : order(body)) {
            ids.emplace(node.get(), ids.size());
        }
        const auto parameter_id = [&](std::uint64_t i) {
            return ids.at(body.get_parameters().at(i).get());
        };
        const auto result_id = [&](std::uint64_t i) {
            return ids.at(body.get_results().at(i).get());
        };

        std::string back_edges;
        layout_.xml += indent + "<port_map>\n";
        for (const auto& input : loop.get_input_descriptions()) {
            layout_.xml += fmt::format("{}\t<input external_port_id=\"{}\" internal_layer_id=\"{}\"", indent,
                                       input->m_input_index, parameter_id(input->m_body_parameter_index));
            if (const auto sliced = ov::as_type_ptr<Base::SliceInputDescription>(input)) {
                layout_.xml +=
                    fmt::format(" axis=\"{}\" start=\"{}\" end=\"{}\" stride=\"{}\" part_size=\"{}\"", sliced->m_axis,
                                sliced->m_start, sliced->m_end, sliced->m_stride, sliced->m_part_size);
            } else if (const auto merged = ov::as_type_ptr<Base::MergedInputDescription>(input)) {
                back_edges +=
                    fmt::format("{}\t<edge from-layer=\"{}\" to-layer=\"{}\" />\n", indent,
                                result_id(merged->m_body_value_index), parameter_id(merged->m_body_parameter_index));
            } else {
                fail(ErrorKind::Internal, "cannot write an input of loop '{}'", loop.get_friendly_name());
            }
            layout_.xml += " />\n";
        }
        for (const auto& output : loop.get_output_descriptions()) {
            const auto last = ov::as_type_ptr<Base::BodyOutputDescription>(output);
            if (last == nullptr || last->m_iteration != -1) {
                fail(ErrorKind::Internal, "cannot write an output of loop '{}'", loop.get_friendly_name());
            }
            layout_.xml +=
                fmt::format("{}\t<output external_port_id=\"{}\" internal_layer_id=\"{}\" />\n", indent,
                            loop.get_input_size() + output->m_output_index, result_id(output->m_body_value_index));
        }
        const auto& special = loop.get_special_body_ports();
        layout_.xml += fmt::format(
            "{}\t<input external_port_id=\"-1\" internal_layer_id=\"{}\" purpose=\"current_iteration\" />\n", indent,
            parameter_id(static_cast<std::uint64_t>(special.current_iteration_input_idx)));
        layout_.xml += fmt::format(
            "{}\t<output external_port_id=\"-1\" internal_layer_id=\"{}\" purpose=\"execution_condition\" />\n", indent,
            result_id(static_cast<std::uint64_t>(special.body_condition_output_idx)));
        layout_.xml += indent + "</port_map>\n" + indent + "<back_edges>\n" + back_edges + indent + "</back_edges>\n";
    }

    // "a/b" = value -> <a><b value="..."/></a>; entries of one parent follow each other.
    static std::string runtime_info_xml(const RuntimeInfo& entries) {
        struct Element {
            std::string name;
            std::string value;
            std::vector<Element> children;
        };
        Element root;
        for (const auto& [path, value] : entries) {
            Element* at = &root;
            std::size_t begin = 0;
            while (begin <= path.size()) {
                const std::size_t end = std::min(path.find('/', begin), path.size());
                const std::string part = path.substr(begin, end - begin);
                auto child = std::find_if(at->children.begin(), at->children.end(),
                                          [&](const Element& e) { return e.name == part; });
                if (child == at->children.end()) {
                    at->children.push_back({part, {}, {}});
                    child = std::prev(at->children.end());
                }
                at = &*child;
                begin = end + 1;
            }
            at->value = value;
        }
        std::string xml;
        const std::function<void(const Element&, const std::string&)> write = [&](const Element& element,
                                                                                  const std::string& indent) {
            if (element.children.empty()) {
                xml += fmt::format("{}<{}{} />\n", indent, element.name, attribute("value", element.value));
                return;
            }
            xml += fmt::format("{}<{}>\n", indent, element.name);
            for (const Element& child : element.children) {
                write(child, indent + "\t");
            }
            xml += fmt::format("{}</{}>\n", indent, element.name);
        };
        for (const Element& element : root.children) {
            write(element, "\t\t");
        }
        return xml;
    }

    const std::unordered_set<const ov::Node*>& streamed_;
    const std::unordered_set<const ov::Node*>& decompressions_;
    std::map<std::string, std::uint64_t> shared_;
    IrLayout layout_;
};

}  // namespace

IrLayout lay_out_ir(const ov::Model& model, const RuntimeInfo& runtime_info,
                    const std::unordered_set<const ov::Node*>& streamed,
                    const std::unordered_set<const ov::Node*>& decompressions) {
    return Writer(streamed, decompressions).run(model, runtime_info);
}

}  // namespace deltavino::graph
