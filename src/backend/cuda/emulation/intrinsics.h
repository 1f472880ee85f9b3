// What kernels call of the machine, emulated: see kernel.h for what it is under nvcc.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "backend/cuda/emulation/block.h"
#include "backend/cuda/emulation/memory.h"
#include "base/numbers.h"

namespace lathe::backend::cuda {

template <class T>
using Global = emulated::View<T>;
template <class T>
using SharedView = emulated::View<T>;

inline unsigned thread() {
  return emulated::thread_index().x;
}
inline unsigned threads() {
  return emulated::block_size().x;
}
inline unsigned lane() {
  return emulated::lane_number();
}
inline unsigned warp() {
  return emulated::warp_number();
}
inline unsigned block_x() {
  return emulated::block_index().x;
}
inline unsigned block_y() {
  return emulated::block_index().y;
}
inline unsigned block_z() {
  return emulated::block_index().z;
}
inline unsigned blocks_x() {
  return emulated::grid_size().x;
}

inline void sync_block() {
  emulated::block_barrier();
}
inline bool any_in_block(bool value) {
  return emulated::block_barrier(value) > 0;
}

namespace emulated {

// What a lane brings to a shuffle: its value, and whose it wants.
template <class T>
struct Wish {
  T value;
  unsigned from;
};

template <class T>
void resolve_shuffle(std::array<Deposit*, kWarp>& lanes) {
  for (Deposit* lane : lanes) {
    if (!lane) continue;
    const unsigned from = brought<Wish<T>>(*lane).from % kWarp;
    if (!lanes[from]) {
      lane->problem = "reads a lane that the mask does not name";
      continue;
    }
    give(*lane, brought<Wish<T>>(*lanes[from]).value);
  }
}

template <class T>
T shuffle(const char* name, uint32_t mask, T value, unsigned from) {
  return taken<T>(warp_collective(name, mask, deposit_of(Wish<T>{value, from}), resolve_shuffle<T>));
}

// Five shuffles at once, with the same bits: each lane adds what the lane 16, 8, 4, 2, 1 away has by then.
inline void resolve_sum(std::array<Deposit*, kWarp>& lanes) {
  float sums[kWarp], next[kWarp];
  for (unsigned i = 0; i < kWarp; ++i) sums[i] = brought<float>(*lanes[i]);
  for (unsigned away = kWarp / 2; away > 0; away /= 2) {
    for (unsigned i = 0; i < kWarp; ++i) next[i] = sums[i] + sums[i ^ away];
    std::copy(next, next + kWarp, sums);
  }
  for (unsigned i = 0; i < kWarp; ++i) give(*lanes[i], sums[i]);
}

inline void resolve_ballot(std::array<Deposit*, kWarp>& lanes) {
  uint32_t votes = 0;
  for (unsigned i = 0; i < kWarp; ++i) {
    if (lanes[i] && brought<bool>(*lanes[i])) votes |= 1u << i;
  }
  for (Deposit* lane : lanes) {
    if (lane) give(*lane, votes);
  }
}

}  // namespace emulated

constexpr uint32_t kAllLanes = 0xffffffffu;

inline void sync_warp(uint32_t mask = kAllLanes) {
  emulated::warp_collective("__syncwarp", mask, {}, nullptr);
}
template <class T>
T shuffle_xor(T value, unsigned lanes, uint32_t mask = kAllLanes) {
  return emulated::shuffle("__shfl_xor_sync", mask, value, lane() ^ lanes);
}
template <int kCount>
void shuffle_xor(const float (&values)[kCount], unsigned lanes, float (&out)[kCount]) {
  std::array<float, size_t(kCount)> brought;
  std::copy(values, values + kCount, brought.begin());
  brought = emulated::shuffle("__shfl_xor_sync", kAllLanes, brought, lane() ^ lanes);
  std::copy(brought.begin(), brought.end(), out);
}
template <class T>
T shuffle_from(T value, unsigned source, uint32_t mask = kAllLanes) {
  return emulated::shuffle("__shfl_sync", mask, value, source);
}
inline float sum_of_warp(float x) {
  return emulated::taken<float>(
      emulated::warp_collective("__shfl_xor_sync", kAllLanes, emulated::deposit_of(x), emulated::resolve_sum));
}
inline uint32_t ballot(bool vote, uint32_t mask = kAllLanes) {
  return emulated::taken<uint32_t>(
      emulated::warp_collective("__ballot_sync", mask, emulated::deposit_of(vote), emulated::resolve_ballot));
}

template <class V, class T>
V load(const Global<T>& from, int64_t index) {
  return from.template load<V>(index);
}
template <class V, class T>
void store(const Global<T>& to, int64_t index, const V& value) {
  to.template store<V>(index, value);
}
template <class T>
T add_atomically(const Global<T>& to, int64_t index, T value) {
  T old;
  std::memcpy(&old, to.raw(index), sizeof old);
  const T sum = old + value;
  std::memcpy(to.raw(index), &sum, sizeof sum);
  to.note_atomic(index);
  return old;
}

template <class T, class From>
void copy_async(const SharedView<T>& to, int64_t index, const Global<From>& from, int64_t from_index, size_t bytes) {
  to.copy_async(index, from, from_index, bytes);
}
inline void commit_copies() {
  emulated::commit_copies();
}
template <unsigned kLeft>
void wait_for_copies() {
  emulated::wait_for_copies(kLeft);
}

namespace emulated {

// The sixteen bytes of shared memory whose address a lane gave: a row of eight 16-bit numbers.
struct MatrixRow {
  uint16_t numbers[8];
};

// PTX ISA, ldmatrix: lanes 8m to 8m + 7 give the rows of matrix m; lane l gets numbers 2 (l % 4) and the next of row l
// / 4.
template <int kMatrices, bool kTransposed>
void resolve_matrices(std::array<Deposit*, kWarp>& lanes) {
  for (unsigned l = 0; l < kWarp; ++l) {
    std::array<uint32_t, kMatrices> out;
    for (unsigned m = 0; m < kMatrices; ++m) {
      uint16_t pair[2];
      for (unsigned i = 0; i < 2; ++i) {
        const unsigned row = kTransposed ? 2 * (l % 4) + i : l / 4, column = kTransposed ? l / 4 : 2 * (l % 4) + i;
        pair[i] = brought<MatrixRow>(*lanes[8 * m + row]).numbers[column];
      }
      out[m] = uint32_t(pair[0]) | uint32_t(pair[1]) << 16;
    }
    give(*lanes[l], out);
  }
}

struct TileParts {
  uint32_t a[4], b[2];
  float sum[4];
};

// PTX ISA, mma.m16n8k16 with 16-bit floats: sums in f32. `widen`: one number.
template <float (*widen)(uint16_t)>
void resolve_tile(std::array<Deposit*, kWarp>& lanes) {
  float a[16][16], b[16][8], sum[16][8];
  for (unsigned l = 0; l < kWarp; ++l) {
    const TileParts parts = brought<TileParts>(*lanes[l]);
    const unsigned group = l / 4, pair = 2 * (l % 4);
    for (unsigned i = 0; i < 2; ++i) {
      const auto half = [&](uint32_t word) { return widen(uint16_t(word >> (16 * i))); };
      a[group][pair + i] = half(parts.a[0]);
      a[group + 8][pair + i] = half(parts.a[1]);
      a[group][pair + 8 + i] = half(parts.a[2]);
      a[group + 8][pair + 8 + i] = half(parts.a[3]);
      b[pair + i][group] = half(parts.b[0]);
      b[pair + 8 + i][group] = half(parts.b[1]);
      sum[group][pair + i] = parts.sum[i];
      sum[group + 8][pair + i] = parts.sum[2 + i];
    }
  }
  for (unsigned row = 0; row < 16; ++row) {
    for (unsigned column = 0; column < 8; ++column) {
      float products = 0;
      for (unsigned k = 0; k < 16; ++k) products += a[row][k] * b[k][column];
      sum[row][column] += products;
    }
  }
  for (unsigned l = 0; l < kWarp; ++l) {
    const unsigned group = l / 4, pair = 2 * (l % 4);
    give(*lanes[l],
         std::array<float, 4>{sum[group][pair], sum[group][pair + 1], sum[group + 8][pair], sum[group + 8][pair + 1]});
  }
}

}  // namespace emulated

// kMatrices 8 x 8 matrices of 16-bit numbers from shared memory, a word of each for every lane; `index`: of the row
// that this lane names, aligned to 16 bytes.
template <int kMatrices, bool kTransposed = false>
void load_matrices(const SharedView<uint16_t>& from, int64_t index, uint32_t* out) {
  emulated::Deposit row;
  if (lane() < 8 * kMatrices) row = emulated::deposit_of(from.template load<emulated::MatrixRow>(index));
  const auto words = emulated::taken<std::array<uint32_t, kMatrices>>(
      emulated::warp_collective("ldmatrix", kAllLanes, row, emulated::resolve_matrices<kMatrices, kTransposed>));
  for (int m = 0; m < kMatrices; ++m) out[m] = words[size_t(m)];
}

// sum[16][8] += a[16][16] b[16][8], spread over the warp as mma.sync does.
template <bool kBf16>
void multiply_tile(float* sum, const uint32_t* a, const uint32_t* b) {
  emulated::TileParts parts;
  std::copy(a, a + 4, parts.a);
  std::copy(b, b + 2, parts.b);
  std::copy(sum, sum + 4, parts.sum);
  const auto result = emulated::taken<std::array<float, 4>>(
      emulated::warp_collective("mma.sync", kAllLanes, emulated::deposit_of(parts),
                                kBf16 ? emulated::resolve_tile<bf16_to_f32> : emulated::resolve_tile<f16_to_f32>));
  std::copy(result.begin(), result.end(), sum);
}

inline float exp_fast(float x) {
  return std::exp(x);
}
inline float inverse_sqrt(float x) {
  return 1.0f / std::sqrt(x);
}
inline float fma_of(float a, float b, float c) {
  return std::fma(a, b, c);
}
inline float erf_of(float x) {
  return std::erf(x);
}
inline float tanh_of(float x) {
  return std::tanh(x);
}
inline float cos_of(float x) {
  return std::cos(x);
}
inline float sin_of(float x) {
  return std::sin(x);
}
inline double power_of(double base, double exponent) {
  return std::pow(base, exponent);
}
inline float float_of_bits(uint32_t bits) {
  return std::bit_cast<float>(bits);
}

inline float f16_of(uint16_t bits) {
  return f16_to_f32(bits);
}
inline float bf16_of(uint16_t bits) {
  return bf16_to_f32(bits);
}
inline uint16_t to_f16(float x) {
  return f32_to_f16(x);
}
inline uint16_t to_bf16(float x) {
  return f32_to_bf16(x);
}

}  // namespace lathe::backend::cuda

#include "backend/cuda/emulation/codes.h"

#define LATHE_KERNEL inline
#define LATHE_DEVICE inline
#define LATHE_ANYWHERE inline
#define LATHE_UNROLL
#define LATHE_LOOP
// Shared memory of the block, the same for all its threads.
#define LATHE_SHARED(type, name, count) \
  const auto name = ::lathe::backend::cuda::emulated::shared_view<type>(#name, count)
#define LATHE_DYNAMIC_SHARED(type, name) const auto name = ::lathe::backend::cuda::emulated::dynamic_shared_view<type>()
