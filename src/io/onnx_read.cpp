// Models, graphs, nodes, functions; the values inside are read by onnx_read_values.cpp.
#include "base/error.h"
#include "io/onnx.h"
#include "io/onnx_reader.h"

namespace lathe::io {

bool OnnxReader::read_model(Bytes message, OnnxModel& out) {
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
        nest(in, out.graph, &OnnxReader::read_graph);
        has_graph = true;
        break;
      case 8:
        push(in, out.opsets, &OnnxReader::read_opset, "opset");
        break;
      case 14:
        nest(in, out.metadata, &OnnxReader::read_property);
        break;
      case 20:
        push(in, out.trainings, &OnnxReader::read_training, "training");
        break;
      case 25:
        push(in, out.functions, &OnnxReader::read_function, "function");
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

void OnnxReader::read_graph(Bytes message, OnnxGraph& out) {
  for (WireReader in(message); in.next();) {
    switch (in.field()) {
      case 1:
        push(in, out.nodes, &OnnxReader::read_node, "node");
        break;
      case 2:
        out.name = text(in);
        break;
      case 5:
        push(in, out.initializers, &OnnxReader::read_tensor, "initializer");
        break;
      case 10:
        out.doc_string = text(in);
        break;
      case 11:
        push(in, out.inputs, &OnnxReader::read_value_info, "input");
        break;
      case 12:
        push(in, out.outputs, &OnnxReader::read_value_info, "output");
        break;
      case 13:
        push(in, out.value_infos, &OnnxReader::read_value_info, "value info");
        break;
      case 14:
        push(in, out.quantizations, &OnnxReader::read_quantization, "quantization");
        break;
      case 15:
        push(in, out.sparse_initializers, &OnnxReader::read_sparse_tensor, "sparse initializer");
        break;
      case 16:
        nest(in, out.metadata, &OnnxReader::read_property);
        break;
      default:
        break;
    }
  }
}

void OnnxReader::read_node(Bytes message, OnnxNode& out) {
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
        push(in, out.attributes, &OnnxReader::read_attribute, "attribute");
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
        nest(in, out.metadata, &OnnxReader::read_property);
        break;
      case 10:
        push_text(in, out.device_configurations);
        break;
      default:
        break;
    }
  }
}

void OnnxReader::read_function(Bytes message, OnnxFunction& out) {
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
        push(in, out.nodes, &OnnxReader::read_node, "node");
        break;
      case 8:
        out.doc_string = text(in);
        break;
      case 9:
        push(in, out.opsets, &OnnxReader::read_opset, "opset");
        break;
      case 10:
        out.domain = text(in);
        break;
      case 11:
        push(in, out.default_attributes, &OnnxReader::read_attribute, "attribute");
        break;
      case 12:
        push(in, out.value_infos, &OnnxReader::read_value_info, "value info");
        break;
      case 13:
        out.overload = text(in);
        break;
      case 14:
        nest(in, out.metadata, &OnnxReader::read_property);
        break;
      default:
        break;
    }
  }
}

void OnnxReader::read_training(Bytes message, OnnxTraining& out) {
  const auto graph = [&](const WireReader& in, std::optional<OnnxGraph>& into) {
    if (!into) into.emplace();
    nest(in, *into, &OnnxReader::read_graph);
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
        nest(in, out.initialization_binding, &OnnxReader::read_property);
        break;
      case 4:
        nest(in, out.update_binding, &OnnxReader::read_property);
        break;
      default:
        break;
    }
  }
}

void OnnxReader::read_opset(Bytes message, OnnxOpset& out) {
  for (WireReader in(message); in.next();) {
    if (in.field() == 1) out.domain = text(in);
    if (in.field() == 2) out.version = in.as_int64();
  }
}

void OnnxReader::read_property(Bytes message, OnnxProperties& out) {
  spend(sizeof out[0]);
  auto& [key, value] = out.emplace_back();
  for (WireReader in(message); in.next();) {
    if (in.field() == 1) key = text(in);
    if (in.field() == 2) value = text(in);
  }
}

void OnnxReader::read_quantization(Bytes message, OnnxQuantization& out) {
  for (WireReader in(message); in.next();) {
    if (in.field() == 1) out.tensor_name = text(in);
    if (in.field() == 2) nest(in, out.parameters, &OnnxReader::read_property);
  }
}

OnnxModel parse_onnx(std::span<const std::byte> bytes, const OnnxLimits& limits) {
  OnnxModel model;
  const bool has_graph = OnnxReader(limits).read_model(bytes, model);
  if (!has_graph) fail(ErrorCode::invalid_input, "not an ONNX model: there is no graph");
  if (model.ir_version < 1) {
    fail(ErrorCode::invalid_input, "not an ONNX model: the IR version is {}", model.ir_version);
  }
  return model;
}

OnnxTensor parse_onnx_tensor(std::span<const std::byte> bytes, const OnnxLimits& limits) {
  OnnxTensor tensor;
  OnnxReader(limits).read_tensor(bytes, tensor);
  return tensor;
}

OnnxSequence parse_onnx_sequence(std::span<const std::byte> bytes, const OnnxLimits& limits) {
  OnnxSequence sequence;
  OnnxReader(limits).read_sequence(bytes, sequence);
  return sequence;
}

OnnxOptional parse_onnx_optional(std::span<const std::byte> bytes, const OnnxLimits& limits) {
  OnnxOptional optional;
  OnnxReader(limits).read_optional(bytes, optional);
  return optional;
}

}  // namespace lathe::io
