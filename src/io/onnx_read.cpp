// ModelProto and everything below it, field by field. Field numbers are those of onnx.proto.
#include <charconv>
#include <cstring>
#include <optional>

#include "base/checked.h"
#include "base/error.h"
#include "io/onnx.h"
#include "io/protobuf_wire.h"

namespace lathe::io {
namespace {

using Bytes = std::span<const std::byte>;

// Reads messages into structs. Every read_x adds to `out`, so that a message that comes in several parts is
// merged as protobuf demands.
class ModelReader {
 public:
  explicit ModelReader(const OnnxLimits& limits) : limits_(limits) {}

  // Returns whether there was a graph.
  bool read_model(Bytes message, OnnxModel& out);
  void read_tensor(Bytes message, OnnxTensor& out);

 private:
  void read_graph(Bytes message, OnnxGraph& out);
  void read_node(Bytes message, OnnxNode& out);
  void read_attribute(Bytes message, OnnxAttribute& out);
  void read_attribute_value(Bytes message, OnnxAttribute& out);
  void read_external(const OnnxProperties& entries, OnnxTensor& out);
  void read_sparse_tensor(Bytes message, OnnxSparseTensor& out);
  void read_value_info(Bytes message, OnnxValueInfo& out);
  void read_type(Bytes message, OnnxType& out);
  void read_tensor_type(Bytes message, OnnxType& out);
  void read_shape(Bytes message, std::vector<OnnxDim>& out);
  void read_function(Bytes message, OnnxFunction& out);
  void read_training(Bytes message, OnnxTraining& out);
  void read_opset(Bytes message, OnnxOpset& out);
  void read_property(Bytes message, OnnxProperties& out);
  void read_quantization(Bytes message, OnnxQuantization& out);

  // Counts memory that the file makes us take.
  void spend(uint64_t bytes) {
    spent_ += bytes;
    if (spent_ > limits_.max_structure_bytes) {
      fail(ErrorCode::resource, "the model's structure needs more than {} bytes",
           limits_.max_structure_bytes);
    }
  }
  std::string text(const WireReader& field) {
    const std::string_view value = field.as_text();
    spend(value.size());
    return std::string(value);
  }
  void push_text(const WireReader& field, std::vector<std::string>& out) {
    spend(sizeof(std::string));
    out.push_back(text(field));
  }
  void push_ints(const WireReader& field, std::vector<int64_t>& out) {
    field.each_varint([&](uint64_t value) {
      spend(sizeof value);
      out.push_back(int64_t(value));
    });
  }

  // Appends an element and reads it; an error inside says which one it was.
  template <class T>
  void push(const WireReader& field, std::vector<T>& out, void (ModelReader::*read)(Bytes, T&),
            std::string_view what) {
    spend(sizeof(T));
    out.emplace_back();
    try {
      nest(field, out.back(), read);
    } catch (Error& error) {
      error.add_context(fmt::format("{} {}", what, out.size() - 1));
      throw;
    }
  }
  // Reads a nested message, within the depth limit.
  template <class T>
  void nest(const WireReader& field, T& out, void (ModelReader::*read)(Bytes, T&)) {
    if (depth_ >= limits_.max_depth) {
      fail(ErrorCode::invalid_input, "messages nested deeper than {}", limits_.max_depth);
    }
    ++depth_;
    (this->*read)(field.as_bytes(), out);
    --depth_;  // not reached by an error, which ends the whole read
  }

