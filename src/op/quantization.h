// What QuantizeLinear and DequantizeLinear share: which scale belongs to which element.
#pragma once

#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {

// Checks scale (input 1) and zero point (input 2) against x (input 0): one for all, one for each index of
// `axis`, or one for each block of block_size along it.
void check_scales(const InferContext& context);

// The element of the scale that belongs to element i of x.
class ScaleIndex {
 public:
  ScaleIndex(const EvaluateContext& context);
  int64_t operator()(int64_t i) const;

 private:
  bool single_ = false;
  int64_t inner_ = 1;   // elements of x after the axis
  int64_t length_ = 1;  // of the axis
  int64_t block_ = 1;
  int64_t blocks_ = 1;  // scales along the axis
  bool per_axis_ = false;
};

// DequantizeLinear of integers with a result in f32, without copies in double: what its reference gives, for
// large weights.
tensor::Tensor dequantise_to_f32(const EvaluateContext& context);

}  // namespace lathe::op
