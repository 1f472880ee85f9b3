// The vocabulary that kernels of tiles are written in: instructions, or calls of the emulation. For x_amx.cpp only
// (cmake/cpu_kernels.cmake), which are compiled once with each; under the rules of vector_math.h.
#pragma once

#include "backend/cpu/simd.h"
#include "backend/cpu/tiles.h"
#if defined(LATHE_EMULATED_TILES)
#include "backend/cpu/tile_emulation.h"
#endif

namespace lathe::backend::cpu::LATHE_TIER {
namespace {

#if defined(LATHE_EMULATED_TILES)
struct Tiles {
  static void configure(const TileConfig& config) { emulation::configure(config); }
  static void release() { emulation::release(); }
  template <int T>
  static void zero() {
    emulation::zero(T);
  }
  template <int T>
  static void load(const void* memory, int64_t stride) {
    emulation::load(T, memory, stride);
  }
  template <int T>
  static void store(void* memory, int64_t stride) {
    emulation::store(T, memory, stride);
  }
  template <TileProduct kProduct, int C, int A, int B>
  static void multiply() {
    emulation::multiply(kProduct, C, A, B);
  }
};
#else
// Written out, because gcc 12's intrinsics do not say that a load reads memory, nor that a configuration reads 64 bytes
// of it: stores before them may be moved behind them.
struct Tiles {
  static void configure(const TileConfig& config) { __asm__ volatile("ldtilecfg %0" : : "m"(config)); }
  static void release() { __asm__ volatile("tilerelease" : : : "memory"); }
  template <int T>
  static void zero() {
    __asm__ volatile("tilezero %%tmm%c0" : : "i"(T));
  }
  template <int T>
  static void load(const void* memory, int64_t stride) {
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(memory), "r"(stride), "i"(T) : "memory");
  }
  template <int T>
  static void store(void* memory, int64_t stride) {
    __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(memory), "r"(stride), "i"(T) : "memory");
  }
  template <TileProduct kProduct, int C, int A, int B>
  static void multiply() {
    if constexpr (kProduct == TileProduct::bf16) {
      __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(C), "i"(A), "i"(B));
    } else if constexpr (kProduct == TileProduct::s8_s8) {
      __asm__ volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(C), "i"(A), "i"(B));
    } else if constexpr (kProduct == TileProduct::s8_u8) {
      __asm__ volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(C), "i"(A), "i"(B));
    } else if constexpr (kProduct == TileProduct::u8_s8) {
      __asm__ volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(C), "i"(A), "i"(B));
    } else {
      __asm__ volatile("tdpbuud %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(C), "i"(A), "i"(B));
    }
  }
};
#endif

// Configures the thread's tiles unless they have this shape. All of them are zero afterwards.
inline void set_shape(TileShape& now, const TileShape& wanted) {
  if (now.upper == wanted.upper && now.lower == wanted.lower && now.depth == wanted.depth) return;
  TileConfig config;
  const auto set = [&](int tile, int64_t rows, int64_t bytes) {
    config.rows[tile] = uint8_t(rows);
    config.row_bytes[tile] = uint16_t(rows == 0 ? 0 : bytes);
  };
  for (int panel = 0; panel < 2; ++panel) {
    set(panel, wanted.upper, 64);
    set(2 + panel, wanted.lower, 64);
    set(6 + panel, wanted.depth, 64);
  }
  set(4, wanted.upper, wanted.depth * 4);
  set(5, wanted.lower, wanted.depth * 4);
  Tiles::configure(config);
  now = wanted;
}

inline void release_tiles(TileShape& now) {
  if (now.upper != 0) Tiles::release();
  now = {};
}

}  // namespace
}  // namespace lathe::backend::cpu::LATHE_TIER
