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
  epilogue.residual_scale = sum.residual_scale;
  epilogue.residual_zero = sum.residual_zero;
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
  const Problem& problem = *call.problem;
  const int64_t length = (features + 31) / 16 * 16;
  FeatureNumbers numbers;
  numbers.offsets = reinterpret_cast<int32_t*>(scratch);
  numbers.weight_zeros = numbers.offsets + length;
  numbers.scales = reinterpret_cast<float*>(numbers.weight_zeros + length);
  numbers.bias = numbers.scales + length;
  numbers.y_zero = byte_at(call, op::kQYZero, 0);
  const bool is_signed = problem.has_input(op::kQYZero) && problem.inputs[op::kQYZero].dtype == DType::i8;
  numbers.y_low = (is_signed ? -128.0f : 0.0f) - float(numbers.y_zero);
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

// The call for sums of these rows, its clamp and y set for bytes.
FinishBytesCall finish_call(const GraphCall& call, const ByteEpilogue& epilogue, const FeatureNumbers& numbers,
                            const ByteTileCall& tile, const TilePlace& place) noexcept {
  FinishBytesCall finish{.sums = tile.sums,
                         .row_count = tile.row_count,
                         .sum_stride = tile.sum_stride,
                         .features = place.features,
                         .offsets = numbers.offsets + place.feature,
                         .weight_zeros = nullptr,
                         .row_sums = nullptr,
                         .scales = numbers.scales + place.feature,
                         .bias = numbers.bias ? numbers.bias + place.feature : nullptr,
                         .low = epilogue.low,
                         .high = epilogue.high,
                         .zero = numbers.y_zero,
                         .y = nullptr,
                         .stride = place.pitch};
  if (epilogue.to != ByteEpilogue::To::bytes) return finish;
  finish.y = call.output<uint8_t>() + place.row * place.pitch + place.feature;
  if (!epilogue.sums_bytes) {
    finish.low = std::max(epilogue.low, numbers.y_low);
    finish.high = std::min(epilogue.high, numbers.y_low + 255.0f);
  }
  return finish;
}

SumBytesCall sum_call(const GraphCall& call, const ByteEpilogue& epilogue, const FeatureNumbers& numbers,
                      const FinishBytesCall& finish, const TilePlace& place) noexcept {
  return {.product = finish,
          .residual = call.input<uint8_t>(op::kQResidual) + place.row * place.pitch + place.feature,
          .residual_signed = call.problem->inputs[op::kQResidual].dtype == DType::i8,
          .residual_zero = epilogue.residual_zero,
          .residual_scale = epilogue.residual_scale,
          .middle_scale = epilogue.middle_scale,
          .low = std::max(epilogue.sum_low, numbers.y_low),
          .high = std::min(epilogue.sum_high, numbers.y_low + 255.0f)};
}

void finish_floats(const GraphCall& call, const ByteTier& tier, const ByteEpilogue& epilogue, FinishBytesCall finish,
                   int32_t* sums, const TilePlace& place) noexcept {
  const int64_t at = place.row * place.pitch + place.feature;
  if (epilogue.plain_floats) {
    finish.y = call.output() + at;
    return tier.to_floats(finish);
  }
  float* floats = reinterpret_cast<float*>(sums);  // each vector of sums is read before its floats are written
  finish.y = floats;
  finish.stride = finish.sum_stride;
  tier.to_floats(finish);
  const float* residual = call.input(op::kQResidual);
  finish_rows(conv_tier(*call.problem), epilogue.floats,
              {.sums = floats,
               .sum_stride = finish.sum_stride,
               .count = finish.row_count,
               .features = place.features,
               .bias = nullptr,
               .residual = residual ? residual + at : nullptr,
               .y = call.output() + at,
               .pitch = place.pitch});
}

void finish_sums(const GraphCall& call, const ByteTier& tier, const ByteEpilogue& epilogue,
                 const FeatureNumbers& numbers, FinishBytesCall finish, int32_t* sums,
                 const TilePlace& place) noexcept {
  switch (epilogue.to) {
    case ByteEpilogue::To::sums:
      finish.y = call.output<int32_t>() + place.row * place.pitch + place.feature;
      return tier.to_sums(finish);
    case ByteEpilogue::To::bytes:
      if (epilogue.sums_bytes) return tier.to_byte_sums(sum_call(call, epilogue, numbers, finish, place));
      return tier.to_bytes(finish);
    case ByteEpilogue::To::floats:
      return finish_floats(call, tier, epilogue, finish, sums, place);
  }
}

}  // namespace

void run_byte_tile(const GraphCall& call, const ByteTier& tier, const ByteEpilogue& epilogue,
                   const FeatureNumbers& numbers, const ByteTileCall& tile, const TilePlace& place) noexcept {
  FinishBytesCall finish = finish_call(call, epilogue, numbers, tile, place);
  const bool whole = tile.panel_count == tier.max_panels && tile.row_count == tier.tile_rows[tile.panel_count] &&
                     place.features == tile.panel_count * 16;
  if (whole && epilogue.to == ByteEpilogue::To::bytes && !numbers.has_weight_zeros) {
    if (!epilogue.sums_bytes) return tier.tile_to_bytes(tile, finish);
    return tier.tile_to_byte_sums(tile, sum_call(call, epilogue, numbers, finish, place));
  }
  tier.tile(tile);
  int32_t row_sums[kMaxByteRows];
  if (numbers.has_weight_zeros) {
    ByteTileCall columns = tile;
    columns.columns = place.row_columns;
    tier.row_sums(columns, row_sums);
    finish.weight_zeros = numbers.weight_zeros + place.feature;
    finish.row_sums = row_sums;
  }
  finish_sums(call, tier, epilogue, numbers, finish, tile.sums, place);
}

void finish_byte_row(const GraphCall& call, const ByteTier& tier, const ByteEpilogue& epilogue,
                     const FeatureNumbers& numbers, int32_t* sums, const TilePlace& place) noexcept {
  const ByteTileCall row{.rows = nullptr,
                         .row_count = 1,
                         .taps = 0,
                         .columns = 0,
                         .flip = false,
                         .panels = nullptr,
                         .panel_stride = 0,
                         .panel_count = 0,
                         .sums = sums,
                         .sum_stride = place.features};
  finish_sums(call, tier, epilogue, numbers, finish_call(call, epilogue, numbers, row, place), sums, place);
}

}  // namespace lathe::backend::cpu
