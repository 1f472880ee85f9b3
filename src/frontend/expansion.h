// What the expansions of lower_to_opset share; private to it.
#pragma once

#include <vector>

#include "base/error.h"
#include "frontend/builder.h"

namespace lathe::frontend {

// What an expansion works with: a builder on the new graph, the node, and its inputs there.
struct Expansion {
  Builder b;
  const ir::Node& node;
  std::vector<Value> inputs;

  bool has(size_t i) const { return i < inputs.size() && inputs[i]; }
  const op::TypeInfo& type(size_t i) const { return b.graph().type(inputs[i]); }
  int64_t dim(size_t i, int axis) const {
    const tensor::Shape& shape = type(i).shape;
    const tensor::Dim& dim = shape[axis < 0 ? shape.size() - size_t(-axis) : size_t(axis)];
    if (!dim.is_constant()) fail(ErrorCode::unsupported, "dimension {} of input {} is symbolic", dim.to_string(), i);
    return dim.value();
  }
  Value mean(Value x) const {
    return b.node("ReduceMean", {x, b.ints({-1})}, {{"keepdims", int64_t{1}}});
  }
};
using Results = std::vector<Value>;

// Attention-23 by products and Softmax (lowering_attention.cpp).
Results expand_attention(const Expansion& e);
// The mask of an Attention that stays one, with a row for each query: ONNX broadcasts one row to all, which ONNX
// Runtime refuses (1.31). Absent where the mask is good as it is.
Value full_mask(const Expansion& e);

}  // namespace lathe::frontend
