// Tiles of integer products of one tier: rows x panels of accumulators that stay in registers.
#include "backend/cpu/byte_products.h"

#include "backend/cpu/simd.h"

namespace lathe::backend::cpu::LATHE_TIER {
namespace {

// Four columns of x in all lanes, and of 16 / kPanelVectors features, as they are multiplied.
#if defined(__AVX512F__)
constexpr int kPanels = 4;
using Bytes = I32;
inline Bytes unsigned_bytes(I32 x) {
  return x;
}
inline Bytes signed_bytes(I32 w) {
  return w;
}
inline I32 multiply_add(I32 sum, Bytes x, Bytes w) {
  return dot_u8_s8(sum, x, w);
}
#else
constexpr int kPanels = 1;
// Widened to 16 bits, columns 0 and 2, then 1 and 3: vpmaddubsw would saturate at 255 * 127 * 2.
struct Bytes {
  I32 even, odd;
};
inline Bytes unsigned_bytes(I32 x) {
  return {and_bits(x, splat_i32(0x00ff00ff)), shift_right_16<8>(x)};
}
inline Bytes signed_bytes(I32 w) {
  return {shift_right_signed_16<8>(shift_left_16<8>(w)), shift_right_signed_16<8>(w)};
}
inline I32 multiply_add(I32 sum, Bytes x, Bytes w) {
  return dot_s16(dot_s16(sum, x.even, w.even), x.odd, w.odd);
}
#endif

// The sums of a vector of features with their offsets.
inline I32 whole_sums(const FinishBytesCall& call, int64_t r, int64_t j) {
  I32 sum = add_i32(load_i32(call.sums + r * call.sum_stride + j), load_i32(call.offsets + j));
  if (call.weight_zeros) {
    const I32 product = multiply_i32(load_i32(call.weight_zeros + j), splat_i32(-call.row_sums[r]));
    sum = add_i32(sum, product);
  }
  return sum;
}

template <class T>
inline void copy_part(const void* from, int64_t count, T* to) {
  __builtin_memcpy(to, from, size_t(count) * sizeof(T));
}

// Bytes of kWidth channels, as 32-bit numbers of which the lower 16 bits count.
template <bool kSigned>
inline I32 channels_of(const uint8_t* x, int64_t rest) {
  if (rest >= kWidth) return kSigned ? load_s8(x) : load_u8(x);
  uint8_t part[kWidth] = {};
  copy_part(x, rest, part);
  return kSigned ? load_s8(part) : load_u8(part);
}

// The low bytes of `whole` as `rest` features of y.
inline void put_bytes(I32 whole, int64_t rest, uint8_t* y) {
  if (rest >= kWidth) return store_low_bytes(y, whole);
  uint8_t part[kWidth];
  store_low_bytes(part, whole);
  copy_part(part, rest, y);
}

inline F32 clamp(F32 x, F32 low, F32 high) {
  return min(max(x, low), high);  // NaN gives low
}

// Scale and bias of a vector of features.
struct Column {
  F32 scale, bias;
};
inline Column column_of(const FinishBytesCall& call, int64_t j) {
  return {load(call.scales + j), call.bias ? load(call.bias + j) : zero()};
}

// From whole sums to bytes: at row r, feature j.
struct ToBytes {
  const FinishBytesCall& call;
  F32 low = splat(call.low), high = splat(call.high);
  I32 zero_point = splat_i32(call.zero);

  F32 scaled(const Column& column, I32 sum) const {
    F32 v = mul(to_f32(sum), column.scale);
    if (call.bias) v = add(v, column.bias);
    return clamp(v, low, high);
  }
  void put_at(const Column& column, int64_t r, int64_t j, int64_t rest, I32 sum) const {
    uint8_t* y = static_cast<uint8_t*>(call.y) + r * call.stride + j;
    put_bytes(add_i32(to_i32(scaled(column, sum)), zero_point), rest, y);
  }
};
struct ToByteSums {
  const SumBytesCall& call;
  ToBytes product{call.product};
  F32 residual_zero = splat(call.residual_zero), residual_scale = splat(call.residual_scale);
  F32 middle_scale = splat(call.middle_scale), low = splat(call.low), high = splat(call.high);

