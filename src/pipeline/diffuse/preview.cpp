#include "pipeline/diffuse/preview.h"

#include <algorithm>
#include <cmath>

#include "base/checked.h"

namespace lathe::pipeline {
namespace {

constexpr double kLargestDeviation = 1.25;  // of latents of pictures, about

// The mean of the part of a plane [height, width] that is there of block (y, x).
float block_mean(std::span<const float> plane, int64_t height, int64_t width, int64_t block, int64_t y, int64_t x) {
  double sum = 0;
  int64_t count = 0;
  for (int64_t r = y * block; r < std::min(height, (y + 1) * block); ++r) {
    for (int64_t c = x * block; c < std::min(width, (x + 1) * block); ++c, ++count) sum += plane[size_t(r * width + c)];
  }
  return float(sum / double(count));
}

}  // namespace

tensor::Tensor preview_latents(const contract::Pictures& contract, std::span<const float> latents, int64_t height,
                               int64_t width) {
  const int64_t block = ceil_div(std::max(height, width), kPreviewSide);
  const int64_t rows = ceil_div(height, block), columns = ceil_div(width, block);
  tensor::Tensor small(tensor::DType::f32, {1, contract.latent_channels, rows, columns});
  const auto out = small.data<float>();
  double squares = 0;
  for (size_t i = 0; i < out.size(); ++i) {
    const int64_t at = int64_t(i), channel = at / (rows * columns), y = at / columns % rows, x = at % columns;
    const auto plane = latents.subspan(size_t(channel * height * width), size_t(height * width));
    out[i] = block_mean(plane, height, width, block, y, x);
    squares += double(out[i]) * out[i];
  }
  const double deviation = std::sqrt(squares / double(std::max<size_t>(1, out.size())));
  if (deviation > kLargestDeviation) {
    for (float& value : out) value = float(value * kLargestDeviation / deviation);
  }
  return small;
}

}  // namespace lathe::pipeline