  const OnnxLimits& limits_;
  uint64_t spent_ = 0;
  int depth_ = 1;
};

bool ModelReader::read_model(Bytes message, OnnxModel& out) {
  bool has_graph = false;
  for (WireReader in(message); in.next();) {
    switch (in.field()) {
      case 1:
        out.ir_version = in.as_int64();
        break;
      case 2:
        out.producer_name = text(in);
        break;
      case 3:
        out.producer_version = text(in);
        break;
      case 4:
        out.domain = text(in);
        break;
      case 5:
        out.model_version = in.as_int64();
        break;
      case 6:
        out.doc_string = text(in);
        break;
      case 7:
        nest(in, out.graph, &ModelReader::read_graph);
        has_graph = true;
        break;
      case 8:
        push(in, out.opsets, &ModelReader::read_opset, "opset");
        break;
      case 14:
        nest(in, out.metadata, &ModelReader::read_property);
        break;
      case 20:
        push(in, out.trainings, &ModelReader::read_training, "training");
        break;
      case 25:
        push(in, out.functions, &ModelReader::read_function, "function");
        break;
      case 26:
        push_text(in, out.configurations);
        break;
      default:
        break;
    }
  }
  return has_graph;
}

void ModelReader::read_graph(Bytes message, OnnxGraph& out) {
  for (WireReader in(message); in.next();) {
    switch (in.field()) {
      case 1:
        push(in, out.nodes, &ModelReader::read_node, "node");
        break;
      case 2:
        out.name = text(in);
        break;
      case 5:
        push(in, out.initializers, &ModelReader::read_tensor, "initializer");
        break;
      case 10:
        out.doc_string = text(in);
        break;
      case 11:
        push(in, out.inputs, &ModelReader::read_value_info, "input");
        break;
      case 12:
        push(in, out.outputs, &ModelReader::read_value_info, "output");
        break;
      case 13:
        push(in, out.value_infos, &ModelReader::read_value_info, "value info");
        break;
      case 14:
        push(in, out.quantizations, &ModelReader::read_quantization, "quantization");
        break;
      case 15:
        push(in, out.sparse_initializers, &ModelReader::read_sparse_tensor, "sparse initializer");
        break;
      case 16:
        nest(in, out.metadata, &ModelReader::read_property);
        break;
      default:
        break;
    }
  }
}

void ModelReader::read_node(Bytes message, OnnxNode& out) {
  for (WireReader in(message); in.next();) {
    switch (in.field()) {
      case 1:
        push_text(in, out.inputs);
        break;
      case 2:
        push_text(in, out.outputs);
        break;
      case 3:
        out.name = text(in);
        break;
      case 4:
        out.op_type = text(in);
        break;
      case 5:
        push(in, out.attributes, &ModelReader::read_attribute, "attribute");
        break;
      case 6:
        out.doc_string = text(in);
        break;
      case 7:
        out.domain = text(in);
        break;
      case 8:
        out.overload = text(in);
        break;
      case 9:
        nest(in, out.metadata, &ModelReader::read_property);
        break;
      case 10:
        push_text(in, out.device_configurations);
        break;
      default:
        break;
    }
  }
}

// The type stands behind the value on the wire, hence two passes: what it is, then the value.
void ModelReader::read_attribute(Bytes message, OnnxAttribute& out) {
  uint32_t value_field = 0;  // the last one seen: files of IR version 1 do not say the type
  int32_t type = 0;
  for (WireReader in(message); in.next();) {
    switch (in.field()) {
      case 1:
        out.name = text(in);
        break;
      case 13:
        out.doc_string = text(in);
        break;
      case 20:
        type = in.as_int32();
        break;
      case 21:
        out.ref_attr_name = text(in);
        break;
      default:
        if (in.field() <= 23) value_field = in.field();
    }
  }
  using Type = OnnxAttributeType;
  if (type == 0) {
    switch (value_field) {
      case 2:
        type = int32_t(Type::f32);
        break;
      case 3:
        type = int32_t(Type::i64);
        break;
      case 4:
        type = int32_t(Type::string);
        break;
      case 5:
        type = int32_t(Type::tensor);
        break;
      case 6:
        type = int32_t(Type::graph);
        break;
      case 7:
        type = int32_t(Type::floats);
        break;
      case 8:
        type = int32_t(Type::ints);
        break;
      case 9:
        type = int32_t(Type::strings);
        break;
      case 10:
        type = int32_t(Type::tensors);
        break;
      case 11:
        type = int32_t(Type::graphs);
        break;
      case 14:
        type = int32_t(Type::type);
        break;
      case 15:
        type = int32_t(Type::types);
        break;
      case 22:
        type = int32_t(Type::sparse_tensor);
        break;
      case 23:
        type = int32_t(Type::sparse_tensors);
        break;
      default:
        break;
    }
  }
  if (type < 0 || type > int32_t(Type::types)) {
    fail(ErrorCode::invalid_input, "attribute \"{}\" has the unknown type {}", out.name, type);
  }
  out.type = Type(type);
  if (out.ref_attr_name.empty()) read_attribute_value(message, out);
}

void ModelReader::read_attribute_value(Bytes message, OnnxAttribute& out) {
  // Calls body(field) for every occurrence of field `number`.
  const auto each = [&](uint32_t number, auto&& body) {
    for (WireReader in(message); in.next();) {
      if (in.field() == number) body(in);
    }
  };
  // A vector of messages; the singular forms must have exactly one (parts of one are not merged).
  const auto messages = [&](uint32_t number, bool single, auto&& values, auto read) {
    each(number, [&](const WireReader& in) { push(in, values, read, "value"); });
    if (single && values.size() != 1) {
      fail(ErrorCode::invalid_input, "attribute \"{}\" of type {} has {} values", out.name,
           to_string(out.type), values.size());
    }
    out.value = std::move(values);
  };
  using Type = OnnxAttributeType;
  const Type type = out.type;
  switch (type) {
    case Type::undefined:
      break;
    case Type::f32:
      out.value = 0.0f;  // absent scalars are 0: writers of the proto3 schema leave them out
      each(2, [&](const WireReader& in) { out.value = in.as_float(); });
      break;
    case Type::i64:
      out.value = int64_t{0};
      each(3, [&](const WireReader& in) { out.value = in.as_int64(); });
      break;
    case Type::string:
      out.value = std::string();
      each(4, [&](const WireReader& in) { out.value = text(in); });
      break;
    case Type::tensor:
    case Type::tensors:
      messages(type == Type::tensor ? 5 : 10, type == Type::tensor, std::vector<OnnxTensor>(),
               &ModelReader::read_tensor);
      break;
    case Type::graph:
    case Type::graphs:
      messages(type == Type::graph ? 6 : 11, type == Type::graph, std::vector<OnnxGraph>(),
               &ModelReader::read_graph);
      break;
    case Type::sparse_tensor:
    case Type::sparse_tensors:
      messages(type == Type::sparse_tensor ? 22 : 23, type == Type::sparse_tensor,
               std::vector<OnnxSparseTensor>(), &ModelReader::read_sparse_tensor);
      break;
    case Type::type:
    case Type::types:
      messages(type == Type::type ? 14 : 15, type == Type::type, std::vector<OnnxType>(),
               &ModelReader::read_type);
      break;
    case Type::floats: {
      std::vector<float> values;
      each(7, [&](const WireReader& in) {
        const Bytes run = in.fixed32_run();
        spend(run.size());
        const size_t before = values.size();
        values.resize(before + run.size() / sizeof(float));
        if (!run.empty()) std::memcpy(values.data() + before, run.data(), run.size());
      });
      out.value = std::move(values);
      break;
    }
    case Type::ints: {
      std::vector<int64_t> values;
      each(8, [&](const WireReader& in) { push_ints(in, values); });
      out.value = std::move(values);
      break;
    }
    case Type::strings: {
      std::vector<std::string> values;
      each(9, [&](const WireReader& in) { push_text(in, values); });
      out.value = std::move(values);
      break;
    }
  }
}

void ModelReader::read_tensor(Bytes message, OnnxTensor& out) {
  OnnxProperties external;
  bool is_external = false;
  bool is_typed = false;
  std::optional<OnnxRaw> raw;
  for (WireReader in(message); in.next();) {
    switch (in.field()) {
      case 1:
        push_ints(in, out.dims);
        break;
      case 2:
        out.data_type = in.as_int32();
        break;
      case 3:
        out.segmented = true;
        break;
      case 4:
      case 5:
      case 6:
      case 7:
      case 10:
      case 11:
        is_typed = true;
        break;
      case 8:
        out.name = text(in);
        break;
      case 9:
        raw = OnnxRaw{in.as_bytes()};
        break;
      case 12:
        out.doc_string = text(in);
        break;
      case 13:
        nest(in, external, &ModelReader::read_property);
        break;
      case 14:
        is_external = in.as_int32() == 1;
        break;
      case 16:
        nest(in, out.metadata, &ModelReader::read_property);
        break;
      default:
        break;
    }
  }
  if (is_external) {
    with_context(out.name, [&] { read_external(external, out); });
  } else if (raw && is_typed && !raw->bytes.empty()) {
    fail(ErrorCode::invalid_input, "tensor \"{}\" has both raw_data and a typed array", out.name);
  } else if (is_typed) {
    out.values = OnnxTyped{message};
  } else if (raw) {
    out.values = *raw;
  }
}

void ModelReader::read_external(const OnnxProperties& entries, OnnxTensor& out) {
  const auto number = [](std::string_view key, std::string_view value) {
    uint64_t result = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), result);
    if (error != std::errc{} || end != value.data() + value.size()) {
      fail(ErrorCode::invalid_input, "external data: {} is \"{}\", not a number", key, value);
    }
    return result;
  };
  OnnxExternal external;
  for (const auto& [key, value] : entries) {
    if (key == "location") external.location = value;
    if (key == "offset") external.offset = number(key, value);
    if (key == "length") external.length = number(key, value);
    if (key == "checksum") external.checksum = value;
  }
  out.values = std::move(external);
}

