#include "frontend/onnx_export.h"

#include <algorithm>

#include "base/error.h"
#include "frontend/lowering.h"
#include "frontend/quantized_export.h"

namespace lathe::frontend {
namespace {

using io::OnnxAttribute;
using io::OnnxAttributeType;
using io::OnnxNode;
using io::OnnxTensor;
using ir::Node;
using ir::Value;
using tensor::DType;
using tensor::Encoding;

// Versions of the domains beside ONNX's own, in which our operators of their names are.
constexpr std::pair<std::string_view, int64_t> kDomains[] = {
    {"ai.onnx.ml", 5}, {"ai.onnx.preview", 1}, {"ai.onnx.preview.training", 1}};

io::OnnxType wrapped(io::OnnxType::Kind kind, io::OnnxType element) {
  io::OnnxType result;
  result.kind = kind;
  result.element.push_back(std::move(element));
  return result;
}

io::OnnxType onnx_type(const op::TypeInfo& type) {
  using Kind = io::OnnxType::Kind;
  if (type.dtype == DType::undefined) fail(ErrorCode::unsupported, "only the run knows its type");
  io::OnnxType result;
  result.kind = Kind::tensor;
  result.elem_type = int32_t(type.dtype);
  switch (type.form) {
    case op::Form::tensor: break;
    case op::Form::sequence: return wrapped(Kind::sequence, std::move(result));
    case op::Form::optional_tensor: return wrapped(Kind::optional, std::move(result));
    case op::Form::optional_sequence:
      return wrapped(Kind::optional, wrapped(Kind::sequence, std::move(result)));
  }
  if (!type.ranked) return result;
  result.shape.emplace();
  for (const tensor::Dim& dim : type.shape) {
    io::OnnxDim& to = result.shape->emplace_back();
    if (dim.is_constant()) to.value = dim.value();
    else to.value = dim.to_string();
  }
  return result;
}

OnnxAttribute onnx_attribute(const std::string& name, const op::AttributeValue& value) {
  OnnxAttribute result;
  result.name = name;
  const auto set = [&](OnnxAttributeType type, auto converted) {
    result.type = type;
    result.value = std::move(converted);
  };
  std::visit(
      [&](const auto& v) {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, int64_t>) set(OnnxAttributeType::i64, v);
        else if constexpr (std::is_same_v<T, double>) set(OnnxAttributeType::f32, float(v));
        else if constexpr (std::is_same_v<T, std::string>) set(OnnxAttributeType::string, v);
        else if constexpr (std::is_same_v<T, std::vector<int64_t>>) set(OnnxAttributeType::ints, v);
        else if constexpr (std::is_same_v<T, std::vector<double>>) {
          set(OnnxAttributeType::floats, std::vector<float>(v.begin(), v.end()));
        } else if constexpr (std::is_same_v<T, std::vector<std::string>>) set(OnnxAttributeType::strings, v);
        else if constexpr (std::is_same_v<T, op::SubgraphPtr>) {
          fail(ErrorCode::unsupported, "attribute \"{}\": graphs inside nodes cannot be written yet", name);
        } else set(OnnxAttributeType::tensor, std::vector<OnnxTensor>{OnnxTensor::of("", v)});
      },
      value);
  return result;
}

// Reductions took their axes as an attribute once.
bool axes_are_attribute(std::string_view op, int opset) { return opset < op::get_op(op).axes_input_since; }

// Writes one graph; holds the decisions about its constants.
class GraphWriter {
 public:
  GraphWriter(const ir::Graph& graph, const OnnxExportOptions& options, QuantizedReport& report)
      : graph_(graph), options_(options), report_(report) {}

  io::OnnxGraph write() {
    result_.name = graph_.name();
    for (const Value input : graph_.inputs()) result_.inputs.push_back(value_info(input));
    for (const Value output : graph_.outputs()) result_.outputs.push_back(value_info(output));
    for (const Value constant : graph_.constants()) write_constant(constant);
    for (const ir::NodeId id : graph_.nodes()) {
      if (!is_absorbed(id)) write_node(graph_.node(id));
    }
    return std::move(result_);
  }

 private:
  io::OnnxValueInfo value_info(Value value) const {
    io::OnnxValueInfo info;
    info.name = graph_.name(value);
    info.type = with_context(fmt::format("\"{}\"", info.name), [&] { return onnx_type(graph_.type(value)); });
    return info;
  }

  bool keeps_quantized(const tensor::SourcePtr& source) const {
    return options_.keep_quantized && source->encoding() != Encoding::plain && split_blocks(source).has_value();
  }

