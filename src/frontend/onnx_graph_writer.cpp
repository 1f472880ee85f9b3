#include "frontend/onnx_graph_writer.h"

#include <algorithm>

#include "base/error.h"
#include "frontend/onnx_types.h"
#include "frontend/quantized_export.h"

namespace lathe::frontend {

using io::OnnxNode;
using io::OnnxTensor;
using ir::Node;
using ir::Value;
using tensor::Encoding;

namespace {

// Reductions took their axes as an attribute once.
bool axes_are_attribute(std::string_view op, int opset) {
  return opset < op::get_op(op).axes_input_since;
}

std::vector<Value> values_of(const ir::Graph& graph, size_t inputs) {
  std::vector<Value> values(graph.inputs().begin(), graph.inputs().begin() + std::ptrdiff_t(inputs));
  const std::vector<Value> constants = graph.constants();
  values.insert(values.end(), constants.begin(), constants.end());
  for (const ir::NodeId id : graph.nodes()) {
    const auto& outputs = graph.node(id).outputs;
    std::copy_if(outputs.begin(), outputs.end(), std::back_inserter(values), [](Value value) { return bool(value); });
  }
  return values;
}

// Gives the inputs whose rank only the run knows this one, and infers what follows. False: not at this rank.
bool infer_at_rank(ir::Graph& graph, size_t rank) {
  for (const Value input : graph.inputs()) {
    op::TypeInfo type = graph.type(input);
    if (type.form != op::Form::tensor || type.ranked || type.dtype == tensor::DType::undefined) continue;
    type.ranked = true;
    for (size_t i = 0; i < rank; ++i) type.shape.push_back(tensor::Dim::symbol(fmt::format("t{}_{}", input.id, i)));
    graph.set_type(input, std::move(type));
  }
  try {
    graph.infer_types();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::invalid_input) throw;
    return false;
  }
  return true;
}

// The element types of the results that depend on inputs whose rank only the run knows. No operator's element type
// depends on ranks: it is that of any rank with which types can be inferred.
std::map<Value, tensor::DType> element_types_at_any_rank(const ir::Graph& graph) {
  std::map<Value, tensor::DType> types;
  for (size_t rank = 0; rank <= 5; ++rank) {
    ir::Graph trial = graph;
    if (!infer_at_rank(trial, rank)) continue;
    for (const Value value : values_of(trial, 0)) {
      if (trial.type(value).dtype != tensor::DType::undefined) types.emplace(value, trial.type(value).dtype);
    }
  }
  return types;
}

}  // namespace

OnnxGraphWriter::OnnxGraphWriter(const ir::Graph& graph, OnnxWriterState& state)
    : graph_(graph), state_(state), formal_(graph.inputs().size()) {
  for (const Value value : values_of(graph, formal_)) {
    names_[value] = graph.name(value);
    taken_.insert(graph.name(value));
  }
  name_outputs();
}

OnnxGraphWriter::OnnxGraphWriter(const NodeBody& body, const std::vector<std::string>& captured,
                                 const OnnxGraphWriter& around)
    : graph_(*body.graph), state_(around.state_), around_(&around), formal_(body.formal) {
  for (size_t i = 0; i < captured.size(); ++i) names_[graph_.inputs()[formal_ + i]] = captured[i];
  for (const Value value : values_of(graph_, formal_)) names_[value] = claim(graph_.name(value));
  name_outputs();
}

bool OnnxGraphWriter::is_taken(const std::string& name) const {
  return taken_.contains(name) || (around_ && around_->is_taken(name));
}

std::string OnnxGraphWriter::claim(const std::string& wanted) {
  std::string name = wanted;
  // A name that is made up must not be one that another value of this graph is about to get.
  for (int i = 1; is_taken(name) || (name != wanted && graph_.find(name)); ++i) name = fmt::format("{}_{}", wanted, i);
  taken_.insert(name);
  return name;
}

// ONNX Runtime refuses a body that returns what is not its own.
void OnnxGraphWriter::name_outputs() {
  for (const Value output : graph_.outputs()) {
    const auto captured = graph_.inputs().begin() + std::ptrdiff_t(formal_);
    const bool own = std::find(captured, graph_.inputs().end(), output) == graph_.inputs().end();
    output_names_.push_back(own ? names_.at(output) : claim(graph_.name(output)));
  }
}

io::OnnxGraph OnnxGraphWriter::write() {
  result_.name = graph_.name();
  for (size_t i = 0; i < formal_; ++i) {
    result_.inputs.push_back(value_info(graph_.inputs()[i], names_.at(graph_.inputs()[i])));
  }
  for (const Value constant : graph_.constants()) write_constant(constant);
  for (const ir::NodeId id : graph_.nodes()) {
    if (!is_absorbed(id)) write_node(graph_.node(id));
  }
  for (size_t i = 0; i < output_names_.size(); ++i) {
    const Value output = graph_.outputs()[i];
    if (output_names_[i] != names_.at(output)) add_node("Identity", "", {names_.at(output)}, {output_names_[i]});
    result_.outputs.push_back(value_info(output, output_names_[i]));
    // The lengths of a body's results follow from its nodes; where it never runs, not everybody derives the same.
    if (!is_main() && result_.outputs.back().type) result_.outputs.back().type->shape.reset();
  }
  return std::move(result_);
}

