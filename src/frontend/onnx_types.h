// What ONNX's structs say in our types: value types, attributes, sparse tensors; and the way back.
#pragma once

#include <string>

#include "io/onnx.h"
#include "op/op.h"

namespace lathe::frontend {

// Numbers the dimensions of a model that have no name.
class UnknownDims {
 public:
  tensor::Dim next() { return tensor::Dim::symbol("unknown_" + std::to_string(count_++)); }

 private:
  int count_ = 0;
};

// Throws unsupported for maps, opaque values, sequences of sequences and element types that are not known.
op::TypeInfo type_of(const io::OnnxType& type, UnknownDims& unknown);
// Any attribute but a graph; a type becomes a string as op::to_string writes it.
op::AttributeValue attribute_of(const io::OnnxAttribute& attribute, const io::OnnxFile& file);
// The tensor with all its zeros.
tensor::Tensor dense(const io::OnnxSparseTensor& sparse, const io::OnnxFile& file);

// The inverse of type_of. Throws unsupported for a type whose elements only the run knows.
io::OnnxType onnx_type(const op::TypeInfo& type);
// The inverse of attribute_of, but for types; the name goes with it. Throws internal for a graph.
io::OnnxAttribute onnx_attribute(const std::string& name, const op::AttributeValue& value);
// A type that attribute_of made a string, as the attribute that it was.
io::OnnxAttribute onnx_type_attribute(const std::string& name, std::string_view text);

}  // namespace lathe::frontend