void ModelReader::read_sparse_tensor(Bytes message, OnnxSparseTensor& out) {
  bool has_values = false;
  bool has_indices = false;
  // Two parts of one TensorProto would have to be merged, which views of the file cannot be.
  const auto once = [](bool& seen) {
    if (std::exchange(seen, true)) fail(ErrorCode::invalid_input, "sparse tensor in several parts");
  };
  for (WireReader in(message); in.next();) {
    switch (in.field()) {
      case 1:
        once(has_values);
        nest(in, out.values, &ModelReader::read_tensor);
        break;
      case 2:
        once(has_indices);
        nest(in, out.indices, &ModelReader::read_tensor);
        break;
      case 3:
        push_ints(in, out.dims);
        break;
      default:
        break;
    }
  }
}

void ModelReader::read_value_info(Bytes message, OnnxValueInfo& out) {
  for (WireReader in(message); in.next();) {
    switch (in.field()) {
      case 1:
        out.name = text(in);
        break;
      case 2:
        if (!out.type) out.type.emplace();
        nest(in, *out.type, &ModelReader::read_type);
        break;
      case 3:
        out.doc_string = text(in);
        break;
      case 4:
        nest(in, out.metadata, &ModelReader::read_property);
        break;
      default:
        break;
    }
  }
}

