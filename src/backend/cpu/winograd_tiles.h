// Where the tiles of F(4x4, 3x3) lie in a convolution's input and output, and which convolutions have such tiles.
#pragma once

#include <algorithm>

#include "backend/cpu/conv_epilogue.h"
#include "backend/cpu/graph_layouts.h"
#include "backend/cpu/winograd.h"
#include "op/sliding_windows.h"

namespace lathe::backend::cpu {

struct WinogradTiles {
  int64_t batch, channels, features;
  int64_t height, width, out_height, out_width, top, left;
  int64_t tile_rows, tile_columns, tiles;  // of all images

  struct Tile {
    int64_t image, row, column;  // of its first output
  };
  Tile at(int64_t number) const noexcept {
    const int64_t per_image = tile_rows * tile_columns;
    const int64_t rest = number % per_image;
    return {number / per_image, rest / tile_columns * kWinogradOutput, rest % tile_columns * kWinogradOutput};
  }
  // The 36 rows of channels that a tile sees; `zeros` where it lies in the padding. x: [batch, height, width,
  // channels].
  void rows_of(int64_t number, const float* x, const float* zeros, const float** rows) const noexcept {
    const Tile tile = at(number);
    for (int64_t i = 0; i < kWinogradInput; ++i) {
      const int64_t y = tile.row + i - top;
      for (int64_t j = 0; j < kWinogradInput; ++j) {
        const int64_t column = tile.column + j - left;
        const bool inside = y >= 0 && y < height && column >= 0 && column < width;
        rows[i * kWinogradInput + j] = inside ? x + ((tile.image * height + y) * width + column) * channels : zeros;
      }
    }
  }
};

inline WinogradTiles winograd_tiles(const Problem& problem) {
  const tensor::Dims& x = problem.inputs[kConvX].dims;
  const tensor::Dims& w = problem.inputs[kConvWeights].dims;
  const tensor::Shape kernel = {3, 3};
  const op::Windows windows = op::plan_windows("Conv", problem.attributes(), x, &kernel);
  WinogradTiles t{};
  t.batch = x[0];
  t.channels = w[1];
  t.features = w[0];
  t.height = x[2];
  t.width = x[3];
  t.out_height = windows.counts[0];
  t.out_width = windows.counts[1];
  t.top = windows.begins[0];
  t.left = windows.begins[1];
  t.tile_rows = (t.out_height + kWinogradOutput - 1) / kWinogradOutput;
  t.tile_columns = (t.out_width + kWinogradOutput - 1) / kWinogradOutput;
  t.tiles = t.batch * t.tile_rows * t.tile_columns;
  return t;
}

// The outputs of a tile, [position][stride], out of its 36 planes m (as WinogradTier::output takes them, `width`
// features in whole panels), through the epilogue to features [feature, feature + features).
struct WinogradFinish {
  int64_t tile;
  const float* m;
  int64_t m_stride, width;
  float* out;  // [16][width] of scratch
  int64_t feature, features;
};
void finish_winograd_tile(const GraphCall& call, const WinogradTiles& tiles, const Epilogue& epilogue,
                          const WinogradFinish& finish) noexcept;

// What every kernel of such tiles wants of its inputs and output.
inline void set_channels_last(Problem& problem) {
  problem.inputs[kConvX].order = Order::channels_last;
  if (problem.has_input(kConvResidual)) problem.inputs[kConvResidual].order = Order::channels_last;
  problem.outputs[0].order = Order::channels_last;
}

// Whether a convolution whose weights are too many to be kept transformed (conv_panel) is worth transforming them at
// each call: kernels of 3 x 3, one step at a time, wide, and enough tiles.
bool transforms_weights(const Problem& problem);

}  // namespace lathe::backend::cpu
