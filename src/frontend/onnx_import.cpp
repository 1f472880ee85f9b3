#include "frontend/onnx_import.h"

#include <set>

#include "base/error.h"
#include "frontend/contrib.h"
#include "frontend/onnx_importer.h"

namespace lathe::frontend {
namespace {

using io::OnnxAttribute;
using io::OnnxAttributeType;
using io::OnnxNode;
using ir::Value;

constexpr int64_t kNewestImportOpset = 27;
constexpr int kMaxFunctionDepth = 64;
constexpr int64_t kMaxNodes = 500'000;  // ten times what the largest models have

// As our operators are called: "Add", "ai.onnx.ml.LabelEncoder".
std::string op_name(const OnnxNode& node) {
  return is_standard(node.domain) ? node.op_type : node.domain + "." + node.op_type;
}

// Elements of 2 or 4 bits whose rows end within a byte; ONNX begins the next row there.
bool rows_split_bytes(const io::OnnxTensor& tensor) {
  const bool known = tensor.data_type > 0 && tensor.data_type <= int32_t(tensor::DType::i2);
  const int bits = known ? tensor::bits(tensor::DType(tensor.data_type)) : 0;
  return bits > 0 && bits < 8 && tensor.dims.size() > 1 && tensor.dims.back() % (8 / bits) != 0;
}

}  // namespace

bool is_standard(const std::string& domain) {
  return domain.empty() || domain == "ai.onnx";
}

Importer::FunctionKey Importer::key_of(const std::string& domain, const std::string& name,
                                       const std::string& overload) {
  return {is_standard(domain) ? "" : domain, name, overload};
}

Importer::Importer(std::shared_ptr<const io::OnnxFile> file) : file_(std::move(file)) {
  for (const io::OnnxFunction& function : file_->model().functions) {
    functions_[key_of(function.domain, function.name, function.overload)] = &function;
  }
}

ir::Graph Importer::run() {
  const io::OnnxModel& model = file_->model();
  check_known(model);
  OpenGraph builder("main");
  Place place{.builder = builder, .values = {}, .around = nullptr, .opsets = model.opsets};
  add_initializers(model.graph, place);
  for (const io::OnnxValueInfo& input : model.graph.inputs) {
    if (place.values.contains(input.name)) continue;  // an initializer that is an input, too, is a default
    if (!input.type) fail(ErrorCode::invalid_input, "input \"{}\" has no type", input.name);
    define(place, input.name, builder.graph.add_input(input.name, declared(input)));
  }
  add_nodes(model.graph.nodes, place);
  for (const io::OnnxValueInfo& output : model.graph.outputs) {
    builder.graph.add_output(required(output.name, place), output.name);
  }
  return std::move(builder.graph);
}

void Importer::check_known(const io::OnnxModel& model) const {
  std::map<std::string, std::set<std::string>> unknown;
  std::map<std::string_view, std::set<std::string>> reasons;  // of those that are known and have no place here
  const auto look = [&](const std::vector<OnnxNode>& nodes) {
    for (const OnnxNode& node : nodes) {
      const bool ours = node.op_type.starts_with("lathe.") || node.domain.starts_with("lathe");
      if (functions_.contains(key_of(node.domain, node.op_type, node.overload))) continue;
      if (!ours && (op::find_op(op_name(node)) || (is_standard(node.domain) && is_retired_op(node.op_type)))) continue;
      const std::string_view reason = contrib_refusal(node.domain, node.op_type);
      if (reason.empty() && find_contrib(node.domain, node.op_type)) continue;
      if (!reason.empty()) reasons[reason].insert(op_name(node));
      unknown[op_name(node)].insert(node.name.empty() && !node.outputs.empty() ? node.outputs[0] : node.name);
    }
  };
  io::each_graph(model, [&](const io::OnnxGraph& graph) { look(graph.nodes); });
  for (const io::OnnxFunction& function : model.functions) look(function.nodes);
  if (unknown.empty()) return;
  std::vector<std::string> texts;
  for (const auto& [op, nodes] : unknown) texts.push_back(fmt::format("{} ({})", op, fmt::join(nodes, ", ")));
  for (const auto& [reason, ops] : reasons) texts.push_back(fmt::format("{}: {}", fmt::join(ops, ", "), reason));
  fail(ErrorCode::unsupported, "no operator named {}", fmt::join(texts, "; "));
}

int64_t Importer::opset_of(const std::string& domain, const Place& place) {
  for (const io::OnnxOpset& opset : place.opsets) {
    if (opset.domain == domain || (is_standard(domain) && is_standard(opset.domain))) return opset.version;
  }
  fail(ErrorCode::invalid_input, "domain \"{}\" is not imported", domain);
}

op::TypeInfo Importer::declared(const io::OnnxValueInfo& value) {
  return with_context(fmt::format("\"{}\"", value.name), [&] { return type_of(*value.type, unknown_); });
}

void Importer::define(Place& place, const std::string& name, Value value) {
  if (!place.values.emplace(name, value).second) {
    fail(ErrorCode::invalid_input, "value \"{}\" is defined twice", name);
  }
}

void Importer::add_initializers(const io::OnnxGraph& from, Place& place) {
  ir::Graph& graph = place.builder.graph;
  for (const io::OnnxTensor& tensor : from.initializers) {
    if (tensor.data_type == int32_t(tensor::DType::string)) {
      define(place, tensor.name, graph.add_constant(tensor.name, file_->load(tensor)));
    } else if (rows_split_bytes(tensor)) {  // a source reads whole rows: all of them in one, then
      io::OnnxTensor line = tensor;
      line.dims = {tensor::element_count(std::span<const int64_t>(tensor.dims))};
      const Value values = graph.add_constant(tensor.name, file_->tensor_source(line));
      define(place, tensor.name,
             add(graph, "Reshape", {values, add_ints(graph, tensor.dims)}, {{"allowzero", int64_t{1}}}));
    } else {
      define(place, tensor.name, graph.add_constant(tensor.name, file_->tensor_source(tensor)));
    }
  }
  for (const io::OnnxSparseTensor& sparse : from.sparse_initializers) {
    define(place, sparse.values.name, graph.add_constant(sparse.values.name, dense(sparse, *file_)));
  }
}

std::optional<Value> Importer::find(const std::string& name, Place& place) {
  const auto it = place.values.find(name);
  if (it != place.values.end()) return it->second;
  if (!place.around) return std::nullopt;
  const auto outer = find(name, *place.around);
  if (!outer || !*outer) return outer;
  const ir::Graph& around = place.around->builder.graph;
  ir::Graph& graph = place.builder.graph;
  Value inner;
  if (around.is_constant(*outer)) {
    inner = graph.add_constant(around.source_name(*outer), around.source(*outer));
  } else {
    op::TypeInfo type = around.type(*outer);
    type.elements.reset();  // of this call only
    inner = graph.add_input(name, std::move(type));
    place.builder.captured.push_back(*outer);
  }
  place.values.emplace(name, inner);
  return inner;
}

Value Importer::value_of(const std::string& name, Place& place) {
  if (name.empty()) return {};
  const auto value = find(name, place);
  if (!value) fail(ErrorCode::invalid_input, "value \"{}\" is used before it is defined", name);
  return *value;
}

Value Importer::required(const std::string& name, Place& place) {
  const Value value = value_of(name, place);
  if (!value) fail(ErrorCode::invalid_input, "value \"{}\" is wanted and stands for nothing", name);
  return value;
}

void Importer::add_nodes(const std::vector<OnnxNode>& nodes, Place& place) {
  for (const OnnxNode& node : nodes) {
    const std::string& name = node.name.empty() && !node.outputs.empty() ? node.outputs[0] : node.name;
    with_context(fmt::format("node \"{}\" ({})", name, op_name(node)), [&] { add_node(node, place); });
  }
}

void Importer::add_node(const OnnxNode& node, Place& place) {
  if (node.outputs.empty()) fail(ErrorCode::invalid_input, "no outputs");
  if (++added_ > kMaxNodes) fail(ErrorCode::resource, "more than {} nodes once functions are inlined", kMaxNodes);
  const auto function = functions_.find(key_of(node.domain, node.op_type, node.overload));
  const std::vector<Value> results =
      function != functions_.end() ? call(*function->second, node, place) : add_operator(node, place);
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    if (node.outputs[i].empty()) continue;
    if (i >= results.size() || !results[i]) fail(ErrorCode::unsupported, "output {} of this form", i);
    define(place, node.outputs[i], results[i]);
    ir::Graph& graph = place.builder.graph;
    if (graph.kind(results[i]) == ir::ValueKind::result) graph.rename(results[i], node.outputs[i]);
  }
}