  void put_at(const Column& column, int64_t r, int64_t j, int64_t rest, I32 sum) const {
    const int64_t at = r * call.product.stride + j;
    const uint8_t* residual = call.residual + at;
    const I32 other = call.residual_signed ? channels_of<true>(residual, rest) : channels_of<false>(residual, rest);
    const F32 middle = round(product.scaled(column, sum));
    const F32 both = add(mul(middle, middle_scale), mul(sub(to_f32(other), residual_zero), residual_scale));
    const I32 whole = add_i32(to_i32(clamp(both, low, high)), product.zero_point);
    put_bytes(whole, rest, static_cast<uint8_t*>(call.product.y) + at);
  }
};

template <class To>
inline void finish_all(const FinishBytesCall& call, const To& to) {
  for (int64_t r = 0; r < call.row_count; ++r) {
    for (int64_t j = 0; j < call.features; j += kWidth) {
      to.put_at(column_of(call, j), r, j, call.features - j, whole_sums(call, r, j));
    }
  }
}

void to_bytes(const FinishBytesCall& call) {
  finish_all(call, ToBytes{call});
}

void to_byte_sums(const SumBytesCall& call) {
  finish_all(call.product, ToByteSums{call});
}

// What a tile begins with, and what becomes of the sums of row r, vector v. What `ready` gives holds vectors, for which
// there are no registers before the sums are complete.
struct KeepSums {
  const ByteTileCall& call;
  I32 initial(int) const { return splat_i32(0); }
  const KeepSums& ready() const { return *this; }
  int column(int) const { return 0; }
  void put(int, int r, int v, I32 sum) const { store_i32(call.sums + r * call.sum_stride + v * kWidth, sum); }
};
template <class To, class Call>
struct FinishAtOnce {
  const Call& call;
  const FinishBytesCall& product;
  struct Ready {
    To to;
    const FinishBytesCall& product;
    Column column(int v) const { return column_of(product, v * kWidth); }
    void put(const Column& column, int r, int v, I32 sum) const { to.put_at(column, r, v * kWidth, kWidth, sum); }
  };
  I32 initial(int v) const { return load_i32(product.offsets + v * kWidth); }
  Ready ready() const { return {To{call}, product}; }
};

template <int R, int P, bool kFlip, class Finish>
inline __attribute__((always_inline)) void tile(const ByteTileCall& call, const Finish& finish) {
  constexpr int V = P * kPanelVectors;
  I32 sums[R][V];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < V; ++v) {
      sums[r][v] = finish.initial(v);
      pin(sums[r][v]);
    }
  }
  const I32 top_bits = splat_i32(int32_t(0x80808080u));
  const int8_t* panel = call.panels;
  const int64_t stride = call.panel_stride;
  for (int64_t t = 0; t < call.taps; ++t) {
    const uint8_t* row[R];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) row[r] = call.rows[t * R + r];
    for (int64_t c = 0; c < call.columns; c += 4) {
      Bytes w[V];
#pragma GCC unroll 16
      for (int p = 0; p < P; ++p) {
#pragma GCC unroll 16
        for (int v = 0; v < kPanelVectors; ++v) {
          w[p * kPanelVectors + v] = signed_bytes(load_i32(panel + p * stride + v * kWidth * 4));
        }
      }
      panel += 64;
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        I32 four = splat_bytes(row[r] + c);
        if (kFlip) four = xor_bits(four, top_bits);
        const Bytes x = unsigned_bytes(four);
#pragma GCC unroll 16
        for (int v = 0; v < V; ++v) {
          sums[r][v] = multiply_add(sums[r][v], x, w[v]);
          pin(sums[r][v]);
        }
      }
    }
  }
  const auto& ready = finish.ready();
#pragma GCC unroll 16
  for (int v = 0; v < V; ++v) {
    const auto column = ready.column(v);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) ready.put(column, r, v, sums[r][v]);
  }
}

// Rows that keep the accumulators, the weights and one x in registers, for P panels.
#if defined(__AVX512F__)
constexpr int kRows[kMaxBytePanels + 1] = {0, 12, 12, 8, 6};
#else
constexpr int kRows[kMaxBytePanels + 1] = {0, 4, 0, 0, 0};
#endif

template <int R, int P, bool kFlip>
void keep_sums(const ByteTileCall& call) {
  tile<R, P, kFlip>(call, KeepSums{call});
}

template <int P, int R>
void run_rows(const ByteTileCall& call) {
  if (call.row_count == R) return call.flip ? keep_sums<R, P, true>(call) : keep_sums<R, P, false>(call);
  if constexpr (R > 1) run_rows<P, R - 1>(call);
}