  // A plain matrix whose every use is Transpose(perm = [1, 0]): stored transposed, the nodes left out.
  bool is_stored_transposed(Value constant) const {
    const tensor::SourcePtr& source = graph_.source(constant);
    if (source->dims().size() != 2 || keeps_quantized(source) || graph_.is_output(constant)) return false;
    const auto users = graph_.users(constant);
    return !users.empty() && std::all_of(users.begin(), users.end(), [&](ir::NodeId user) {
      const Node& node = graph_.node(user);
      return node.op == "Transpose" && node.attributes.find_ints("perm") == std::vector<int64_t>{1, 0} &&
             !graph_.is_output(node.outputs[0]);
    });
  }

  bool is_absorbed(ir::NodeId id) const {
    const Node& node = graph_.node(id);
    return node.op == "Transpose" && graph_.is_constant(node.inputs[0]) && is_stored_transposed(node.inputs[0]);
  }

  // The ONNX name of a value: an absorbed transposition carries its constant's name.
  std::string name_of(Value value) const {
    if (!value) return "";
    const ir::NodeId producer = graph_.producer(value);
    if (producer && is_absorbed(producer)) return graph_.name(graph_.node(producer).inputs[0]);
    return graph_.name(value);
  }

  void add_initializer(const std::string& name, tensor::SourcePtr source) {
    result_.initializers.push_back(OnnxTensor::of(name, std::move(source)));
  }

  void write_constant(Value constant) {
    tensor::SourcePtr source = graph_.source(constant);
    const std::string& name = graph_.name(constant);
    if (source->encoding() != Encoding::plain) {
      if (keeps_quantized(source)) {
        ++report_.kept;
        write_quantized(name, *split_blocks(source));
        return;
      }
      ++report_.widened[std::string(tensor::to_string(source->encoding()))];
      source = tensor::converted_source(std::move(source), graph_.type(constant).dtype);
    }
    if (is_stored_transposed(constant)) source = tensor::transposed_source(std::move(source));
    add_initializer(name, std::move(source));
  }

  // Node names are "where/Operator", numbered from the second on: ONNX Runtime wants them unique.
  OnnxNode& add_node(std::string op, std::string name, std::vector<std::string> inputs,
                     std::vector<std::string> outputs) {
    OnnxNode& node = result_.nodes.emplace_back();
    node.name = name.empty() ? op : fmt::format("{}/{}", name, op);
    node.op_type = std::move(op);
    if (const int uses = ++name_uses_[node.name]; uses > 1) node.name += fmt::format("_{}", uses);
    node.inputs = std::move(inputs);
    node.outputs = std::move(outputs);
    return node;
  }

  // codes * scales (+ minima), blocked along the columns.
  void write_quantized(const std::string& name, const BlockedParts& parts) {
    const tensor::Dims dims = parts.codes->dims();
    add_initializer(name + ".codes", parts.codes);
    add_initializer(name + ".scales", parts.scales);
    const std::string scaled = parts.minima ? name + ".scaled" : name;
    OnnxNode& dequantize =
        add_node("DequantizeLinear", name + ".dequantize", {name + ".codes", name + ".scales"}, {scaled});
    dequantize.attributes = {onnx_attribute("axis", int64_t{1}), onnx_attribute("block_size", parts.block)};
    if (!parts.minima) return;
    const int64_t blocks = dims[1] / parts.block;
    const auto shape = [&](const std::string& suffix, std::vector<int64_t> values) {
      const tensor::Dims rank = {int64_t(values.size())};
      add_initializer(name + suffix,
                      tensor::memory_source(tensor::Tensor::of<int64_t>(rank, std::span<const int64_t>(values)), name));
    };
    add_initializer(name + ".minima", tensor::reshaped_source(parts.minima, {dims[0], blocks, 1}));
    shape(".blocked_shape", {dims[0], blocks, parts.block});
    shape(".shape", {dims[0], dims[1]});
    add_node("Reshape", name + ".to_blocks", {scaled, name + ".blocked_shape"}, {name + ".blocked"});
    add_node("Add", name + ".add_minima", {name + ".blocked", name + ".minima"}, {name + ".sum"});
    add_node("Reshape", name + ".to_matrix", {name + ".sum", name + ".shape"}, {name});
  }

