// Convolutions of 3 x 3 by tiles of 4 x 4 outputs: F(4x4, 3x3) of Lavin and Gray (2015, arXiv:1509.09308), 36 products
// of matrices where direct convolution has 144 multiplications for each pair of channels.
#pragma once

#include <stdint.h>

namespace lathe::backend::cpu {

constexpr int64_t kWinogradInput = 6;   // a tile sees 6 x 6 inputs
constexpr int64_t kWinogradOutput = 4;  // and gives 4 x 4 outputs
constexpr int64_t kWinogradPlanes = kWinogradInput * kWinogradInput;

struct WinogradTier {
  // v[plane * stride + c] = (B' d B)[plane] for channels c < count; rows[36]: where the tile's inputs lie.
  void (*input)(const float* const* rows, int64_t count, float* v, int64_t stride);
  // out[position * out_stride + j] = (A' m A)[position], 16 positions, for features j < count (a multiple of 16), m as
  // v.
  void (*output)(const float* m, int64_t stride, int64_t count, float* out, int64_t out_stride);
  // out[plane * out_stride + j] = transform_kernel of the kernel at kernels + j * stride, to the bit, for j < 16; zero
  // from `count` on.
  void (*weights)(const float* kernels, int64_t stride, int64_t count, float* out, int64_t out_stride);
  // u[plane * stride + c * 16 + j] = (G g G')[plane] of a panel of 16 kernels, tap t of channel c at
  // panel[(t * channels + c) * 16 + j].
  void (*panel_weights)(const float* panel, int64_t channels, float* u, int64_t stride);
};

// The 36 planes of a kernel of 3 x 3: G g G', in doubles.
void transform_kernel(const float* kernel, double* planes);

namespace avx2 {
extern const WinogradTier kWinogradTier;
}
namespace avx512 {
extern const WinogradTier kWinogradTier;
}

}  // namespace lathe::backend::cpu