void ModelReader::read_type(Bytes message, OnnxType& out) {
  using Kind = OnnxType::Kind;
  // The kinds are alternatives: a later one replaces what an earlier one said.
  const auto become = [&](Kind kind) {
    if (out.kind == kind) return;
    OnnxType fresh;
    fresh.kind = kind;
    fresh.denotation = std::move(out.denotation);
    out = std::move(fresh);
  };
  // Sequence and Optional have the element type as field 1, Map has it as field 2.
  const auto read_element = [&](Bytes part, uint32_t element_field) {
    for (WireReader in(part); in.next();) {
      if (in.field() == element_field) {
        if (out.element.empty()) {
          spend(sizeof(OnnxType));
          out.element.emplace_back();
        }
        nest(in, out.element.front(), &ModelReader::read_type);
      } else if (out.kind == Kind::map && in.field() == 1) {
        out.key_type = in.as_int32();
      }
    }
  };
  for (WireReader in(message); in.next();) {
    switch (in.field()) {
      case 1:
        become(Kind::tensor);
        nest(in, out, &ModelReader::read_tensor_type);
        break;
      case 4:
        become(Kind::sequence);
        read_element(in.as_bytes(), 1);
        break;
      case 5:
        become(Kind::map);
        read_element(in.as_bytes(), 2);
        break;
      case 6:
        out.denotation = text(in);
        break;
      case 7:
        become(Kind::opaque);
        for (WireReader part(in.as_bytes()); part.next();) {
          if (part.field() == 1) out.domain = text(part);
          if (part.field() == 2) out.name = text(part);
        }
        break;
      case 8:
        become(Kind::sparse_tensor);
        nest(in, out, &ModelReader::read_tensor_type);
        break;
      case 9:
        become(Kind::optional);
        read_element(in.as_bytes(), 1);
        break;
      default:
        break;
    }
  }
}

