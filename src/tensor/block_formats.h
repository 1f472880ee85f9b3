// The decoders behind BlockFormat::dequantise, one per GGUF block type, and what they share.
//
// Each decoder writes one block. Layouts are given as fields in file order; d, m, dmin are binary16. The
// order of the floating-point operations is part of the definition: results are equal bit for bit to the
// format's reference, so no decoder may be rearranged (or contracted to fma).
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "base/numbers.h"

namespace lathe::tensor::blocks {

// A decoder of one block. `in` is unaligned.
using DecodeBlock = void(const uint8_t* __restrict in, float* __restrict out);

// block_legacy.cpp: 32 elements with one scale, and the 1- and 2-bit types.
DecodeBlock q4_0, q4_1, q5_0, q5_1, q8_0, q8_1, q1_0, q2_0, tq1_0, tq2_0;
// block_k.cpp: 256 elements with quantised scales.
DecodeBlock q2_k, q3_k, q4_k, q5_k, q6_k, q8_k;
// block_codebook.cpp: elements are indices into a codebook.
DecodeBlock iq2_xxs, iq2_xs, iq2_s, iq3_xxs, iq3_s, iq1_s, iq1_m, iq4_nl, iq4_xs, mxfp4, nvfp4;

inline uint16_t load_u16(const uint8_t* in) {
  return uint16_t(in[0] | in[1] << 8);
}
inline uint32_t load_u32(const uint8_t* in) {
  return uint32_t(load_u16(in)) | uint32_t(load_u16(in + 2)) << 16;
}
inline float load_f16(const uint8_t* in) {
  return f16_to_f32(load_u16(in));
}
inline float load_f32(const uint8_t* in) {
  return std::bit_cast<float>(load_u32(in));
}

}  // namespace lathe::tensor::blocks
