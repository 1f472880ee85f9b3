// What ONNX's structs say in our types: value types, attributes, sparse tensors.
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

}  // namespace lathe::frontend
