// Graphs inside nodes: closing them, and the types of their inputs.
#include <algorithm>

#include "base/error.h"
#include "frontend/onnx_importer.h"

namespace lathe::frontend {
namespace {

using io::OnnxAttribute;
using io::OnnxNode;
using ir::Value;

size_t scan_states(const PendingNode& node, size_t inputs) {
  const int64_t scanned = node.attributes.get_int("num_scan_inputs", 0);
  if (scanned < 1 || size_t(scanned) > inputs) {
    fail(ErrorCode::invalid_input, "num_scan_inputs is {} of {} inputs", scanned, inputs);
  }
  return inputs - size_t(scanned);
}

op::TypeInfo widened(const op::TypeInfo& a, const op::TypeInfo& b, const std::string& name) {
  const bool optional = (a.form == op::Form::optional_tensor && b.form == op::Form::tensor) ||
                        (a.form == op::Form::optional_sequence && b.form == op::Form::sequence);
  if (optional && a.dtype == b.dtype) return a;
  if (a.form != b.form || a.dtype != b.dtype) {
    if (a.dtype == tensor::DType::undefined) return a;
    return op::TypeInfo::unranked(tensor::DType::undefined);
  }
  if (!a.ranked || !b.ranked || a.shape.size() != b.shape.size()) {
    op::TypeInfo wide = a;
    wide.shape.clear();
    wide.ranked = false;
    return wide;
  }
  op::TypeInfo wide = a;
  for (size_t i = 0; i < a.shape.size(); ++i) {
    if (a.shape[i] != b.shape[i]) wide.shape[i] = tensor::Dim::symbol(fmt::format("round_{}_{}", name, i));
  }
  return wide;
}

}  // namespace

Place Importer::place_inside(OpenGraph& builder, Place& around) {
  return {.builder = builder,
          .values = {},
          .around = &around,
          .opsets = around.opsets,
          .arguments = around.arguments,
          .function_depth = around.function_depth};
}

std::vector<Value> Importer::add_batched_scan(const OnnxNode& node, Place& place) {
  if (node.inputs.empty() || !node.inputs[0].empty()) fail(ErrorCode::unsupported, "Scan of opset 8 with lengths");
  OpenGraph builder("batch");
  Place inside = place_inside(builder, place);
  OnnxNode inner = node;
  inner.inputs.erase(inner.inputs.begin());
  for (OnnxAttribute& attribute : inner.attributes) {
    if (attribute.name == "directions") attribute.name = "scan_input_directions";
  }
  std::vector<Value> inputs;
  for (std::string& name : inner.inputs) {
    inputs.push_back(required(name, place));
    op::TypeInfo type = place.builder.graph.type(inputs.back());
    type.elements.reset();
    if (type.is_plain()) type.shape.erase(type.shape.begin());
    name += "_of_one";
    define(inside, name, builder.graph.add_input(name, std::move(type)));
  }
  op::Attributes attributes{{"num_scan_inputs", int64_t(inputs.size())}};
  for (const Value result : add_newest_operator(inner, inside))
    builder.graph.add_output(result, builder.graph.name(result));
  attributes.set("num_captures", int64_t(builder.captured.size()));
  attributes.set("body", std::make_shared<const ir::Body>(std::move(builder.graph)));
  inputs.insert(inputs.end(), builder.captured.begin(), builder.captured.end());
  ir::Graph& graph = place.builder.graph;
  return graph.node(graph.add_node("Scan", inputs, attributes, node.name, int(node.outputs.size()))).outputs;
}

void Importer::add_bodies(const std::map<std::string, const io::OnnxGraph*>& bodies, PendingNode& node, Place& place) {
  const size_t own_inputs = node.inputs.size();
  for (const auto& [name, from] : bodies) {
    const ImportedBody body = with_context(fmt::format("attribute \"{}\"", name), [&, &name = name, &from = from] {
      return fit_body(*from, name, node, own_inputs, place);
    });
    node.attributes.set(name, body.body);
    node.inputs.insert(node.inputs.end(), body.captured.begin(), body.captured.end());
  }
  if (node.op != "If") node.attributes.set("num_captures", int64_t(node.inputs.size() - own_inputs));
}

Importer::ImportedBody Importer::fit_body(const io::OnnxGraph& from, const std::string& attribute,
                                          const PendingNode& node, size_t inputs, Place& place) {
  std::vector<op::TypeInfo> types = formal_types(from, node, inputs, place.builder.graph);
  const size_t first_state = node.op == "Loop" ? 2 : 0;
  const size_t states = node.op == "Loop"   ? types.size() - first_state
                        : node.op == "Scan" ? scan_states(node, inputs)
                                            : 0;
  for (int round = 0;; ++round) {
    ImportedBody body = import_body(from, types, place);
    const std::vector<op::TypeInfo> results = body.body->output_types();
    const size_t first_result = node.op == "Loop" ? 1 : 0;
    if (results.size() < first_result + states) fail(ErrorCode::invalid_input, "{} outputs", results.size());
    bool fits = true;
    for (size_t i = 0; i < states; ++i) {
      op::TypeInfo& type = types[first_state + i];
      const op::TypeInfo wide =
          widened(type, results[first_result + i], fmt::format("{}_{}_{}", attribute, from.name, i));
      fits = fits && wide == type;
      type = wide;
    }
    if (fits) return body;
    LATHE_CHECK(round < 4, "the types of graph {} do not settle", from.name);
  }
}

Importer::ImportedBody Importer::import_body(const io::OnnxGraph& from, const std::vector<op::TypeInfo>& types,
                                             Place& place) {
  return with_context(fmt::format("graph \"{}\"", from.name), [&] {
    OpenGraph builder(from.name.empty() ? "body" : from.name);
    Place inside = place_inside(builder, place);
    if (from.inputs.size() != types.size()) {
      fail(ErrorCode::invalid_input, "expected {} inputs, found {}", types.size(), from.inputs.size());
    }
    for (size_t i = 0; i < types.size(); ++i) {
      op::TypeInfo type = types[i];
      type.elements.reset();
      define(inside, from.inputs[i].name, builder.graph.add_input(from.inputs[i].name, std::move(type)));
    }
    add_initializers(from, inside);
    add_nodes(from.nodes, inside);
    for (const io::OnnxValueInfo& output : from.outputs) {
      builder.graph.add_output(required(output.name, inside), output.name);
    }
    return ImportedBody{std::make_shared<const ir::Body>(std::move(builder.graph)), std::move(builder.captured)};
  });
}

std::vector<op::TypeInfo> Importer::formal_types(const io::OnnxGraph& from, const PendingNode& node, size_t inputs,
                                                 const ir::Graph& graph) {
  const auto type_at = [&](size_t i) {
    if (i >= inputs || !node.inputs[i]) return op::TypeInfo::unranked(tensor::DType::undefined);
    op::TypeInfo type = graph.type(node.inputs[i]);
    type.elements.reset();
    return type;
  };
  std::vector<op::TypeInfo> types;
  if (node.op == "If") return types;
  for (size_t i = 0; i < inputs; ++i) types.push_back(type_at(i));
  if (node.op == "Loop") {
    if (types.size() < 2) fail(ErrorCode::invalid_input, "Loop: {} inputs", types.size());
    for (const size_t i : {size_t{0}, size_t{1}}) {
      types[i] = {i == 0 ? tensor::DType::i64 : tensor::DType::boolean, {}};
      const bool typed = i < from.inputs.size() && from.inputs[i].type && from.inputs[i].type->shape;
      if (typed && from.inputs[i].type->shape->size() == 1) types[i].shape.emplace_back(1);
    }
  } else if (node.op == "Scan") {
    const size_t states = scan_states(node, inputs);
    const auto axes = node.attributes.find_ints("scan_input_axes").value_or(std::vector<int64_t>());
    for (size_t i = states; i < inputs; ++i) {
      const int64_t axis = i - states < axes.size() ? axes[i - states] : 0;
      const int64_t rank = int64_t(types[i].shape.size());
      if (!types[i].is_plain()) continue;
      if (axis < -rank || axis >= rank) fail(ErrorCode::invalid_input, "Scan: axis {} of rank {}", axis, rank);
      types[i].shape.erase(types[i].shape.begin() + (axis < 0 ? axis + rank : axis));
    }
  } else if (node.op == "SequenceMap") {
    for (op::TypeInfo& type : types) {
      if (type.form == op::Form::sequence) type = op::TypeInfo::unranked(type.dtype);
    }
  } else {  // of an operator that says what it gives its body: unknown until it runs
    types.clear();
    for (const io::OnnxValueInfo& input : from.inputs) {
      types.push_back(input.type ? declared(input) : op::TypeInfo::unranked(tensor::DType::undefined));
    }
  }
  return types;
}

}  // namespace lathe::frontend
