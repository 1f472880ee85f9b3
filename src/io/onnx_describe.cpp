#include "io/onnx_describe.h"

#include <type_traits>

#include "base/error.h"
#include "io/onnx.h"

namespace lathe::io {
namespace {

using tensor::DType;
using tensor::SourcePtr;

constexpr size_t kInlineChunkBytes = size_t{1} << 20;

class ModelWriter {
 public:
  // Without a layout everything is inline.
  ModelWriter(WireWriter& out, const OnnxDataLayout* layout, std::string data_name)
      : out_(out), layout_(layout), data_name_(std::move(data_name)) {}

  void model(const OnnxModel& model);
  void tensor(const OnnxTensor& tensor);

 private:
  void graph(const OnnxGraph& graph);
  void node(const OnnxNode& node);
  void attribute(const OnnxAttribute& attribute);
  void attribute_value(const OnnxAttribute& attribute);
  void values(const OnnxTensor& tensor);
  void sparse_tensor(const OnnxSparseTensor& sparse);
  void value_info(const OnnxValueInfo& info);
  void type(const OnnxType& type);
  void tensor_type(const OnnxType& type);
  void function(const OnnxFunction& function);
  void training(const OnnxTraining& training);

  void optional_text(uint32_t field, const std::string& value) {
    if (!value.empty()) out_.text(field, value);
  }
  void texts(uint32_t field, const std::vector<std::string>& values) {
    for (const std::string& value : values) out_.text(field, value);
  }
  void integers(uint32_t field, const std::vector<int64_t>& values) {
    for (const int64_t value : values) out_.integer(field, value);
  }
  void property(uint32_t field, std::string_view key, std::string_view value) {
    out_.message(field, [&] {
      out_.text(1, key);
      out_.text(2, value);
    });
  }
  void properties(uint32_t field, const OnnxProperties& values) {
    for (const auto& [key, value] : values) property(field, key, value);
  }
  void opsets(uint32_t field, const std::vector<OnnxOpset>& values) {
    for (const OnnxOpset& opset : values) {
      out_.message(field, [&] {
        out_.text(1, opset.domain);
        out_.integer(2, opset.version);
      });
    }
  }
  template <class T>
  void messages(uint32_t field, const std::vector<T>& values, void (ModelWriter::*describe)(const T&)) {
    for (const T& value : values) out_.message(field, [&] { (this->*describe)(value); });
  }

