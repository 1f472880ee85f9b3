#include "backend/cpu/byte_epilogue.h"

#include <algorithm>
#include <cstring>

#include "backend/cpu/tiers.h"
#include "op/quantized_product.h"

namespace lathe::backend::cpu {
namespace {

using tensor::DType;

int32_t byte_at(const GraphCall& call, size_t input, int64_t i) noexcept {
  if (!call.problem->has_input(input)) return 0;
  return call.problem->inputs[input].dtype == DType::u8 ? int32_t(call.input<uint8_t>(input)[i])
                                                        : int32_t(call.input<int8_t>(input)[i]);
}

bool is_single(const Problem& problem, size_t input) {
  return problem.inputs[input].size() == 1;
}

void set_sum(const Problem& problem, ByteEpilogue& epilogue) {
  const op::QuantizedSum sum = op::quantized_sum(problem.attributes());
  const op::QuantizedClamp last = op::quantized_clamp(sum.activation);
  epilogue.sums_bytes = true;
  epilogue.low = std::max(epilogue.low, sum.middle_low);
  epilogue.high = std::min(epilogue.high, sum.middle_high);
  epilogue.middle_scale = sum.middle_scale;
  epilogue.residual_zero = sum.residual_zero;
  epilogue.residual_scale = sum.residual_scale;
  epilogue.sum_low = last.low;
  epilogue.sum_high = last.high;
}

}  // namespace

ByteEpilogue make_byte_epilogue(const Problem& problem) {
  ByteEpilogue epilogue;
  epilogue.flip = problem.inputs[op::kQX].dtype == DType::i8;
  epilogue.shifted = problem.inputs[op::kQWeights].dtype == DType::u8;
  const std::string activation = problem.attributes().get_string("activation", "");
  if (!problem.has_input(op::kQScale)) return epilogue;
  if (problem.has_input(op::kQYZero)) {
    epilogue.to = ByteEpilogue::To::bytes;
    const op::QuantizedClamp clamp = op::quantized_clamp(activation);
    epilogue.low = clamp.low;
    epilogue.high = clamp.high;
    if (problem.has_input(op::kQResidual)) set_sum(problem, epilogue);
    return epilogue;
  }
  epilogue.to = ByteEpilogue::To::floats;
  const bool residual = problem.has_input(op::kQResidual);
  const bool last = residual && problem.attributes().get_int("residual_last", 0) != 0;
  epilogue.plain_floats = activation.empty() && !residual;
  epilogue.floats = make_epilogue(activation, last, isa_of(problem));
  return epilogue;
}

int64_t feature_numbers_size(int64_t features) {
  return (features + 31) / 16 * 16 * 4 * 4;
}

namespace {

// offsets and weight_zeros.
void fill_offsets(const GraphCall& call, const ByteEpilogue& epilogue, const WeightSums& weights, int64_t features,
                  FeatureNumbers& numbers) noexcept {
  const Problem& problem = *call.problem;
  const uint32_t x_zero = uint32_t(byte_at(call, op::kQXZero, 0) + (!weights.raw && epilogue.flip ? 128 : 0));
  const int32_t shift = !weights.raw && epilogue.shifted ? 128 : 0;
  const bool one_zero = !problem.has_input(op::kQWZero) || is_single(problem, op::kQWZero);
  const bool whole_bias = problem.has_input(op::kQBias) && problem.inputs[op::kQBias].dtype == DType::i32;
  const int32_t first_zero = byte_at(call, op::kQWZero, 0);
  const std::byte* group = weights.first;
  for (int64_t first = 0; first < features; first += weights.features, group += weights.group_stride) {
    const auto* sums = reinterpret_cast<const int32_t*>(group);
    for (int64_t j = 0; j < weights.features; ++j) {
      const int64_t f = first + j;
      const int32_t w_zero = (one_zero ? first_zero : byte_at(call, op::kQWZero, f)) - shift;
      numbers.weight_zeros[f] = w_zero;
      numbers.has_weight_zeros |= w_zero != 0;
      const uint32_t sum = uint32_t(sums[j]) - uint32_t(weights.columns) * uint32_t(w_zero);
      const uint32_t bias = whole_bias ? uint32_t(call.input<int32_t>(op::kQBias)[f]) : 0;
      numbers.offsets[f] = int32_t(bias - x_zero * sum);
    }
  }
}

// scales and bias, which float results need.
void fill_scales(const GraphCall& call, int64_t features, FeatureNumbers& numbers) noexcept {
  const Problem& problem = *call.problem;
  const bool one_scale = is_single(problem, op::kQScale);
  const float* scales = call.input(op::kQScale);
  const float x_scale =
      problem.has_input(op::kQXScale) ? *call.input(op::kQXScale) : 1.0f;  // a product with 1 is exact
  for (int64_t f = 0; f < features; ++f) numbers.scales[f] = x_scale * scales[one_scale ? 0 : f];
  if (problem.has_input(op::kQBias) && problem.inputs[op::kQBias].dtype == DType::f32) {
    std::copy(call.input(op::kQBias), call.input(op::kQBias) + features, numbers.bias);
  } else {
    numbers.bias = nullptr;
  }
}

}  // namespace

FeatureNumbers fill_features(const GraphCall& call, const ByteEpilogue& epilogue, const WeightSums& weights,
                             int64_t features, std::byte* scratch) noexcept {
  const int64_t length = (features + 31) / 16 * 16;
  FeatureNumbers numbers;
  numbers.offsets = reinterpret_cast<int32_t*>(scratch);
  numbers.weight_zeros = numbers.offsets + length;
  numbers.scales = reinterpret_cast<float*>(numbers.weight_zeros + length);
  numbers.bias = numbers.scales + length;
  numbers.y_zero = byte_at(call, op::kQYZero, 0);
  // What is read behind the last feature counts for nothing, but should be numbers.
  std::memset(scratch, 0, size_t(feature_numbers_size(features)));
  fill_offsets(call, epilogue, weights, features, numbers);
  if (epilogue.to != ByteEpilogue::To::sums) fill_scales(call, features, numbers);
  return numbers;
}

uint8_t x_zero_byte(const GraphCall& call) noexcept {
  return call.problem->has_input(op::kQXZero) ? *call.input<uint8_t>(op::kQXZero) : uint8_t(0);
}

namespace {

void finish_bytes(const GraphCall& call, const ByteTier& tier, const ByteEpilogue& epilogue, FinishBytesCall finish,
                  int64_t at) noexcept {
  const bool is_signed = call.problem->inputs[op::kQYZero].dtype == DType::i8;
  const float lowest = (is_signed ? -128.0f : 0.0f) - float(finish.zero);
  finish.y = call.output<uint8_t>() + at;
  if (!epilogue.sums_bytes) {
    finish.low = std::max(epilogue.low, lowest);
    finish.high = std::min(epilogue.high, lowest + 255.0f);
    return tier.to_bytes(finish);
  }
  finish.low = epilogue.low;
  finish.high = epilogue.high;
  tier.to_byte_sums({.product = finish,
                     .residual = call.input<uint8_t>(op::kQResidual) + at,
                     .residual_signed = call.problem->inputs[op::kQResidual].dtype == DType::i8,
                     .residual_zero = epilogue.residual_zero,
                     .residual_scale = epilogue.residual_scale,
                     .middle_scale = epilogue.middle_scale,
                     .low = std::max(epilogue.sum_low, lowest),
                     .high = std::min(epilogue.sum_high, lowest + 255.0f)});
}

}  // namespace

void finish_sums(const GraphCall& call, const ByteTier& tier, const ByteEpilogue& epilogue,
                 const FeatureNumbers& numbers, const ByteSums& sums) noexcept {
  const int64_t at = sums.row * sums.pitch + sums.feature;
  FinishBytesCall finish{.sums = sums.sums,
                         .row_count = sums.row_count,
                         .sum_stride = sums.sum_stride,
                         .features = sums.features,
                         .offsets = numbers.offsets + sums.feature,
                         .weight_zeros = sums.row_sums ? numbers.weight_zeros + sums.feature : nullptr,
                         .row_sums = sums.row_sums,
                         .scales = numbers.scales + sums.feature,
                         .bias = numbers.bias ? numbers.bias + sums.feature : nullptr,
                         .low = 0,
                         .high = 0,
                         .zero = numbers.y_zero,
                         .y = nullptr,
                         .stride = sums.pitch};
  switch (epilogue.to) {
    case ByteEpilogue::To::sums:
      finish.y = call.output<int32_t>() + at;
      return tier.to_sums(finish);
    case ByteEpilogue::To::bytes:
      return finish_bytes(call, tier, epilogue, finish, at);
    case ByteEpilogue::To::floats:
      break;
  }
  if (epilogue.plain_floats) {
    finish.y = call.output() + at;
    return tier.to_floats(finish);
  }
  float* floats = reinterpret_cast<float*>(sums.sums);  // each vector of sums is read before its floats are written
  finish.y = floats;
  finish.stride = sums.sum_stride;
  tier.to_floats(finish);
  const float* residual = call.input(op::kQResidual);
  finish_rows(conv_tier(*call.problem), epilogue.floats,
              {.sums = floats,
               .sum_stride = sums.sum_stride,
               .count = sums.row_count,
               .features = sums.features,
               .bias = nullptr,
               .residual = residual ? residual + at : nullptr,
               .y = call.output() + at,
               .pitch = sums.pitch});
}

}  // namespace lathe::backend::cpu