std::vector<Value> Importer::call(const io::OnnxFunction& function, const OnnxNode& node, Place& place) {
  if (place.function_depth >= kMaxFunctionDepth) {
    fail(ErrorCode::invalid_input, "function \"{}\": calls nested deeper than {}", function.name, kMaxFunctionDepth);
  }
  if (node.inputs.size() > function.inputs.size()) {
    fail(ErrorCode::invalid_input, "function \"{}\": {} inputs, found {}", function.name, function.inputs.size(),
         node.inputs.size());
  }
  std::map<std::string, const OnnxAttribute*, std::less<>> arguments;
  for (const OnnxAttribute& attribute : function.default_attributes) arguments[attribute.name] = &attribute;
  for (const OnnxAttribute& attribute : node.attributes) {
    if (const OnnxAttribute* given = resolved(attribute, place)) arguments[attribute.name] = given;
  }
  Place inside{.builder = place.builder,
               .values = {},
               .around = nullptr,
               .opsets = function.opsets,
               .arguments = &arguments,
               .function_depth = place.function_depth + 1};
  for (size_t i = 0; i < function.inputs.size(); ++i) {
    inside.values[function.inputs[i]] = i < node.inputs.size() ? value_of(node.inputs[i], place) : Value();
  }
  add_nodes(function.nodes, inside);
  std::vector<Value> results;
  for (const std::string& output : function.outputs) results.push_back(value_of(output, inside));
  return results;
}

