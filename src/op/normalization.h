// What the normalisations by mean and variance share.
#pragma once

#include <vector>

#include "op/inference.h"

namespace lathe::op {

struct Moments {
  double mean = 0;
  double variance = 0;  // of the whole population
};

// Of count elements; `at(i)` gives element i.
template <class At>
Moments moments(int64_t count, At&& at) {
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += at(i);
  const double mean = sum / double(count);
  double squares = 0;
  for (int64_t i = 0; i < count; ++i) squares += (at(i) - mean) * (at(i) - mean);
  return {mean, squares / double(count)};
}

// Throws unless input i is a float tensor of shape [length].
void require_channel_vector(const InferContext& context, size_t i, const tensor::Dim& length);
// Attribute epsilon in f32, its type in ONNX.
double read_epsilon(const Attributes& attributes);

}  // namespace lathe::op
