// From packed blocks to panels of bytes with their scales, for products of many tokens. For tier files only.
#pragma once

#include "backend/cpu/linear_decode.h"
#include "backend/cpu/linear_tier.h"

namespace lathe::backend::cpu::LATHE_TIER {
namespace {

// A chunk of one panel as products of bytes read it. Codes: [column / 4][16 rows][4], signed and without their
// offset on AVX-512, as stored on AVX2.
struct CodePanel {
  int8_t codes[kChunkColumns * 16];
  float scales[kChunkColumns / 16 * 16];    // [32-column group][kScales][16]
  float minima[kChunkColumns / 32 * 16];    // [group][16]
  int32_t biases[kChunkColumns / 16 * 16];  // AVX-512, as scales: -128 times the sum of the codes
};
static_assert(2 * sizeof(CodePanel) <= kWorkSize);

template <Layout kLayout>
void unpack_codes(const std::byte* chunk, int blocks, CodePanel& out) {
  using D = Decoder<kLayout>;
  const D decoder(chunk, blocks);
  for (int b = 0; b < blocks; ++b) {
    for (int v = 0; v < kPanelVectors; ++v) {
      const int lane = v * kWidth;
      I32 sums[2] = {splat_i32(0), splat_i32(0)};
      const auto step = [&]<int J>() __attribute__((always_inline)) {
        I32 w[2];
        decoder.template codes<J>(b, v, w[0], w[1]);
        for (int half = 0; half < 2; ++half) {
          if constexpr (kIsAvx512) {
            if constexpr (D::kHasOffset) w[half] = sub_i8(w[half], splat_i32(0x01010101 << D::kOffsetBits));
            sums[half] = dot_u8_s8(sums[half], splat_i32(int32_t(0x80808080)), w[half]);
          }
          store_i32(out.codes + ((8 * b + 4 * half + J) * 16 + lane) * 4, w[half]);
        }
      };
      step.template operator()<0>();
      step.template operator()<1>();
      step.template operator()<2>();
      step.template operator()<3>();
      if constexpr (D::kScales == 1) sums[0] = add_i32(sums[0], sums[1]);
      for (int s = 0; s < D::kScales; ++s) {
        const int i = (b * D::kScales + s) * 16 + lane;
        store(out.scales + i, decoder.scale(b, s, v));
        if constexpr (kIsAvx512) {
          const I32 all = splat_i32(-1);
          store_i32(out.biases + i, add_i32(xor_bits(sums[s], all), splat_i32(1)));
        }
      }
      if constexpr (D::kHasMin) store(out.minima + b * 16 + lane, decoder.minimum(b, v));
    }
  }
}

}  // namespace
}  // namespace lathe::backend::cpu::LATHE_TIER
