// The reader behind parse_onnx; private to onnx_read*.cpp. Field numbers are those of onnx.proto.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "io/onnx.h"
#include "io/protobuf_wire.h"

namespace lathe::io {

// Reads messages into structs. Every read_x adds to `out`, so that a message that comes in several parts is
// merged as protobuf demands.
class OnnxReader {
 public:
  using Bytes = std::span<const std::byte>;

  explicit OnnxReader(const OnnxLimits& limits) : limits_(limits) {}

  // Returns whether there was a graph.
  bool read_model(Bytes message, OnnxModel& out);
  void read_tensor(Bytes message, OnnxTensor& out);
  void read_sequence(Bytes message, OnnxSequence& out);
  void read_optional(Bytes message, OnnxOptional& out);

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
  void push(const WireReader& field, std::vector<T>& out, void (OnnxReader::*read)(Bytes, T&),
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
  void nest(const WireReader& field, T& out, void (OnnxReader::*read)(Bytes, T&)) {
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

}  // namespace lathe::io
