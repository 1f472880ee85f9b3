// The random numbers of Dropout, Bernoulli, Multinomial and the Random operators.
//
// The generator is the Mersenne Twister with 53-bit uniform numbers and the polar method for normal ones: a seed
// gives the numbers that numpy.random.RandomState(seed) gives. ONNX lets an implementation choose a seed where none
// is given; here it is always kUnseeded, so that a model gives the same answer twice (but two nodes without seeds of
// their own draw the same numbers).
#pragma once

#include <optional>
#include <random>

#include "op/op.h"

namespace lathe::op {

constexpr uint32_t kUnseeded = 0x6c617468;

class RandomStream {
 public:
  // By attribute `seed`, an integer or a real. What is no integer in [0, 2^32) is folded to one from its bits.
  explicit RandomStream(const Attributes& attributes);
  double uniform();  // [0, 1)
  double normal();   // mean 0, deviation 1

 private:
  std::mt19937 generator_;
  std::optional<double> spare_;  // the second of a pair of normal numbers
};

// The type that attribute `dtype` names, else `otherwise`, which must be a float of 16 bits or more.
tensor::DType random_dtype(const InferContext& context, tensor::DType otherwise);
// Output 0 as the shape attribute says (input 0's shape for the Like operators).
void infer_random(InferContext& context);
void infer_random_like(InferContext& context);
// A tensor of numbers from [low, high), or with this mean and deviation (`scale`), as the attributes say.
tensor::Tensor draw_uniform(const Attributes& attributes, tensor::DType dtype, tensor::Dims dims);
tensor::Tensor draw_normal(const Attributes& attributes, tensor::DType dtype, tensor::Dims dims);
// The same with the attributes' dtype or `otherwise`.
tensor::DType drawn_dtype(const Attributes& attributes, tensor::DType otherwise);

}  // namespace lathe::op
