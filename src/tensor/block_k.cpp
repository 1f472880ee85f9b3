#include "tensor/block_formats.h"

namespace lathe::tensor::blocks {
namespace {

// q4_k and q5_k: eight 6-bit scales and minima in 12 bytes. Of pair j < 4 they are the low 6 bits of bytes j
// and j + 4; of pair j + 4 the low 4 bits are the nibbles of byte j + 8, the high 2 the top bits of bytes j
// and j + 4.
struct ScalesAndMinima {
  uint8_t scale[8];
  uint8_t min[8];
};

ScalesAndMinima unpack_scales(const uint8_t* packed) {
  ScalesAndMinima result;
  for (int j = 0; j < 4; ++j) {
    result.scale[j] = packed[j] & 63;
    result.min[j] = packed[j + 4] & 63;
    result.scale[j + 4] = uint8_t((packed[j + 8] & 15) | (packed[j] >> 6) << 4);
    result.min[j + 4] = uint8_t((packed[j + 8] >> 4) | (packed[j + 4] >> 6) << 4);
  }
  return result;
}

}  // namespace

// {scales[16]; qs[64]; d; dmin}: per 16 elements a scale (low nibble) and a minimum (high nibble). Each 32
// bytes of qs hold 128 elements, the lowest two bits being the first 32.
void q2_k(const uint8_t* __restrict in, float* __restrict out) {
  const uint8_t* qs = in + 16;
  const float d = load_f16(in + 80);
  const float dmin = load_f16(in + 82);
  for (int group = 0; group < 16; ++group) {
    const float scale = d * float(in[group] & 15);
    const float min = dmin * float(in[group] >> 4);
    const uint8_t* q = qs + group / 8 * 32 + group % 2 * 16;
    const int shift = group % 8 / 2 * 2;
    for (int j = 0; j < 16; ++j) out[group * 16 + j] = scale * float(q[j] >> shift & 3) - min;
  }
}

// {hmask[32]; qs[64]; scales[12]; d}: low two bits as in q2_k; where the bit of hmask (one bit per 32
// elements) is clear, 4 is subtracted. Scale j: low 4 bits are nibbles of bytes 0..7 (low nibbles first),
// high 2 bits lie in byte 8 + j % 4 at 2 * (j / 4); less 32.
void q3_k(const uint8_t* __restrict in, float* __restrict out) {
  const uint8_t* qs = in + 32;
  const uint8_t* scales = in + 96;
  const float d = load_f16(in + 108);
  for (int group = 0; group < 16; ++group) {
    const int low = group < 8 ? scales[group] & 15 : scales[group - 8] >> 4;
    const int high = scales[8 + group % 4] >> (group / 4 * 2) & 3;
    const float scale = d * float((low | high << 4) - 32);
    const uint8_t* q = qs + group / 8 * 32 + group % 2 * 16;
    const uint8_t* h = in + group % 2 * 16;
    const int shift = group % 8 / 2 * 2;
    for (int j = 0; j < 16; ++j) {
      const int bit = h[j] >> (group / 2) & 1;
      out[group * 16 + j] = scale * float((q[j] >> shift & 3) - (4 - 4 * bit));
    }
  }
}

// {d; dmin; scales[12]; qs[128]}: each 32 bytes hold 64 elements, the low nibbles being the first 32.
void q4_k(const uint8_t* __restrict in, float* __restrict out) {
  const float d = load_f16(in);
  const float dmin = load_f16(in + 2);
  const ScalesAndMinima packed = unpack_scales(in + 4);
  for (int group = 0; group < 8; ++group) {
    const float scale = d * float(packed.scale[group]);
    const float min = dmin * float(packed.min[group]);
    const uint8_t* q = in + 16 + group / 2 * 32;
    const int shift = group % 2 * 4;
    for (int j = 0; j < 32; ++j) out[group * 32 + j] = scale * float(q[j] >> shift & 15) - min;
  }
}

// {d; dmin; scales[12]; qh[32]; qs[128]}: as q4_k, with bit `group` of qh[j] as the fifth bit.
void q5_k(const uint8_t* __restrict in, float* __restrict out) {
  const float d = load_f16(in);
  const float dmin = load_f16(in + 2);
  const ScalesAndMinima packed = unpack_scales(in + 4);
  const uint8_t* qh = in + 16;
  for (int group = 0; group < 8; ++group) {
    const float scale = d * float(packed.scale[group]);
    const float min = dmin * float(packed.min[group]);
    const uint8_t* q = in + 48 + group / 2 * 32;
    const int shift = group % 2 * 4;
    for (int j = 0; j < 32; ++j) {
      const int value = (q[j] >> shift & 15) | (qh[j] >> group & 1) << 4;
      out[group * 32 + j] = scale * float(value) - min;
    }
  }
}

// {ql[128]; qh[64]; i8 scales[16]; d}: per half of 128 elements, four runs of 32; low nibbles of ql[0..63]
// are runs 0 and 1, high nibbles runs 2 and 3; run r has its upper two bits at 2 r of qh. Less 32.
void q6_k(const uint8_t* __restrict in, float* __restrict out) {
  const float d = load_f16(in + 208);
  for (int run = 0; run < 8; ++run) {
    const uint8_t* ql = in + run / 4 * 64 + run % 2 * 32;
    const uint8_t* qh = in + 128 + run / 4 * 32;
    const int low_shift = run % 4 / 2 * 4;
    const int high_shift = run % 4 * 2;
    for (int part = 0; part < 2; ++part) {
      const float scale = d * float(int8_t(in[192 + run * 2 + part]));
      for (int j = part * 16; j < part * 16 + 16; ++j) {
        const int value = (ql[j] >> low_shift & 15) | (qh[j] >> high_shift & 3) << 4;
        out[run * 32 + j] = scale * float(value - 32);
      }
    }
  }
}

// {f32 d; i8 qs[256]; i16 sums[16]}: the sums serve dot products only.
void q8_k(const uint8_t* __restrict in, float* __restrict out) {
  const float d = load_f32(in);
  for (int j = 0; j < 256; ++j) out[j] = d * float(int8_t(in[4 + j]));
}

}  // namespace lathe::tensor::blocks