  void write_node(const Node& node) {
    if (node.op == "Optional" && node.attributes.has("type")) {
      fail(ErrorCode::unsupported, "node \"{}\": an Optional of nothing cannot be written yet", node.name);
    }
    const size_t dot = node.op.rfind('.');  // "ai.onnx.ml.Scaler": domain and name
    OnnxNode& to = add_node(dot == std::string::npos ? node.op : node.op.substr(dot + 1), node.name, {}, {});
    if (dot != std::string::npos) to.domain = node.op.substr(0, dot);
    for (const Value input : node.inputs) to.inputs.push_back(name_of(input));
    for (const Value output : node.outputs) to.outputs.push_back(name_of(output));
    for (const auto& [name, value] : node.attributes) to.attributes.push_back(onnx_attribute(name, value));
    if (axes_are_attribute(node.op, options_.opset) && node.inputs.size() > 1 && node.inputs[1]) {
      const tensor::Tensor* axes = graph_.small_constant(node.inputs[1]);
      if (!axes) fail(ErrorCode::unsupported, "{}: axes must be constant before opset 18", node.op);
      const auto values = axes->data<int64_t>();
      to.attributes.push_back(onnx_attribute("axes", std::vector<int64_t>(values.begin(), values.end())));
      to.inputs.resize(1);
    }
  }

  const ir::Graph& graph_;
  const OnnxExportOptions& options_;
  QuantizedReport& report_;
  io::OnnxGraph result_;
  std::map<std::string, int> name_uses_;
};

// Drops initialisers that no node reads (axes that became attributes).
void drop_unused_initializers(io::OnnxGraph& graph) {
  std::map<std::string, int, std::less<>> used;
  for (const OnnxNode& node : graph.nodes) {
    for (const std::string& input : node.inputs) ++used[input];
  }
  for (const io::OnnxValueInfo& output : graph.outputs) ++used[output.name];
  std::erase_if(graph.initializers, [&](const OnnxTensor& tensor) { return !used.count(tensor.name); });
}

void check(const OnnxExportOptions& options) {
  if (options.opset < kOldestExportOpset || options.opset > kNewestExportOpset) {
    fail(ErrorCode::unsupported, "opset {} cannot be written, only {} to {}", options.opset, kOldestExportOpset,
         kNewestExportOpset);
  }
  if (options.keep_quantized && options.opset < 21) {
    fail(ErrorCode::unsupported, "--keep-quantized needs opset 21 or higher (blocked DequantizeLinear), found {}",
         options.opset);
  }
}

}  // namespace

int64_t ir_version_for_opset(int opset) {
  if (opset <= 14) return 7;
  if (opset <= 18) return 8;
  if (opset <= 20) return 9;
  if (opset <= 22) return 10;
  return opset == 23 ? 11 : 12;
}

io::OnnxModel to_onnx(const ir::Graph& graph, const OnnxExportOptions& options, QuantizedReport* report) {
  check(options);
  QuantizedReport unused;
  io::OnnxModel model;
  model.ir_version = ir_version_for_opset(options.opset);
  model.opsets = {{"", options.opset}};
  model.producer_name = "lathe";
  model.producer_version = LATHE_VERSION;
  model.graph = GraphWriter(graph, options, report ? *report : unused).write();
  for (const auto& [domain, version] : kDomains) {
    const bool used = std::any_of(model.graph.nodes.begin(), model.graph.nodes.end(),
                                  [&, &d = domain](const OnnxNode& node) { return node.domain == d; });
    if (used) model.opsets.push_back({std::string(domain), version});
  }
  drop_unused_initializers(model.graph);
  return model;
}

io::OnnxModel export_decoder(const ir::Model& model, const OnnxExportOptions& options,
                             const std::map<std::string, int64_t>& static_dims, QuantizedReport* report) {
  check(options);
  ir::Graph graph = model.graphs.at("main");
  static const std::map<std::string, std::string, std::less<>> kShort = {
      {"batch", "batch_size"}, {"sequence", "sequence_length"}, {"past", "past_sequence_length"}};
  std::map<std::string, int64_t, std::less<>> bindings;
  for (const auto& [name, size] : static_dims) {
    const auto it = kShort.find(name);
    const std::string symbol = it == kShort.end() ? name : it->second;
    const bool known = std::any_of(kShort.begin(), kShort.end(), [&](const auto& s) { return s.second == symbol; });
    if (!known) fail(ErrorCode::usage, "--static: no dimension \"{}\"; there are batch, sequence, past", name);
    if (size < (symbol == "past_sequence_length" ? 0 : 1)) {
      fail(ErrorCode::usage, "--static: {} cannot be {}", name, size);
    }
    bindings[symbol] = size;
  }
  if (!bindings.empty()) {
    for (const Value input : graph.inputs()) {
      op::TypeInfo type = graph.type(input);
      for (tensor::Dim& dim : type.shape) dim = dim.bind(bindings);
      graph.set_type(input, std::move(type));
    }
    graph.infer_types();
  }
  return to_onnx(lower_to_opset(graph, options.opset), options, report);
}

}  // namespace lathe::frontend
