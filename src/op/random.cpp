#include "op/random.h"

#include <bit>
#include <cmath>

#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::DType;

uint32_t seed_of(const Attributes& attributes) {
  if (!attributes.has("seed")) return kUnseeded;
  const double seed = attributes.get_float("seed", 0);
  if (seed >= 0 && seed < 0x1p32 && seed == std::floor(seed)) return uint32_t(seed);
  const uint64_t bits = std::bit_cast<uint64_t>(seed);
  return uint32_t(bits) ^ uint32_t(bits >> 32);
}

template <class Next>
tensor::Tensor draw(DType dtype, tensor::Dims dims, Next&& next) {
  std::vector<double> values(size_t(tensor::element_count(std::span(dims))));
  for (double& value : values) value = next();
  return store(dtype, std::move(dims), values);
}

}  // namespace

RandomStream::RandomStream(const Attributes& attributes) : generator_(seed_of(attributes)) {}

double RandomStream::uniform() {
  const uint64_t high = uint32_t(generator_()) >> 5;  // 27 bits
  const uint64_t low = uint32_t(generator_()) >> 6;   // 26 bits
  return double(high << 26 | low) * 0x1p-53;
}

double RandomStream::normal() {
  if (spare_) {
    const double value = *spare_;
    spare_.reset();
    return value;
  }
  // A point in the unit disc, its length turned into that of a pair of normal numbers.
  double x = 0, y = 0, square = 0;
  do {
    x = 2 * uniform() - 1;
    y = 2 * uniform() - 1;
    square = x * x + y * y;
  } while (square >= 1 || square == 0);
  const double factor = std::sqrt(-2 * std::log(square) / square);
  spare_ = factor * x;
  return factor * y;
}

DType drawn_dtype(const Attributes& attributes, DType otherwise) {
  const auto asked = attributes.find_int("dtype");
  return asked ? DType(*asked) : otherwise;
}

DType random_dtype(const InferContext& context, DType otherwise) {
  const int64_t asked = context.attributes.get_int("dtype", int64_t(otherwise));
  if (asked < 1 || asked > int64_t(DType::i2) || !(set_of(DType(asked)) & kFloat))
    bad(context, "dtype: expected f16, bf16, f32 or f64, found {}", asked);
  return DType(asked);
}

void infer_random(InferContext& context) {
  const auto shape = context.attributes.find_ints("shape").value_or(std::vector<int64_t>());
  for (const int64_t dim : shape) {
    if (dim < 0) bad(context, "a dimension is {}", dim);
  }
  context.outputs[0] = {random_dtype(context, DType::f32), tensor::to_shape(shape), std::nullopt};
}

void infer_random_like(InferContext& context) {
  const TypeInfo& like = require(context, 0, kAny);
  context.outputs[0] = {random_dtype(context, like.dtype), like.shape, std::nullopt};
}

tensor::Tensor draw_uniform(const Attributes& attributes, DType dtype, tensor::Dims dims) {
  const double low = attributes.get_float("low", 0);
  const double high = attributes.get_float("high", 1);
  RandomStream stream(attributes);
  return draw(dtype, std::move(dims), [&] { return low + (high - low) * stream.uniform(); });
}

tensor::Tensor draw_normal(const Attributes& attributes, DType dtype, tensor::Dims dims) {
  const double mean = attributes.get_float("mean", 0);
  const double scale = attributes.get_float("scale", 1);
  RandomStream stream(attributes);
  return draw(dtype, std::move(dims), [&] { return mean + scale * stream.normal(); });
}

}  // namespace lathe::op
