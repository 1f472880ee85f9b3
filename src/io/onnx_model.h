// An ONNX model as plain structs: what the protobuf messages say, nothing resolved and nothing checked beyond
// that. Field meanings: onnx.proto of the ONNX project. Owned by value; tensors of a model that was read may
// view the bytes it was read from (see OnnxValues).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "tensor/source.h"
#include "tensor/tensor.h"

namespace lathe::io {

// StringStringEntryProto lists, in file order; keys may repeat.
using OnnxProperties = std::vector<std::pair<std::string, std::string>>;

// raw_data: little endian, row-major, sub-byte types packed from the lowest bits on. A view.
struct OnnxRaw {
  std::span<const std::byte> bytes;
};
// The TensorProto message itself, whose typed array (float_data, int32_data, string_data, ...) is decoded
// when the values are asked for. A view.
struct OnnxTyped {
  std::span<const std::byte> message;
};
// Bytes in another file. `location` is as untrusted as the rest: only OnnxFile turns it into a path.
struct OnnxExternal {
  std::string location;
  std::optional<uint64_t> offset;
  std::optional<uint64_t> length;
  std::string checksum;  // SHA-1 in hexadecimal by convention; not checked
};

// Where the values of a tensor are. Nothing at all (an empty tensor, or a broken file), one of the three
// forms a file can have, or what a model that is being built uses: a source, or a tensor in memory (the only
// form for strings, and for sub-byte rows that do not fill whole bytes).
using OnnxValues =
    std::variant<std::monostate, OnnxRaw, OnnxTyped, OnnxExternal, tensor::Tensor, tensor::SourcePtr>;

struct OnnxTensor {
  std::string name;
  int32_t data_type = 0;  // TensorProto.DataType; may be a number this build does not know
  tensor::Dims dims;
  OnnxValues values;
  bool segmented = false;  // has the obsolete `segment` field: values cannot be read
  std::string doc_string;
  OnnxProperties metadata;

  static OnnxTensor of(std::string name, tensor::SourcePtr source);
  static OnnxTensor of(std::string name, tensor::Tensor values);
  // data_type as ours; unsupported when unknown.
  tensor::DType dtype() const;
};

// SequenceProto and OptionalProto, as test folders hold them: tensors in order, or nothing.
struct OnnxSequence {
  std::string name;
  std::vector<OnnxTensor> tensors;
};
struct OnnxOptional {
  std::string name;
  std::optional<OnnxTensor> tensor;  // at most one of the two
  std::optional<OnnxSequence> sequence;
};

struct OnnxSparseTensor {
  OnnxTensor values;   // [nnz]; its name is the sparse tensor's name
  OnnxTensor indices;  // i64 [nnz] or [nnz, rank]
  tensor::Dims dims;
};

struct OnnxDim {
  // Unknown, a number, or a symbol.
  std::variant<std::monostate, int64_t, std::string> value;
  std::string denotation;
};

struct OnnxType {
  enum class Kind : uint8_t { none, tensor, sparse_tensor, sequence, optional, map, opaque };
  Kind kind = Kind::none;
  int32_t elem_type = 0;                      // tensor, sparse_tensor: TensorProto.DataType
  int32_t key_type = 0;                       // map
  std::optional<std::vector<OnnxDim>> shape;  // tensor, sparse_tensor; absent: unknown rank
  std::vector<OnnxType> element;              // sequence, optional, map value: one type, or none if not said
  std::string domain, name;                   // opaque
  std::string denotation;
};

struct OnnxValueInfo {
  std::string name;
  std::optional<OnnxType> type;
  std::string doc_string;
  OnnxProperties metadata;
};

// AttributeProto.AttributeType.
enum class OnnxAttributeType : uint8_t {
  undefined = 0,
  f32 = 1,
  i64 = 2,
  string = 3,
  tensor = 4,
  graph = 5,
  floats = 6,
  ints = 7,
  strings = 8,
  tensors = 9,
  graphs = 10,
  sparse_tensor = 11,
  sparse_tensors = 12,
  type = 13,
  types = 14,
};
std::string_view to_string(OnnxAttributeType type);

struct OnnxGraph;

struct OnnxAttribute {
  std::string name;
  OnnxAttributeType type = OnnxAttributeType::undefined;
  // By `type`; the singular forms of tensor, graph, sparse_tensor and type are a vector of one. Nothing when
  // the attribute refers to one of the enclosing function's (ref_attr_name).
  std::variant<std::monostate, float, int64_t, std::string, std::vector<float>, std::vector<int64_t>,
               std::vector<std::string>, std::vector<OnnxTensor>, std::vector<OnnxGraph>,
               std::vector<OnnxSparseTensor>, std::vector<OnnxType>>
      value;
  std::string ref_attr_name;
  std::string doc_string;
};

struct OnnxNode {
  std::string op_type;
  std::string domain;    // "" is ONNX's own
  std::string overload;  // chooses among model-local functions of one name
  std::string name;
  std::vector<std::string> inputs;  // "" is an omitted optional input
  std::vector<std::string> outputs;
  std::vector<OnnxAttribute> attributes;
  std::string doc_string;
  OnnxProperties metadata;
  std::vector<std::string> device_configurations;  // messages kept as they are

  // nullptr when there is none of that name.
  const OnnxAttribute* find_attribute(std::string_view attribute_name) const;
};

struct OnnxQuantization {  // TensorAnnotation
  std::string tensor_name;
  OnnxProperties parameters;  // "SCALE_TENSOR" -> initializer name
};

struct OnnxGraph {
  std::string name;
  std::vector<OnnxNode> nodes;  // in topological order
  std::vector<OnnxTensor> initializers;
  std::vector<OnnxSparseTensor> sparse_initializers;
  std::vector<OnnxValueInfo> inputs;
  std::vector<OnnxValueInfo> outputs;
  std::vector<OnnxValueInfo> value_infos;
  std::vector<OnnxQuantization> quantizations;
  std::string doc_string;
  OnnxProperties metadata;
};

struct OnnxOpset {
  std::string domain;
  int64_t version = 0;
};

struct OnnxFunction {
  std::string domain, name, overload;
  std::vector<std::string> inputs, outputs;
  std::vector<std::string> attributes;            // names of attributes without a default
  std::vector<OnnxAttribute> default_attributes;  // attribute_proto
  std::vector<OnnxNode> nodes;
  std::vector<OnnxOpset> opsets;
  std::vector<OnnxValueInfo> value_infos;
  std::string doc_string;
  OnnxProperties metadata;
};

struct OnnxTraining {  // TrainingInfoProto
  std::optional<OnnxGraph> initialization, algorithm;
  OnnxProperties initialization_binding, update_binding;
};

struct OnnxModel {
  int64_t ir_version = 0;
  std::vector<OnnxOpset> opsets;
  std::string producer_name, producer_version;
  std::string domain;
  int64_t model_version = 0;
  std::string doc_string;
  OnnxGraph graph;
  std::vector<OnnxFunction> functions;
  OnnxProperties metadata;
  std::vector<OnnxTraining> trainings;
  std::vector<std::string> configurations;  // DeviceConfigurationProto messages kept as they are
};

// Calls `visit` for every graph of the model: the main one, training's, and every subgraph in an attribute of
// a node or function, an outer graph before its inner ones.
void each_graph(const OnnxModel& model, const std::function<void(const OnnxGraph&)>& visit);
// Calls `visit` for every tensor of the model: initializers, parts of sparse tensors, attributes, subgraphs
// and functions included.
void each_tensor(OnnxModel& model, const std::function<void(OnnxTensor&)>& visit);

}  // namespace lathe::io
