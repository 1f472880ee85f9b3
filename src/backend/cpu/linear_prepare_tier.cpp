// The two ends of linear: norm and rounding of activations before the products, bias to residual after them.
#include <string.h>

#include "backend/cpu/linear_layout.h"
#include "backend/cpu/linear_tier.h"
#include "backend/cpu/simd.h"

namespace lathe::backend::cpu::LATHE_TIER {
namespace {

// Sums in 16 lanes whatever the vector is, folded in one order: both tiers get the same bits.
struct LaneSum {
  F32 lanes[kPanelVectors];
  LaneSum() {
    for (F32& lane : lanes) lane = zero();
  }
  float total() const {
    float values[16];
    for (int v = 0; v < kPanelVectors; ++v) store(values + v * kWidth, lanes[v]);
    for (int width = 8; width > 0; width /= 2) {
      for (int i = 0; i < width; ++i) values[i] += values[i + width];
    }
    return values[0];
  }
};

// The sum over a row of (x - mean)^2, or of x.
template <bool kSquares>
float row_sum(const float* x, int64_t columns, float mean) {
  LaneSum sum;
  const F32 centre = splat(mean);
  const auto add_to = [&](F32& lane, F32 value) {
    if constexpr (kSquares) {
      const F32 d = sub(value, centre);
      lane = fma(d, d, lane);
    } else {
      lane = add(lane, value);
    }
  };
  int64_t c = 0;
  for (; c + 16 <= columns; c += 16) {
    for (int v = 0; v < kPanelVectors; ++v) add_to(sum.lanes[v], load(x + c + v * kWidth));
  }
  for (int v = 0; c < columns; ++v, c += kWidth) {
    const int count = int(columns - c < kWidth ? columns - c : kWidth);
    const F32 value = count == kWidth ? load(x + c) : load_part(x + c, count);
    add_to(sum.lanes[v], keep_first(value, count, centre));
  }
  return sum.total();
}

void normalise(const PrepareCall& call, const float* x, float* out) {
  const int64_t columns = call.columns;
  float mean = 0;
  if (call.norm == Norm::layer) mean = row_sum<false>(x, columns, 0) / float(columns);
  const float variance = row_sum<true>(x, columns, mean) / float(columns);
  const float inverse = 1.0f / __builtin_sqrtf(variance + call.epsilon);
  for (int64_t c = 0; c < columns; c += kWidth) {
    const int count = int(columns - c < kWidth ? columns - c : kWidth);
    const auto read = [&](const float* p) { return count == kWidth ? load(p + c) : load_part(p + c, count); };
    F32 y = mul(sub(read(x), splat(mean)), splat(inverse));
    if (call.norm_scale) y = mul(y, read(call.norm_scale));
    if (call.norm_bias) y = add(y, read(call.norm_bias));
    if (count == kWidth) {
      store(out + c, y);
    } else {
      store_part(out + c, y, count);
    }
  }
}

// Rounds a row of floats to fp16 or bf16 and back, in place.
template <bool kBf16>
void round_row(float* row, int64_t columns) {
  alignas(64) uint16_t bits[kWidth];
  for (int64_t c = 0; c < columns; c += kWidth) {
    const int count = int(columns - c < kWidth ? columns - c : kWidth);
    const F32 x = count == kWidth ? load(row + c) : load_part(row + c, count);
    F32 y;
    if constexpr (kBf16) {
      store_bf16(bits, x);
      y = load_bf16(bits);
    } else {
      store_f16(bits, x);
      y = load_f16(bits);
    }
    if (count == kWidth) {
      store(row + c, y);
    } else {
      store_part(row + c, y, count);
    }
  }
}

void round_row_to_bf16(const float* row, int64_t columns, uint16_t* out) {
  alignas(64) uint16_t bits[kWidth];
  for (int64_t c = 0; c < columns; c += kWidth) {
    const int count = int(columns - c < kWidth ? columns - c : kWidth);
    store_bf16(bits, count == kWidth ? load(row + c) : load_part(row + c, count));
    memcpy(out + c, bits, size_t(count) * 2);
  }
}

struct RoundedBlock {
  float scale;
  int32_t sums[2];  // of the first and the last 16 codes
};

// 32 floats to codes of 8 or 16 bits: to nearest even of x * (127 or 32767 / largest magnitude). Largest magnitudes
// below 2^-120, whose inverse could overflow, count as zero; an infinity or a NaN makes the scale infinite or NaN, and
// every output that uses it NaN.
template <class Code>
inline RoundedBlock round_block(const float* x, Code* codes) {
  constexpr float kLargest = sizeof(Code) == 1 ? 127.0f : 32767.0f;
  constexpr int kVectors = 32 / kWidth;
  F32 values[kVectors];
  I32 largest = splat_i32(0);
  const I32 magnitude = splat_i32(0x7fffffff);
  for (int v = 0; v < kVectors; ++v) {
    values[v] = load(x + v * kWidth);
    largest = max_i32(largest, and_bits(bits_of(values[v]), magnitude));  // ordered as integers, NaN on top
  }
  const int32_t bits = max_lanes_i32(largest);
  float amax;
  memcpy(&amax, &bits, 4);
  RoundedBlock block = {0, {0, 0}};
  float inverse = 0;
  if (bits >= 0x7f800000) {
    block.scale = amax;
    for (F32& value : values) value = zero();  // codes of 0, for 0 * scale is NaN
  } else if (amax >= 0x1p-120f) {
    block.scale = amax / kLargest;
    inverse = kLargest / amax;
  }
  I32 sums[2] = {splat_i32(0), splat_i32(0)};
  for (int v = 0; v < kVectors; ++v) {
    const I32 code = to_i32(mul(values[v], splat(inverse)));
    if constexpr (sizeof(Code) == 1) {
      store_low_bytes(codes + v * kWidth, code);
    } else {
      store_low_words(codes + v * kWidth, code);
    }
    I32& sum = sums[v * kWidth / 16];
    sum = add_i32(sum, code);
  }
  for (int half = 0; half < 2; ++half) {
    alignas(64) int32_t lanes[kWidth];
    store_i32(lanes, sums[half]);
    for (int i = 0; i < kWidth; ++i) block.sums[half] += lanes[i];
  }
  return block;
}

// Norm, and the rounding that stays in floats. Returns the row, which is x itself if nothing changes it.
const float* float_row(const PrepareCall& call, const float* x, float* row) {
  if (call.norm != Norm::none) {
    normalise(call, x, row);
    x = row;
  }
  if (call.form != Form::f32_from_bf16 && call.form != Form::f32_from_f16) return x;
  if (x != row) memcpy(row, x, size_t(call.columns) * 4);
  if (call.form == Form::f32_from_bf16) {
    round_row<true>(row, call.columns);
  } else {
    round_row<false>(row, call.columns);
  }
  return row;
}

// Four 16-bit codes of columns c..c+3 in the order of Activations.
inline uint64_t pair_order(const int16_t* codes) {
  uint64_t four;
  memcpy(&four, codes, 8);
  return (four & 0xffff00000000ffff) | (four & 0xffff0000) << 16 | (four >> 16 & 0xffff0000);
}

template <class Code>
void prepare_row_of_codes(const PrepareCall& call, int64_t t) {
  const int64_t columns = call.columns, groups = columns / kBlockColumns;
  const float* row = float_row(call, call.x + t * columns, call.rows);
  Code* codes = static_cast<Code*>(call.out.values) + t * columns;
  for (int64_t g = 0; g < groups; ++g, codes += kBlockColumns) {
    const RoundedBlock block = round_block(row + g * kBlockColumns, codes);
    if constexpr (sizeof(Code) == 2) {
      for (int k = 0; k < kBlockColumns; k += 4) {
        const uint64_t four = pair_order(codes + k);
        memcpy(codes + k, &four, 8);
      }
    }
    const int64_t i = t * groups + g;
    call.out.scales[i] = block.scale;
    call.out.scaled_sums[i] = block.scale * float(block.sums[0] + block.sums[1]);
    call.out.sums[2 * i] = -block.sums[0];
    call.out.sums[2 * i + 1] = -block.sums[1];
  }
}

void prepare_rows(const PrepareCall& call) {
  const int64_t columns = call.columns;
  for (int64_t t = 0; t < call.tokens; ++t) {
    const float* x = call.x + t * columns;
    if (call.form == Form::i8) {
      prepare_row_of_codes<int8_t>(call, t);
    } else if (call.form == Form::i16) {
      prepare_row_of_codes<int16_t>(call, t);
    } else if (call.form == Form::bf16) {
      const float* row = float_row(call, x, call.rows);
      round_row_to_bf16(row, columns, static_cast<uint16_t*>(call.out.values) + t * columns);
    } else {
      float* out = static_cast<float*>(call.out.values) + t * columns;
      const float* row = float_row(call, x, out);
      if (row != out) memcpy(out, row, size_t(columns) * 4);
    }
  }
}

// Sums of the codes that meet in 16-bit lanes: bytes 0, 1 and bytes 2, 3 of each word of four.
inline int32_t negative_pair_sums(const int8_t* codes) {
  int32_t first = 0, second = 0;
  for (int i = 0; i < 16; i += 4) {
    first += codes[i] + codes[i + 1];
    second += codes[i + 2] + codes[i + 3];
  }
  return int32_t((uint32_t(-first) & 0xffffu) | uint32_t(-second) << 16);
}

// One token's 32 codes among those of a tile of N: out is its place in the tile's group.
template <int N>
inline void put_in_tile(const int8_t* codes, uint8_t* out) {
  for (int k = 0; k < 8; ++k) {
    uint32_t word;
    memcpy(&word, codes + 4 * k, 4);
    // vpdpbusd wants one side unsigned: here the activations, moved up by 128.
    if constexpr (kIsAvx512) word ^= 0x80808080u;
    memcpy(out + k * N * 4, &word, 4);
  }
}
template <int N>
inline void put_in_tile(const int16_t* codes, uint8_t* out) {
  for (int k = 0; k < 8; ++k) {
    const uint64_t four = pair_order(codes + 4 * k);
    const uint32_t pairs[2] = {uint32_t(four), uint32_t(four >> 32)};
    memcpy(out + (2 * k) * N * 4, &pairs[0], 4);
    memcpy(out + (2 * k + 1) * N * 4, &pairs[1], 4);
  }
}

template <class Code, int N>
void prepare_tile_of_codes(const PrepareCall& call, int64_t tile) {
  const int64_t columns = call.columns, groups = columns / kBlockColumns;
  for (int n = 0; n < N; ++n) {
    const int64_t token = tile * N + n;
    const float* row = nullptr;
    if (token < call.tokens) row = float_row(call, call.x + token * columns, call.rows);
    for (int64_t g = 0; g < groups; ++g) {
      alignas(64) Code codes[32] = {};
      RoundedBlock block = {0, {0, 0}};
      if (row) block = round_block(row + g * kBlockColumns, codes);
      const int64_t i = (tile * groups + g) * N + n;
      call.out.scales[i] = block.scale;
      call.out.scaled_sums[i] = block.scale * float(block.sums[0] + block.sums[1]);
      if constexpr (sizeof(Code) == 1 && !kIsAvx512) {
        int32_t* sums = call.out.sums + (tile * groups + g) * 2 * N + n;
        sums[0] = negative_pair_sums(codes);
        sums[N] = negative_pair_sums(codes + 16);
      }
      uint8_t* out = static_cast<uint8_t*>(call.out.values);
      put_in_tile<N>(codes, out + (tile * groups + g) * 32 * N * int64_t(sizeof(Code)) + n * 4);
    }
  }
}

template <int N>
void prepare_tile_f32(const PrepareCall& call, int64_t tile) {
  const int64_t columns = call.columns;
  const float* rows[N];
  for (int n = 0; n < N; ++n) {
    const int64_t token = tile * N + n;
    float* row = call.rows + n * columns;
    if (token < call.tokens) {
      rows[n] = float_row(call, call.x + token * columns, row);
    } else {
      memset(row, 0, size_t(columns) * 4);
      rows[n] = row;
    }
  }
  float* out = static_cast<float*>(call.out.values) + tile * columns * N;
  for (int64_t c = 0; c < columns; ++c, out += N) {
    for (int n = 0; n < N; ++n) out[n] = rows[n][c];
  }
}

template <int N>
void prepare_tile_bf16(const PrepareCall& call, int64_t tile) {
  const int64_t columns = call.columns;
  uint16_t* rounded = reinterpret_cast<uint16_t*>(call.rows + columns);
  uint32_t* out = static_cast<uint32_t*>(call.out.values) + tile * (columns / 2) * N;
  for (int n = 0; n < N; ++n) {
    const int64_t token = tile * N + n;
    if (token < call.tokens) {
      round_row_to_bf16(float_row(call, call.x + token * columns, call.rows), columns, rounded);
    } else {
      memset(rounded, 0, size_t(columns) * 2);
    }
    for (int64_t c = 0; c < columns / 2; ++c) memcpy(out + c * N + n, rounded + 2 * c, 4);
  }
}

F32 sigmoid(F32 x) {
  // With e = exp(-|x|) nothing overflows and the small side keeps its relative accuracy.
  const F32 e = exp(sub(zero(), abs(x)));
  return div(where_negative(x, e, splat(1.0f)), add(splat(1.0f), e));
}

F32 activate(Activation activation, F32 x) {
  switch (activation) {
    case Activation::silu_gate:
    case Activation::silu:
      return mul(x, sigmoid(x));
    case Activation::gelu_gate:
    case Activation::gelu:
      return mul(x, half_erfc(mul(x, splat(-0.70710678f))));
    case Activation::gelu_tanh_gate:
    case Activation::gelu_tanh: {
      // (1 + tanh u) / 2 = sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3)
      const F32 cubic = fma(mul(mul(x, x), splat(0.044715f)), x, x);
      return mul(x, sigmoid(mul(cubic, splat(1.59576912f))));
    }
    case Activation::relu:
      return max(zero(), x);  // second operand: NaN stays
    case Activation::none:
      return x;
  }
  return x;
}

void finish(const FinishCall& call) {
  for (int v = 0; v < kPanelVectors; ++v) {
    const int lane = v * kWidth;
    const int count = call.rows - lane < kWidth ? call.rows - lane : kWidth;
    if (count <= 0) return;
    const auto read = [&](const float* p) {
      return count == kWidth ? load(p + lane) : load_part(p + lane, count);
    };
    const F32 bias = call.bias ? read(call.bias) : zero();
    const F32 gate_bias = call.gate_bias ? read(call.gate_bias) : zero();
    for (int64_t t = 0; t < call.tokens; ++t) {
      F32 y = activate(call.activation, add(load(call.sums + t * call.sum_stride + lane), bias));
      if (call.gate_sums) y = mul(y, add(load(call.gate_sums + t * call.sum_stride + lane), gate_bias));
      if (call.residual) y = add(y, read(call.residual + t * call.output_stride));
      float* out = call.y + t * call.output_stride + lane;
      if (count == kWidth) {
        store(out, y);
      } else {
        store_part(out, y, count);
      }
    }
  }
}

constexpr int kTileF32 = kIsAvx512 ? 12 : 6;
constexpr int kTileBf16 = 12;
constexpr int kTileI8 = kIsAvx512 ? 6 : 4;
constexpr int kTileI16 = 6;

void prepare_tiles(const PrepareCall& call, int64_t first, int64_t end) {
  for (int64_t tile = first; tile < end; ++tile) {
    if (call.form == Form::i8) {
      prepare_tile_of_codes<int8_t, kTileI8>(call, tile);
    } else if (call.form == Form::i16) {
      prepare_tile_of_codes<int16_t, kTileI16>(call, tile);
    } else if (call.form == Form::bf16) {
      prepare_tile_bf16<kTileBf16>(call, tile);
    } else {
      prepare_tile_f32<kTileF32>(call, tile);
    }
  }
}

}  // namespace

void gemv(const ProductCall& call);
void gemm(const ProductCall& call);

const LinearTier kLinearTier = {
    4, kTileF32, kTileBf16, kTileI8, kTileI16, prepare_rows, prepare_tiles, gemv, gemm, finish,
};

}  // namespace lathe::backend::cpu::LATHE_TIER
