#include "frontend/onnx_import.h"

#include <map>

#include "base/error.h"
#include "frontend/lowering.h"

namespace lathe::frontend {
namespace {

using io::OnnxAttribute;
using io::OnnxAttributeType;
using io::OnnxNode;
using ir::Value;
using tensor::DType;

constexpr int64_t kNewestImportOpset = 27;

DType element_type(const io::OnnxType& type, const std::string& name) {
  if (type.kind != io::OnnxType::Kind::tensor) fail(ErrorCode::unsupported, "\"{}\" is no tensor", name);
  if (type.elem_type <= 0 || type.elem_type > int32_t(DType::i2)) {
    fail(ErrorCode::unsupported, "\"{}\": element type {} is not known", name, type.elem_type);
  }
  return DType(type.elem_type);
}

class Importer {
 public:
  explicit Importer(std::shared_ptr<const io::OnnxFile> file) : file_(std::move(file)) {}

  ir::Graph run() {
    check_opsets();
    const io::OnnxGraph& from = file_->model().graph;
    if (!from.sparse_initializers.empty()) fail(ErrorCode::unsupported, "sparse initializers");
    for (const io::OnnxTensor& tensor : from.initializers) {
      values_[tensor.name] = graph_.add_constant(tensor.name, file_->tensor_source(tensor));
    }
    for (const io::OnnxValueInfo& input : from.inputs) {
      if (!values_.count(input.name)) add_input(input);  // an initializer that is an input, too, is a default
    }
    for (const OnnxNode& node : from.nodes) {
      with_context(fmt::format("node \"{}\" ({})", node.name, node.op_type), [&] { add_node(node); });
    }
    for (const io::OnnxValueInfo& output : from.outputs) graph_.add_output(value_of(output.name), output.name);
    return std::move(graph_);
  }

 private:
  void check_opsets() {
    for (const io::OnnxOpset& opset : file_->model().opsets) {
      if (!opset.domain.empty() && opset.domain != "ai.onnx") continue;
      if (opset.version < kOldestExportOpset || opset.version > kNewestImportOpset) {
        fail(ErrorCode::unsupported, "opset {} cannot be read yet, only {} to {}", opset.version, kOldestExportOpset,
             kNewestImportOpset);
      }
      opset_ = opset.version;
    }
  }

  void add_input(const io::OnnxValueInfo& input) {
    if (!input.type || !input.type->shape) fail(ErrorCode::unsupported, "input \"{}\" has no shape", input.name);
    op::TypeInfo type{element_type(*input.type, input.name), {}, {}};
    for (const io::OnnxDim& dim : *input.type->shape) {
      const auto* number = std::get_if<int64_t>(&dim.value);
      const auto* text = std::get_if<std::string>(&dim.value);
      if (number && *number >= 0) {
        type.shape.emplace_back(*number);
      } else if (text && !text->empty()) {
        type.shape.push_back(tensor::Dim::from_text(*text));
      } else {  // nothing, or -1, as old exporters wrote it
        type.shape.push_back(tensor::Dim::symbol(fmt::format("unknown_{}", unknown_++)));
      }
    }
    values_[input.name] = graph_.add_input(input.name, std::move(type));
  }

  Value value_of(const std::string& name) const {
    if (name.empty()) return {};
    const auto it = values_.find(name);
    if (it == values_.end()) fail(ErrorCode::invalid_input, "value \"{}\" is used before it is defined", name);
    return it->second;
  }

  op::AttributeValue attribute_of(const OnnxAttribute& attribute) const {
    const auto& value = attribute.value;
    if (!attribute.ref_attr_name.empty()) {
      fail(ErrorCode::unsupported, "attribute \"{}\" refers to a function's \"{}\"", attribute.name,
           attribute.ref_attr_name);
    }
    switch (attribute.type) {
      case OnnxAttributeType::f32: return double(std::get<float>(value));
      case OnnxAttributeType::i64: return std::get<int64_t>(value);
      case OnnxAttributeType::string: return std::get<std::string>(value);
      case OnnxAttributeType::ints: return std::get<std::vector<int64_t>>(value);
      case OnnxAttributeType::strings: return std::get<std::vector<std::string>>(value);
      case OnnxAttributeType::tensor: return file_->load(std::get<std::vector<io::OnnxTensor>>(value).at(0));
      case OnnxAttributeType::floats: {
        const auto& floats = std::get<std::vector<float>>(value);
        return std::vector<double>(floats.begin(), floats.end());
      }
      default:
        fail(ErrorCode::unsupported, "attribute \"{}\" of kind {}", attribute.name, io::to_string(attribute.type));
    }
  }

  void add_node(const OnnxNode& node) {
    if (!node.domain.empty() && node.domain != "ai.onnx") fail(ErrorCode::unsupported, "domain \"{}\"", node.domain);
    if (node.op_type.starts_with("lathe.")) fail(ErrorCode::unsupported, "no standard operator");
    std::vector<Value> inputs;
    for (const std::string& input : node.inputs) inputs.push_back(value_of(input));
    op::Attributes attributes;
    for (const OnnxAttribute& attribute : node.attributes) attributes.set(attribute.name, attribute_of(attribute));
    if (opset_ < op::get_op(node.op_type).axes_input_since && attributes.has("axes")) {
      const auto axes = *attributes.find_ints("axes");
      attributes.erase("axes");
      inputs.push_back(graph_.add_constant(
          "axes", tensor::Tensor::of<int64_t>({int64_t(axes.size())}, std::span<const int64_t>(axes))));
    }
    const ir::NodeId id = graph_.add_node(node.op_type, std::move(inputs), std::move(attributes), node.name,
                                          int(node.outputs.size()));
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      if (node.outputs[i].empty()) continue;
      values_[node.outputs[i]] = graph_.node(id).outputs[i];
      graph_.rename(graph_.node(id).outputs[i], node.outputs[i]);
    }
  }

  std::shared_ptr<const io::OnnxFile> file_;  // shared: sources may outlive the importer
  ir::Graph graph_;
  std::map<std::string, Value, std::less<>> values_;
  int64_t opset_ = 0;
  int unknown_ = 0;
};

}  // namespace

ir::Graph import_onnx(const std::shared_ptr<const io::OnnxFile>& file) {
  return with_context(file->path().string(), [&] { return Importer(file).run(); });
}

}  // namespace lathe::frontend