const OnnxAttribute* Importer::resolved(const OnnxAttribute& attribute, const Place& place) const {
  if (attribute.ref_attr_name.empty()) return &attribute;
  if (!place.arguments) {
    fail(ErrorCode::invalid_input, "attribute \"{}\" refers to \"{}\" outside of a function", attribute.name,
         attribute.ref_attr_name);
  }
  const auto it = place.arguments->find(attribute.ref_attr_name);
  return it == place.arguments->end() ? nullptr : it->second;
}

std::vector<Value> Importer::add_operator(const OnnxNode& node, Place& place) {
  const bool scan = is_standard(node.domain) && node.op_type == "Scan";
  return scan && opset_of("", place) < 9 ? add_batched_scan(node, place) : add_newest_operator(node, place);
}

std::vector<Value> Importer::add_newest_operator(const OnnxNode& node, Place& place) {
  PendingNode pending{.op = op_name(node), .name = node.name, .inputs = {}, .attributes = {}};
  pending.outputs = int(node.outputs.size());
  for (const std::string& input : node.inputs) pending.inputs.push_back(value_of(input, place));
  std::map<std::string, const io::OnnxGraph*> bodies;
  for (const OnnxAttribute& attribute : node.attributes) {
    const OnnxAttribute* given = resolved(attribute, place);
    if (!given) continue;
    if (given->type == OnnxAttributeType::graph) {
      bodies[attribute.name] = &std::get<std::vector<io::OnnxGraph>>(given->value).at(0);
    } else {
      const bool sparse = given->type == OnnxAttributeType::sparse_tensor;
      pending.attributes.set(sparse ? "value" : attribute.name, attribute_of(*given, *file_));
    }
  }
  if (!bodies.empty()) add_bodies(bodies, pending, place);
  if (is_standard(node.domain)) {
    const int64_t opset = opset_of("", place);
    if (opset < 1 || opset > kNewestImportOpset) {
      fail(ErrorCode::unsupported, "opset {}: only 1 to {} can be read", opset, kNewestImportOpset);
    }
    if (auto results = upgrade_node(place.builder.graph, pending, opset)) return *std::move(results);
  }
  const ContribOp* contrib = op::find_op(pending.op) ? nullptr : find_contrib(node.domain, node.op_type);
  if (contrib) {
    const int64_t opset = opset_of(node.domain, place);
    if (!is_standard(node.domain) && opset != 1) fail(ErrorCode::unsupported, "{} of opset {}", node.domain, opset);
    return expand_contrib(place.builder.graph, *contrib, pending);
  }
  const ir::NodeId id = place.builder.graph.add_node(pending.op, std::move(pending.inputs),
                                                     std::move(pending.attributes), pending.name, pending.outputs);
  return place.builder.graph.node(id).outputs;
}

ir::Graph import_onnx(const std::shared_ptr<const io::OnnxFile>& file) {
  return with_context(file->path().string(), [&] { return Importer(file).run(); });
}

}  // namespace lathe::frontend