  WireWriter& out_;
  const OnnxDataLayout* layout_;
  std::string data_name_;
};

void ModelWriter::model(const OnnxModel& model) {
  out_.integer(1, model.ir_version);
  optional_text(2, model.producer_name);
  optional_text(3, model.producer_version);
  optional_text(4, model.domain);
  if (model.model_version != 0) out_.integer(5, model.model_version);
  optional_text(6, model.doc_string);
  out_.message(7, [&] { graph(model.graph); });
  opsets(8, model.opsets);
  properties(14, model.metadata);
  messages(20, model.trainings, &ModelWriter::training);
  messages(25, model.functions, &ModelWriter::function);
  texts(26, model.configurations);
}

void ModelWriter::graph(const OnnxGraph& graph) {
  messages(1, graph.nodes, &ModelWriter::node);
  optional_text(2, graph.name);
  messages(5, graph.initializers, &ModelWriter::tensor);
  optional_text(10, graph.doc_string);
  messages(11, graph.inputs, &ModelWriter::value_info);
  messages(12, graph.outputs, &ModelWriter::value_info);
  messages(13, graph.value_infos, &ModelWriter::value_info);
  for (const OnnxQuantization& quantization : graph.quantizations) {
    out_.message(14, [&] {
      out_.text(1, quantization.tensor_name);
      properties(2, quantization.parameters);
    });
  }
  messages(15, graph.sparse_initializers, &ModelWriter::sparse_tensor);
  properties(16, graph.metadata);
}

void ModelWriter::node(const OnnxNode& node) {
  texts(1, node.inputs);
  texts(2, node.outputs);
  optional_text(3, node.name);
  out_.text(4, node.op_type);
  messages(5, node.attributes, &ModelWriter::attribute);
  optional_text(6, node.doc_string);
  optional_text(7, node.domain);
  optional_text(8, node.overload);
  properties(9, node.metadata);
  texts(10, node.device_configurations);
}

void ModelWriter::attribute(const OnnxAttribute& attribute) {
  out_.text(1, attribute.name);
  attribute_value(attribute);
  optional_text(13, attribute.doc_string);
  out_.integer(20, int64_t(attribute.type));
  optional_text(21, attribute.ref_attr_name);
}

void ModelWriter::attribute_value(const OnnxAttribute& attribute) {
  using Type = OnnxAttributeType;
  const Type type = attribute.type;
  if (std::holds_alternative<std::monostate>(attribute.value)) return;
  // The value as T; a value of another kind than `type` says is a bug of whoever built the model.
  const auto as = [&]<class T>(std::type_identity<T>) -> const T& {
    const T* value = std::get_if<T>(&attribute.value);
    LATHE_CHECK(value, "attribute {} does not hold a {}", attribute.name, to_string(type));
    return *value;
  };
  const auto list = [&]<class T>(uint32_t field, bool single, void (ModelWriter::*describe)(const T&)) {
    const auto& values = as(std::type_identity<std::vector<T>>());
    LATHE_CHECK(!single || values.size() == 1, "attribute {} has {} values", attribute.name, values.size());
    messages(field, values, describe);
  };
  switch (type) {
    case Type::undefined:
      LATHE_CHECK(false, "attribute {} has a value and no type", attribute.name);
      break;
    case Type::f32:
      out_.fixed32(2, as(std::type_identity<float>()));
      break;
    case Type::i64:
      out_.integer(3, as(std::type_identity<int64_t>()));
      break;
    case Type::string:
      out_.text(4, as(std::type_identity<std::string>()));
      break;
    case Type::tensor:
      list(5, true, &ModelWriter::tensor);
      break;
    case Type::graph:
      list(6, true, &ModelWriter::graph);
      break;
    case Type::floats:
      for (const float value : as(std::type_identity<std::vector<float>>())) out_.fixed32(7, value);
      break;
    case Type::ints:
      integers(8, as(std::type_identity<std::vector<int64_t>>()));
      break;
    case Type::strings:
      texts(9, as(std::type_identity<std::vector<std::string>>()));
      break;
    case Type::tensors:
      list(10, false, &ModelWriter::tensor);
      break;
    case Type::graphs:
      list(11, false, &ModelWriter::graph);
      break;
    case Type::type:
      list(14, true, &ModelWriter::type);
      break;
    case Type::types:
      list(15, false, &ModelWriter::type);
      break;
    case Type::sparse_tensor:
      list(22, true, &ModelWriter::sparse_tensor);
      break;
    case Type::sparse_tensors:
      list(23, false, &ModelWriter::sparse_tensor);
      break;
  }
}

void ModelWriter::tensor(const OnnxTensor& tensor) {
  integers(1, tensor.dims);
  out_.integer(2, tensor.data_type);
  const OnnxPlace* placed = layout_ ? layout_->find(tensor) : nullptr;
  if (!placed && tensor.dtype() == DType::string) texts(6, load_onnx_tensor(tensor).strings());
  optional_text(8, tensor.name);
  if (!placed && tensor.dtype() != DType::string) values(tensor);
  optional_text(12, tensor.doc_string);
  if (placed) {
    property(13, "location", data_name_);
    property(13, "offset", std::to_string(placed->offset));
    property(13, "length", std::to_string(placed->bytes));
    out_.integer(14, 1);  // EXTERNAL
  }
  properties(16, tensor.metadata);
}

// Always raw_data, whatever array the values were read from. The values are looked at in the first pass too,
// so that a tensor without them fails before anything is allocated or written for it.
void ModelWriter::values(const OnnxTensor& tensor) {
  const SourcePtr source = onnx_source(tensor);
  out_.stream(9, onnx_value_bytes(tensor), [&](const WireWriter::Sink& sink) {
    if (source->byte_size() == 0) return;  // perhaps very many empty rows
    const int64_t rows = rows_per_piece(*source, kInlineChunkBytes);
    std::vector<std::byte> buffer;
    for (int64_t first = 0; first < source->rows(); first += rows) {
      read_piece(*source, first, rows, buffer, sink);
    }
  });
}

void ModelWriter::sparse_tensor(const OnnxSparseTensor& sparse) {
  out_.message(1, [&] { tensor(sparse.values); });
  out_.message(2, [&] { tensor(sparse.indices); });
  integers(3, sparse.dims);
}

void ModelWriter::value_info(const OnnxValueInfo& info) {
  out_.text(1, info.name);
  if (info.type) out_.message(2, [&] { type(*info.type); });
  optional_text(3, info.doc_string);
  properties(4, info.metadata);
}

void ModelWriter::type(const OnnxType& type) {
  using Kind = OnnxType::Kind;
  const auto element = [&](uint32_t field) { messages(field, type.element, &ModelWriter::type); };
  switch (type.kind) {
    case Kind::none:
      break;
    case Kind::tensor:
      out_.message(1, [&] { tensor_type(type); });
      break;
    case Kind::sequence:
      out_.message(4, [&] { element(1); });
      break;
    case Kind::map:
      out_.message(5, [&] {
        out_.integer(1, type.key_type);
        element(2);
      });
      break;
    case Kind::opaque:
      out_.message(7, [&] {
        optional_text(1, type.domain);
        optional_text(2, type.name);
      });
      break;
    case Kind::sparse_tensor:
      out_.message(8, [&] { tensor_type(type); });
      break;
    case Kind::optional:
      out_.message(9, [&] { element(1); });
      break;
  }
  optional_text(6, type.denotation);
}

void ModelWriter::tensor_type(const OnnxType& type) {
  out_.integer(1, type.elem_type);
  if (!type.shape) return;
  out_.message(2, [&] {
    for (const OnnxDim& dim : *type.shape) {
      out_.message(1, [&] {
        if (const auto* number = std::get_if<int64_t>(&dim.value)) out_.integer(1, *number);
        if (const auto* symbol = std::get_if<std::string>(&dim.value)) out_.text(2, *symbol);
        optional_text(3, dim.denotation);
      });
    }
  });
}

void ModelWriter::function(const OnnxFunction& function) {
  out_.text(1, function.name);
  texts(4, function.inputs);
  texts(5, function.outputs);
  texts(6, function.attributes);
  messages(7, function.nodes, &ModelWriter::node);
  optional_text(8, function.doc_string);
  opsets(9, function.opsets);
  optional_text(10, function.domain);
  messages(11, function.default_attributes, &ModelWriter::attribute);
  messages(12, function.value_infos, &ModelWriter::value_info);
  optional_text(13, function.overload);
  properties(14, function.metadata);
}

void ModelWriter::training(const OnnxTraining& training) {
  if (training.initialization) out_.message(1, [&] { graph(*training.initialization); });
  if (training.algorithm) out_.message(2, [&] { graph(*training.algorithm); });
  properties(3, training.initialization_binding);
  properties(4, training.update_binding);
}

}  // namespace

void describe_onnx_model(WireWriter& out, const OnnxModel& model, const OnnxDataLayout& layout,
                         const std::string& data_name) {
  ModelWriter(out, &layout, data_name).model(model);
}

void describe_onnx_tensor(WireWriter& out, const OnnxTensor& tensor) {
  ModelWriter(out, nullptr, "").tensor(tensor);
}

}  // namespace lathe::io