// What only the run knows is as the source declared it, and left out where ONNX permits it: in a body. So is whether a
// value may be nothing: of a loop's state we know no better than of what it begins with.
io::OnnxValueInfo OnnxGraphWriter::value_info(Value value, const std::string& name) {
  io::OnnxValueInfo info;
  info.name = name;
  op::TypeInfo type = graph_.type(value);
  const auto& declared = state_.options.declared;
  if (const auto it = declared.find(name); is_main() && !type.is_plain() && it != declared.end()) {
    info.type = it->second;
    return info;
  }
  if (type.dtype == tensor::DType::undefined) {
    if (!types_at_any_rank_) types_at_any_rank_ = element_types_at_any_rank(graph_);
    if (const auto it = types_at_any_rank_->find(value); it != types_at_any_rank_->end()) type.dtype = it->second;
  }
  if (type.dtype == tensor::DType::undefined && !is_main()) return info;
  info.type = with_context(fmt::format("\"{}\"", name), [&] { return onnx_type(type); });
  return info;
}

bool OnnxGraphWriter::keeps_quantized(const tensor::SourcePtr& source) const {
  return state_.options.keep_quantized && source->encoding() != Encoding::plain && split_blocks(source).has_value();
}

bool OnnxGraphWriter::is_stored_transposed(Value constant) const {
  const tensor::SourcePtr& source = graph_.source(constant);
  if (source->dims().size() != 2 || keeps_quantized(source) || graph_.is_output(constant)) return false;
  const auto users = graph_.users(constant);
  return !users.empty() && std::all_of(users.begin(), users.end(), [&](ir::NodeId user) {
    const Node& node = graph_.node(user);
    return node.op == "Transpose" && node.attributes.find_ints("perm") == std::vector<int64_t>{1, 0} &&
           !graph_.is_output(node.outputs[0]);
  });
}

bool OnnxGraphWriter::is_absorbed(ir::NodeId id) const {
  const Node& node = graph_.node(id);
  return node.op == "Transpose" && graph_.is_constant(node.inputs[0]) && is_stored_transposed(node.inputs[0]);
}

std::string OnnxGraphWriter::name_of(Value value) const {
  if (!value) return "";
  const ir::NodeId producer = graph_.producer(value);
  if (producer && is_absorbed(producer)) return names_.at(graph_.node(producer).inputs[0]);
  return names_.at(value);
}

void OnnxGraphWriter::add_initializer(const std::string& name, tensor::SourcePtr source) {
  result_.initializers.push_back(OnnxTensor::of(name, std::move(source)));
}

tensor::SourcePtr OnnxGraphWriter::stored(Value constant) {
  const tensor::SourcePtr& source = graph_.source(constant);
  const bool transposed = is_stored_transposed(constant);
  tensor::SourcePtr& form = state_.stored[{source.get(), transposed}];
  if (form) return form;
  form = source;
  if (source->encoding() != Encoding::plain) form = tensor::converted_source(form, graph_.type(constant).dtype);
  if (transposed) form = tensor::transposed_source(form);
  return form;
}

void OnnxGraphWriter::write_constant(Value constant) {
  const tensor::SourcePtr& source = graph_.source(constant);
  if (keeps_quantized(source)) {
    ++state_.report.kept;
    write_quantized(names_.at(constant), source);
    return;
  }
  if (source->encoding() != Encoding::plain) {
    ++state_.report.widened[std::string(tensor::to_string(source->encoding()))];
  }
  add_initializer(names_.at(constant), stored(constant));
}

OnnxNode& OnnxGraphWriter::add_node(std::string op, std::string name, std::vector<std::string> inputs,
                                    std::vector<std::string> outputs) {
  OnnxNode& node = result_.nodes.emplace_back();
  node.name = name.empty() ? op : fmt::format("{}/{}", name, op);
  node.op_type = std::move(op);
  if (const int uses = ++state_.node_names[node.name]; uses > 1) node.name += fmt::format("_{}", uses);
  node.inputs = std::move(inputs);
  node.outputs = std::move(outputs);
  return node;
}

