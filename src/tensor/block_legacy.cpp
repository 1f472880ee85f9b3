#include "tensor/block_formats.h"

namespace lathe::tensor::blocks {

// {d; qs[16]}: element j is the low nibble of byte j, element j + 16 the high one. Likewise in q4_1, q5_0,
// q5_1.
void q4_0(const uint8_t* __restrict in, float* __restrict out) {
  const float d = load_f16(in);
  const uint8_t* qs = in + 2;
  for (int j = 0; j < 16; ++j) out[j] = d * float((qs[j] & 15) - 8);
  for (int j = 0; j < 16; ++j) out[j + 16] = d * float((qs[j] >> 4) - 8);
}

// {d; m; qs[16]}
void q4_1(const uint8_t* __restrict in, float* __restrict out) {
  const float d = load_f16(in);
  const float m = load_f16(in + 2);
  const uint8_t* qs = in + 4;
  for (int j = 0; j < 16; ++j) out[j] = d * float(qs[j] & 15) + m;
  for (int j = 0; j < 16; ++j) out[j + 16] = d * float(qs[j] >> 4) + m;
}

// {d; qh[4]; qs[16]}: bit j of qh is the fifth bit of element j.
void q5_0(const uint8_t* __restrict in, float* __restrict out) {
  const float d = load_f16(in);
  const uint32_t qh = load_u32(in + 2);
  const uint8_t* qs = in + 6;
  for (int j = 0; j < 16; ++j) {
    out[j] = d * float(int((qs[j] & 15) | (qh >> j & 1) << 4) - 16);
    out[j + 16] = d * float(int((qs[j] >> 4) | (qh >> (j + 16) & 1) << 4) - 16);
  }
}

// {d; m; qh[4]; qs[16]}
void q5_1(const uint8_t* __restrict in, float* __restrict out) {
  const float d = load_f16(in);
  const float m = load_f16(in + 2);
  const uint32_t qh = load_u32(in + 4);
  const uint8_t* qs = in + 8;
  for (int j = 0; j < 16; ++j) {
    out[j] = d * float((qs[j] & 15) | (qh >> j & 1) << 4) + m;
    out[j + 16] = d * float((qs[j] >> 4) | (qh >> (j + 16) & 1) << 4) + m;
  }
}

// {d; i8 qs[32]}
void q8_0(const uint8_t* __restrict in, float* __restrict out) {
  const float d = load_f16(in);
  for (int j = 0; j < 32; ++j) out[j] = float(int8_t(in[2 + j])) * d;
}

// {d; s; i8 qs[32]}: s = d * sum(qs) serves dot products only.
void q8_1(const uint8_t* __restrict in, float* __restrict out) {
  const float d = load_f16(in);
  for (int j = 0; j < 32; ++j) out[j] = float(int8_t(in[4 + j])) * d;
}

// {d; qs[16]}: bit j of qs, lowest first, says +d or -d.
void q1_0(const uint8_t* __restrict in, float* __restrict out) {
  const float d = load_f16(in);
  for (int j = 0; j < 128; ++j) out[j] = in[2 + j / 8] >> (j % 8) & 1 ? d : -d;
}

// {d; qs[16]}: 2-bit numbers, lowest first, less 1.
void q2_0(const uint8_t* __restrict in, float* __restrict out) {
  const float d = load_f16(in);
  for (int j = 0; j < 64; ++j) out[j] = float((in[2 + j / 4] >> (j % 4 * 2) & 3) - 1) * d;
}

// {qs[48]; qh[4]; d}: five base-3 digits a byte (four in qh), as a fraction of 256 whose digits come out at
// the top after multiplying by powers of 3 modulo 256. Elements run over the bytes of a group first, then the
// digits.
void tq1_0(const uint8_t* __restrict in, float* __restrict out) {
  const float d = load_f16(in + 52);
  const auto decode = [&](const uint8_t* bytes, int count, int digits) {
    uint8_t power = 1;
    for (int digit = 0; digit < digits; ++digit, power = uint8_t(power * 3)) {
      for (int j = 0; j < count; ++j) {
        const int value = uint8_t(bytes[j] * power) * 3 >> 8;
        *out++ = d * float(value - 1);
      }
    }
  };
  decode(in, 32, 5);
  decode(in + 32, 16, 5);
  decode(in + 48, 4, 4);
}

// {qs[64]; d}: 2-bit numbers less 1; each 32 bytes hold 128 elements, the lowest bits being the first 32.
void tq2_0(const uint8_t* __restrict in, float* __restrict out) {
  const float d = load_f16(in + 64);
  for (int half = 0; half < 2; ++half) {
    for (int part = 0; part < 4; ++part) {
      for (int j = 0; j < 32; ++j) {
        out[half * 128 + part * 32 + j] = d * float((in[half * 32 + j] >> (part * 2) & 3) - 1);
      }
    }
  }
}

}  // namespace lathe::tensor::blocks
