#include "io/onnx_model.h"

#include <array>

#include "base/error.h"

namespace lathe::io {
namespace {

// Walks every graph and tensor below a model. Model parts are const or not as the callbacks want them.
template <class Graph, class Tensor>
struct Walk {
  std::function<void(Graph&)> on_graph;
  std::function<void(Tensor&)> on_tensor;

  void tensor(Tensor& tensor) const {
    if (on_tensor) on_tensor(tensor);
  }
  template <class Sparse>
  void sparse(Sparse& sparse) const {
    tensor(sparse.values);
    tensor(sparse.indices);
  }
  template <class Attributes>
  void attributes(Attributes& attributes) const {
    for (auto& attribute : attributes) {
      if (auto* tensors = std::get_if<std::vector<OnnxTensor>>(&attribute.value)) {
        for (auto& one : *tensors) tensor(one);
      } else if (auto* sparses = std::get_if<std::vector<OnnxSparseTensor>>(&attribute.value)) {
        for (auto& one : *sparses) sparse(one);
      } else if (auto* graphs = std::get_if<std::vector<OnnxGraph>>(&attribute.value)) {
        for (auto& one : *graphs) graph(one);
      }
    }
  }
  template <class Nodes>
  void nodes(Nodes& nodes) const {
    for (auto& node : nodes) attributes(node.attributes);
  }
  void graph(Graph& graph) const {
    if (on_graph) on_graph(graph);
    for (auto& one : graph.initializers) tensor(one);
    for (auto& one : graph.sparse_initializers) sparse(one);
    nodes(graph.nodes);
  }
  template <class Model>
  void model(Model& model) const {
    graph(model.graph);
    for (auto& function : model.functions) {
      attributes(function.default_attributes);
      nodes(function.nodes);
    }
    for (auto& training : model.trainings) {
      if (training.initialization) graph(*training.initialization);
      if (training.algorithm) graph(*training.algorithm);
    }
  }
};

}  // namespace

OnnxTensor OnnxTensor::of(std::string name, tensor::SourcePtr source) {
  OnnxTensor result;
  result.name = std::move(name);
  result.data_type = int32_t(source->dtype());
  result.dims = source->dims();
  result.values = std::move(source);
  return result;
}

OnnxTensor OnnxTensor::of(std::string name, tensor::Tensor values) {
  OnnxTensor result;
  result.data_type = int32_t(values.dtype());
  result.dims = values.dims();
  result.values = std::move(values);
  result.name = std::move(name);
  return result;
}

tensor::DType OnnxTensor::dtype() const {
  constexpr int32_t kLast = int32_t(tensor::DType::i2);
  if (data_type < 1 || data_type > kLast) {
    fail(ErrorCode::unsupported, "tensor \"{}\" has the unknown element type {}", name, data_type);
  }
  return tensor::DType(data_type);
}

std::string_view to_string(OnnxAttributeType type) {
  static constexpr std::array<std::string_view, 15> kNames = {
      "undefined", "float",   "int",    "string",        "tensor",         "graph", "floats", "ints",
      "strings",   "tensors", "graphs", "sparse tensor", "sparse tensors", "type",  "types"};
  return kNames[size_t(type)];
}

const OnnxAttribute* OnnxNode::find_attribute(std::string_view attribute_name) const {
  for (const OnnxAttribute& attribute : attributes) {
    if (attribute.name == attribute_name) return &attribute;
  }
  return nullptr;
}

void each_graph(const OnnxModel& model, const std::function<void(const OnnxGraph&)>& visit) {
  Walk<const OnnxGraph, const OnnxTensor>{visit, nullptr}.model(model);
}

void each_tensor(OnnxModel& model, const std::function<void(OnnxTensor&)>& visit) {
  Walk<OnnxGraph, OnnxTensor>{nullptr, visit}.model(model);
}

}  // namespace lathe::io
