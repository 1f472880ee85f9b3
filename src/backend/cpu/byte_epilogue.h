// What follows the integer sums of lathe.QConv and lathe.QLinear (op/quantized_product.h): zero points and scales of
// each feature, and the way to i32, f32 or bytes.
#pragma once

#include "backend/cpu/byte_products.h"
#include "backend/cpu/epilogue.h"
#include "backend/graph_kernel.h"

namespace lathe::backend::cpu {

struct ByteEpilogue {
  enum class To : uint8_t { sums, floats, bytes } to = To::sums;
  bool flip = false;          // x is signed
  bool shifted = false;       // weights are packed less 128
  bool plain_floats = false;  // no residual, no activation
  Epilogue floats;
  float low = 0, high = 0;  // of bytes
  bool sums_bytes = false;  // bytes with a residual of bytes
  float middle_scale = 0, residual_zero = 0, residual_scale = 0;
  float sum_low = 0, sum_high = 0;
};
ByteEpilogue make_byte_epilogue(const Problem& problem);

// The numbers of every feature, which depend on inputs that only the run may know. Each member has its own.
struct FeatureNumbers {
  int32_t* offsets;
  int32_t* weight_zeros;
  float* scales;
  float* bias;
  bool has_weight_zeros = false;  // one that is not 0
  int32_t y_zero = 0;
  float y_low = 0;  // the least byte less y_zero
};
// Bytes of scratch that they take.
int64_t feature_numbers_size(int64_t features);

// What weights add to the sums: sums of each feature as they are packed, in groups of `features`.
struct WeightSums {
  const std::byte* first;
  int64_t group_stride;  // bytes
  int64_t features;      // of a group
  int64_t columns;       // of a row
  bool raw;              // neither x nor weights are moved
};
FeatureNumbers fill_features(const GraphCall& call, const ByteEpilogue& epilogue, const WeightSums& weights,
                             int64_t features, std::byte* scratch) noexcept;
// x's zero point as x is stored.
uint8_t x_zero_byte(const GraphCall& call) noexcept;

// Where the sums of a tile belong: rows from `row` on, `features` features from `feature` on.
struct TilePlace {
  int64_t row;
  int64_t feature, features;
  int64_t pitch;        // features of a row of y
  int64_t row_columns;  // of a tap, without what fills it up
};
// The tile's products, and y from them. Its sums may be overwritten.
void run_byte_tile(const GraphCall& call, const ByteTier& tier, const ByteEpilogue& epilogue,
                   const FeatureNumbers& numbers, const ByteTileCall& tile, const TilePlace& place) noexcept;
// The same of sums that are there already: one row of all features.
void finish_byte_row(const GraphCall& call, const ByteTier& tier, const ByteEpilogue& epilogue,
                     const FeatureNumbers& numbers, int32_t* sums, const TilePlace& place) noexcept;

}  // namespace lathe::backend::cpu