void ModelReader::read_tensor_type(Bytes message, OnnxType& out) {
  for (WireReader in(message); in.next();) {
    switch (in.field()) {
      case 1:
        out.elem_type = in.as_int32();
        break;
      case 2:
        if (!out.shape) out.shape.emplace();
        nest(in, *out.shape, &ModelReader::read_shape);
        break;
      default:
        break;
    }
  }
}

void ModelReader::read_shape(Bytes message, std::vector<OnnxDim>& out) {
  for (WireReader in(message); in.next();) {
    if (in.field() != 1) continue;
    spend(sizeof(OnnxDim));
    OnnxDim& dim = out.emplace_back();
    for (WireReader part(in.as_bytes()); part.next();) {
      switch (part.field()) {
        case 1:
          dim.value = part.as_int64();
          break;
        case 2:
          dim.value = text(part);
          break;
        case 3:
          dim.denotation = text(part);
          break;
        default:
          break;
      }
    }
  }
}

void ModelReader::read_function(Bytes message, OnnxFunction& out) {
  for (WireReader in(message); in.next();) {
    switch (in.field()) {
      case 1:
        out.name = text(in);
        break;
      case 4:
        push_text(in, out.inputs);
        break;
      case 5:
        push_text(in, out.outputs);
        break;
      case 6:
        push_text(in, out.attributes);
        break;
      case 7:
        push(in, out.nodes, &ModelReader::read_node, "node");
        break;
      case 8:
        out.doc_string = text(in);
        break;
      case 9:
        push(in, out.opsets, &ModelReader::read_opset, "opset");
        break;
      case 10:
        out.domain = text(in);
        break;
      case 11:
        push(in, out.default_attributes, &ModelReader::read_attribute, "attribute");
        break;
      case 12:
        push(in, out.value_infos, &ModelReader::read_value_info, "value info");
        break;
      case 13:
        out.overload = text(in);
        break;
      case 14:
        nest(in, out.metadata, &ModelReader::read_property);
        break;
      default:
        break;
    }
  }
}

void ModelReader::read_training(Bytes message, OnnxTraining& out) {
  const auto graph = [&](const WireReader& in, std::optional<OnnxGraph>& into) {
    if (!into) into.emplace();
    nest(in, *into, &ModelReader::read_graph);
  };
  for (WireReader in(message); in.next();) {
    switch (in.field()) {
      case 1:
        graph(in, out.initialization);
        break;
      case 2:
        graph(in, out.algorithm);
        break;
      case 3:
        nest(in, out.initialization_binding, &ModelReader::read_property);
        break;
      case 4:
        nest(in, out.update_binding, &ModelReader::read_property);
        break;
      default:
        break;
    }
  }
}

void ModelReader::read_opset(Bytes message, OnnxOpset& out) {
  for (WireReader in(message); in.next();) {
    if (in.field() == 1) out.domain = text(in);
    if (in.field() == 2) out.version = in.as_int64();
  }
}

void ModelReader::read_property(Bytes message, OnnxProperties& out) {
  spend(sizeof out[0]);
  auto& [key, value] = out.emplace_back();
  for (WireReader in(message); in.next();) {
    if (in.field() == 1) key = text(in);
    if (in.field() == 2) value = text(in);
  }
}

void ModelReader::read_quantization(Bytes message, OnnxQuantization& out) {
  for (WireReader in(message); in.next();) {
    if (in.field() == 1) out.tensor_name = text(in);
    if (in.field() == 2) nest(in, out.parameters, &ModelReader::read_property);
  }
}

}  // namespace

OnnxModel parse_onnx(std::span<const std::byte> bytes, const OnnxLimits& limits) {
  OnnxModel model;
  const bool has_graph = ModelReader(limits).read_model(bytes, model);
  if (!has_graph) fail(ErrorCode::invalid_input, "not an ONNX model: there is no graph");
  if (model.ir_version < 1) {
    fail(ErrorCode::invalid_input, "not an ONNX model: the IR version is {}", model.ir_version);
  }
  return model;
}

OnnxTensor parse_onnx_tensor(std::span<const std::byte> bytes, const OnnxLimits& limits) {
  OnnxTensor tensor;
  ModelReader(limits).read_tensor(bytes, tensor);
  return tensor;
}

}  // namespace lathe::io