void run_tile(const ByteTileCall& call) {
  if (call.panel_count == 1) return run_rows<1, kRows[1]>(call);
  if constexpr (kPanels == 4) {
    if (call.panel_count == 2) return run_rows<2, kRows[2]>(call);
    if (call.panel_count == 3) return run_rows<3, kRows[3]>(call);
    if (call.panel_count == 4) return run_rows<4, kRows[4]>(call);
  }
}

void tile_to_bytes(const ByteTileCall& call, const FinishBytesCall& finish) {
  const FinishAtOnce<ToBytes, FinishBytesCall> at_once{finish, finish};
  if (call.flip) return tile<kRows[kPanels], kPanels, true>(call, at_once);
  tile<kRows[kPanels], kPanels, false>(call, at_once);
}

void tile_to_byte_sums(const ByteTileCall& call, const SumBytesCall& finish) {
  const FinishAtOnce<ToByteSums, SumBytesCall> at_once{finish, finish.product};
  if (call.flip) return tile<kRows[kPanels], kPanels, true>(call, at_once);
  tile<kRows[kPanels], kPanels, false>(call, at_once);
}

void row_sums(const ByteTileCall& call, int32_t* row_sums) {
  const uint8_t flip = call.flip ? 0x80 : 0;
  for (int64_t r = 0; r < call.row_count; ++r) {
    int32_t sum = 0;
    for (int64_t t = 0; t < call.taps; ++t) {
      const uint8_t* row = call.rows[t * call.row_count + r];
      for (int64_t c = 0; c < call.columns; ++c) sum += int32_t(uint8_t(row[c] ^ flip));
    }
    row_sums[r] = sum;
  }
}

void to_floats(const FinishBytesCall& call) {
  for (int64_t r = 0; r < call.row_count; ++r) {
    float* y = static_cast<float*>(call.y) + r * call.stride;
    for (int64_t j = 0; j < call.features; j += kWidth) {
      F32 v = mul(to_f32(whole_sums(call, r, j)), load(call.scales + j));
      if (call.bias) v = add(v, load(call.bias + j));
      if (call.features - j >= kWidth)
        store(y + j, v);
      else
        store_part(y + j, v, int(call.features - j));
    }
  }
}

void to_sums(const FinishBytesCall& call) {
  for (int64_t r = 0; r < call.row_count; ++r) {
    int32_t* y = static_cast<int32_t*>(call.y) + r * call.stride;
    for (int64_t j = 0; j < call.features; j += kWidth) {
      const I32 sum = whole_sums(call, r, j);
      if (call.features - j >= kWidth) {
        store_i32(y + j, sum);
        continue;
      }
      int32_t part[kWidth];
      store_i32(part, sum);
      copy_part(part, call.features - j, y + j);
    }
  }
}

// Two taps a step: pairs of 16-bit numbers, one pair for each channel.
template <bool kSigned>
void depthwise_of(const ByteDepthwiseCall& call) {
  const I32 low_half = splat_i32(0xffff);
  for (int64_t c = 0; c < call.count; c += kWidth) {
    I32 sum = splat_i32(0);
    for (int64_t pair = 0; pair < call.pairs; ++pair) {
      const I32 first = channels_of<kSigned>(call.rows[2 * pair] + c, call.count - c);
      const I32 second = channels_of<kSigned>(call.rows[2 * pair + 1] + c, call.count - c);
      const int64_t at = (pair * call.weight_stride + c) * 2;
      I32 w = load_i32(call.weights + at);
      if (call.weight_zeros) w = sub_i16(w, load_i32(call.weight_zeros + at));
      sum = dot_s16(sum, merge_bits(first, low_half, shift_left_32<16>(second)), w);
    }
    store_i32(call.sums + c, sum);
  }
}

void depthwise(const ByteDepthwiseCall& call) {
  return call.is_signed ? depthwise_of<true>(call) : depthwise_of<false>(call);
}

}  // namespace

extern const ByteTier kByteTier;
const ByteTier kByteTier = {{kRows[0], kRows[1], kRows[2], kRows[3], kRows[4]},
                            kPanels,
                            run_tile,
                            tile_to_bytes,
                            tile_to_byte_sums,
                            row_sums,
                            to_bytes,
                            to_byte_sums,
                            to_floats,
                            to_sums,
                            depthwise};

}  // namespace lathe::backend::cpu::LATHE_TIER