// codes * scales (+ minima), blocked along the columns.
void OnnxGraphWriter::write_quantized(const std::string& name, const tensor::SourcePtr& source) {
  const BlockedParts parts = *split_blocks(source);
  const tensor::Dims dims = parts.codes->dims();
  const std::string codes = claim(name + ".codes"), scales = claim(name + ".scales");
  add_initializer(codes, parts.codes);
  add_initializer(scales, parts.scales);
  const std::string scaled = parts.minima ? claim(name + ".scaled") : name;
  OnnxNode& dequantize = add_node("DequantizeLinear", name + ".dequantize", {codes, scales}, {scaled});
  dequantize.attributes = {onnx_attribute("axis", int64_t{1}), onnx_attribute("block_size", parts.block)};
  if (!parts.minima) return;
  const int64_t blocks = dims[1] / parts.block;
  const auto shape = [&](const std::string& suffix, std::vector<int64_t> values) {
    const tensor::Dims rank = {int64_t(values.size())};
    const std::string claimed = claim(name + suffix);
    add_initializer(claimed,
                    tensor::memory_source(tensor::Tensor::of<int64_t>(rank, std::span<const int64_t>(values)), name));
    return claimed;
  };
  const std::string minima = claim(name + ".minima");
  add_initializer(minima, tensor::reshaped_source(parts.minima, {dims[0], blocks, 1}));
  const std::string blocked_shape = shape(".blocked_shape", {dims[0], blocks, parts.block});
  const std::string plain_shape = shape(".shape", {dims[0], dims[1]});
  const std::string blocked = claim(name + ".blocked"), sum = claim(name + ".sum");
  add_node("Reshape", name + ".to_blocks", {scaled, blocked_shape}, {blocked});
  add_node("Add", name + ".add_minima", {blocked, minima}, {sum});
  add_node("Reshape", name + ".to_matrix", {sum, plain_shape}, {name});
}

// An operator of another domain: its outputs that nobody asks for have no name.
void OnnxGraphWriter::write_contrib(const Node& node) {
  const op::Attributes& attributes = node.attributes;
  OnnxNode& to = add_node(attributes.get_string("operator", ""), node.name, {}, {});
  to.domain = attributes.get_string("domain", "");
  for (const Value input : node.inputs) to.inputs.push_back(name_of(input));
  const auto places = attributes.find_ints("outputs");
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    const size_t place = places ? size_t(places->at(i)) : i;
    to.outputs.resize(std::max(to.outputs.size(), place + 1));
    to.outputs[place] = name_of(node.outputs[i]);
  }
  for (const auto& [name, value] : attributes) {
    const bool ours = name == "operator" || name == "domain" || name == "meaning" || name == "outputs";
    if (!ours) to.attributes.push_back(onnx_attribute(name, value));
  }
}

void OnnxGraphWriter::write_node(const Node& node) {
  if (node.op == "lathe.Contrib") return write_contrib(node);
  const NodeBodies bodies = bodies_of(node);
  const size_t dot = node.op.rfind('.');  // "ai.onnx.ml.Scaler": domain and name
  OnnxNode& to = add_node(dot == std::string::npos ? node.op : node.op.substr(dot + 1), node.name, {}, {});
  if (dot != std::string::npos) to.domain = node.op.substr(0, dot);
  for (size_t i = 0; i < bodies.own_inputs; ++i) to.inputs.push_back(name_of(node.inputs[i]));
  for (const Value output : node.outputs) to.outputs.push_back(name_of(output));
  write_attributes(node, bodies, to);
  if (axes_are_attribute(node.op, state_.options.opset) && node.inputs.size() > 1 && node.inputs[1]) {
    const tensor::Tensor* axes = graph_.small_constant(node.inputs[1]);
    if (!axes) fail(ErrorCode::unsupported, "{}: axes must be constant before opset 18", node.op);
    const auto values = axes->data<int64_t>();
    to.attributes.push_back(onnx_attribute("axes", std::vector<int64_t>(values.begin(), values.end())));
    to.inputs.resize(1);
  }
}

void OnnxGraphWriter::write_attributes(const Node& node, const NodeBodies& bodies, OnnxNode& to) {
  for (const auto& [name, value] : node.attributes) {
    const auto body = std::find_if(bodies.bodies.begin(), bodies.bodies.end(),
                                   [&name = name](const NodeBody& b) { return b.attribute == name; });
    if (body == bodies.bodies.end()) {
      if (name == "num_captures" && !bodies.bodies.empty()) continue;
      const bool type = node.op == "Optional" && name == "type";
      to.attributes.push_back(type ? onnx_type_attribute(name, std::get<std::string>(value))
                                   : onnx_attribute(name, value));
      continue;
    }
    std::vector<std::string> captured;
    for (size_t i = 0; i < body->captures(); ++i) captured.push_back(name_of(node.inputs[body->first_capture + i]));
    io::OnnxAttribute attribute;
    attribute.name = name;
    attribute.type = io::OnnxAttributeType::graph;
    attribute.value = with_context(fmt::format("node \"{}\" ({}): attribute \"{}\"", node.name, node.op, name), [&] {
      return std::vector<io::OnnxGraph>{OnnxGraphWriter(*body, captured, *this).write()};
    });
    to.attributes.push_back(std::move(attribute));
  }
}

}  // namespace lathe::frontend
