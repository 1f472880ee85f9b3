#include "backend/cpu/winograd.h"

#include "backend/cpu/half_layouts.h"
#include "backend/cpu/tiers.h"
#include "backend/cpu/winograd_tiles.h"

namespace lathe::backend::cpu {
namespace {

constexpr double kG[6][3] = {{1.0 / 4, 0, 0},
                             {-1.0 / 6, -1.0 / 6, -1.0 / 6},
                             {-1.0 / 6, 1.0 / 6, -1.0 / 6},
                             {1.0 / 24, 1.0 / 12, 1.0 / 6},
                             {1.0 / 24, -1.0 / 12, 1.0 / 6},
                             {0, 0, 1}};

}  // namespace

void transform_kernel(const float* kernel, double* planes) {
  double half[6][3];
  for (int i = 0; i < 6; ++i) {
    for (int j = 0; j < 3; ++j) {
      half[i][j] = 0;
      for (int k = 0; k < 3; ++k) half[i][j] += kG[i][k] * double(kernel[k * 3 + j]);
    }
  }
  for (int i = 0; i < 6; ++i) {
    for (int j = 0; j < 6; ++j) {
      double sum = 0;
      for (int k = 0; k < 3; ++k) sum += half[i][k] * kG[j][k];
      planes[i * 6 + j] = sum;
    }
  }
}

void finish_winograd_tile(const GraphCall& call, const WinogradTiles& tiles, const Epilogue& epilogue,
                          const WinogradFinish& finish) noexcept {
  const WinogradTiles::Tile tile = tiles.at(finish.tile);
  winograd_tier(*call.problem).output(finish.m, finish.m_stride, finish.width, finish.out, finish.width);
  const int64_t columns = std::min(kWinogradOutput, tiles.out_width - tile.column);
  for (int64_t i = 0; i < std::min(kWinogradOutput, tiles.out_height - tile.row); ++i) {
    const int64_t row = (tile.image * tiles.out_height + tile.row + i) * tiles.out_width + tile.column;
    finish_rows(conv_tier(*call.problem), epilogue,
                conv_rows(call, finish.out + i * kWinogradOutput * finish.width, finish.width, row, columns,
                          finish.feature, finish.features, tiles.features));
  }
}

bool transforms_weights(const Problem& problem) {
  constexpr int64_t kLeastWidth = 64, kLeastTiles = 8;
  const ProblemValue& w = problem.inputs[kConvWeights];
  const op::Attributes& attributes = problem.attributes();
  if (w.layout != kConvPanel && w.layout != kConvBf16 && w.layout != kConvF16) return false;
  if (attributes.get_string("compute", "f32") != "f32") return false;  // what is rounded is not what is multiplied here
  if (w.dims.size() != 4 || w.dims[2] != 3 || w.dims[3] != 3) return false;
  const auto ones = [&](const char* name) {
    const auto values = attributes.find_ints(name).value_or(tensor::Dims{});
    return std::all_of(values.begin(), values.end(), [](int64_t value) { return value == 1; });
  };
  if (attributes.get_int("group", 1) != 1 || !ones("strides") || !ones("dilations")) return false;
  if (w.dims[0] < kLeastWidth || w.dims[1] < kLeastWidth) return false;
  return winograd_tiles(problem).tiles >= kLeastTiles;
}

}  // namespace lathe::backend::cpu
