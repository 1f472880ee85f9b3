#include "pipeline/diffuse/guidance.h"

#include <cmath>

#include "base/error.h"

namespace lathe::pipeline {
namespace {

// Of a sample, with n - 1 below.
double deviation(std::span<const float> values) {
  double mean = 0;
  for (const float value : values) mean += value;
  mean /= double(values.size());
  double sum = 0;
  for (const float value : values) sum += (value - mean) * (value - mean);
  return std::sqrt(sum / double(values.size() - 1));
}

}  // namespace

void guide(std::span<float> without, std::span<const float> with, double scale, double rescale, size_t batch) {
  LATHE_CHECK(without.size() == with.size() && batch > 0 && with.size() % batch == 0, "guidance of {} and {} numbers",
              without.size(), with.size());
  const float factor = float(scale);
  for (size_t i = 0; i < without.size(); ++i) without[i] += factor * (with[i] - without[i]);
  if (!(rescale > 0)) return;
  const size_t size = with.size() / batch;
  for (size_t i = 0; i < batch; ++i) {
    const std::span<float> guided = without.subspan(i * size, size);
    const double ratio = deviation(with.subspan(i * size, size)) / deviation(guided);
    const float mixed = float(rescale * ratio + (1 - rescale));
    for (float& value : guided) value *= mixed;
  }
}

std::vector<float> guidance_embedding(double scale, size_t width) {
  const size_t half = width / 2;
  std::vector<float> embedding(width, 0.0f);
  const float w = float(scale - 1) * 1000.0f;
  const float slope = std::log(10000.0f) / float(half - 1);
  for (size_t i = 0; i < half; ++i) {
    const float angle = w * std::exp(float(i) * -slope);
    embedding[i] = std::sin(angle);
    embedding[half + i] = std::cos(angle);
  }
  return embedding;
}

}  // namespace lathe::pipeline
