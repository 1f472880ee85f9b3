// What our kernels are written in: CUDA under nvcc, checked C++ elsewhere (emulation/), from the same source.
//
// Memory is Global<T> and LATHE_SHARED arrays, indexed by elements; load<V> and store<V> move sizeof(V) bytes that are
// aligned to that. Collectives take the mask of lanes that come. No kernel includes anything else of CUDA's.
#pragma once

#if defined(__CUDACC__)

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>

#define LATHE_KERNEL __global__
#define LATHE_DEVICE __device__ __forceinline__
#define LATHE_ANYWHERE __host__ __device__ __forceinline__  // what launches have to know, too
#define LATHE_UNROLL _Pragma("unroll")                      // of a loop whose count is known
#define LATHE_LOOP _Pragma("unroll 1")                      // of one that is to stay a loop
#define LATHE_SHARED(type, name, count) __shared__ __align__(16) type name[count]
#define LATHE_DYNAMIC_SHARED(type, name)                        \
  extern __shared__ __align__(16) unsigned char name##_bytes[]; \
  type* const name = reinterpret_cast<type*>(name##_bytes)

namespace lathe::backend::cuda {

template <class T>
using Global = T*;
template <class T>
using SharedView = T*;

LATHE_DEVICE unsigned thread() {
  return threadIdx.x;
}
LATHE_DEVICE unsigned threads() {
  return blockDim.x;
}
LATHE_DEVICE unsigned lane() {
  return threadIdx.x % 32;
}
LATHE_DEVICE unsigned warp() {
  return threadIdx.x / 32;
}
LATHE_DEVICE unsigned block_x() {
  return blockIdx.x;
}
LATHE_DEVICE unsigned block_y() {
  return blockIdx.y;
}
LATHE_DEVICE unsigned block_z() {
  return blockIdx.z;
}
LATHE_DEVICE unsigned blocks_x() {
  return gridDim.x;
}

constexpr uint32_t kAllLanes = 0xffffffffu;

LATHE_DEVICE void sync_block() {
  __syncthreads();
}
LATHE_DEVICE bool any_in_block(bool value) {
  return __syncthreads_or(value) != 0;
}
LATHE_DEVICE void sync_warp(uint32_t mask = kAllLanes) {
  __syncwarp(mask);
}
template <class T>
LATHE_DEVICE T shuffle_xor(T value, unsigned lanes, uint32_t mask = kAllLanes) {
  return __shfl_xor_sync(mask, value, int(lanes));
}
template <class T>
LATHE_DEVICE T shuffle_from(T value, unsigned source, uint32_t mask = kAllLanes) {
  return __shfl_sync(mask, value, int(source));
}
// Several values of the same lane.
template <int kCount>
LATHE_DEVICE void shuffle_xor(const float (&values)[kCount], unsigned lanes, float (&out)[kCount]) {
  LATHE_UNROLL
  for (int i = 0; i < kCount; ++i) out[i] = shuffle_xor(values[i], lanes);
}
LATHE_DEVICE uint32_t ballot(bool vote, uint32_t mask = kAllLanes) {
  return __ballot_sync(mask, vote);
}

template <class V, class T>
LATHE_DEVICE V load(T* from, int64_t index) {
  return *reinterpret_cast<const V*>(from + index);
}
template <class V, class T>
LATHE_DEVICE void store(T* to, int64_t index, const V& value) {
  *reinterpret_cast<V*>(to + index) = value;
}
template <class T>
LATHE_DEVICE T add_atomically(T* to, int64_t index, T value) {
  return atomicAdd(to + index, value);
}

template <class T, class From>
LATHE_DEVICE void copy_async(T* to, int64_t index, const From* from, int64_t from_index, size_t bytes) {
  const unsigned there = unsigned(__cvta_generic_to_shared(to + index));
  const void* here = from + from_index;
  if (bytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(there), "l"(here) : "memory");
  } else if (bytes == 8) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 8;" ::"r"(there), "l"(here) : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(there), "l"(here) : "memory");
  }
}
LATHE_DEVICE void commit_copies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
template <unsigned kLeft>
LATHE_DEVICE void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
}

template <int kMatrices, bool kTransposed = false>
LATHE_DEVICE void load_matrices(uint16_t* from, int64_t index, uint32_t* out) {
  static_assert(kMatrices == 4 || kMatrices == 2);
  const unsigned there = unsigned(__cvta_generic_to_shared(from + index));
  if constexpr (kMatrices == 4 && !kTransposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(there)
                 : "memory");
  } else if constexpr (kMatrices == 4) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(there)
                 : "memory");
  } else if constexpr (!kTransposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                 : "=r"(out[0]), "=r"(out[1])
                 : "r"(there)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(out[0]), "=r"(out[1])
                 : "r"(there)
                 : "memory");
  }
}

template <bool kBf16>
LATHE_DEVICE void multiply_tile(float* sum, const uint32_t* a, const uint32_t* b) {
  if constexpr (kBf16) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  } else {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
}

template <bool kUnsignedA>
LATHE_DEVICE void multiply_codes(int* sum, const uint32_t* a, const uint32_t* b) {
  if constexpr (kUnsignedA) {
    asm volatile(
        "mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+r"(sum[0]), "+r"(sum[1]), "+r"(sum[2]), "+r"(sum[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  } else {
    asm volatile(
        "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+r"(sum[0]), "+r"(sum[1]), "+r"(sum[2]), "+r"(sum[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
}

LATHE_DEVICE uint32_t pick_bytes(uint32_t a, uint32_t b, uint32_t selector) {
  return __byte_perm(a, b, selector);
}
LATHE_DEVICE int dot_bytes(uint32_t a, uint32_t b, int sum) {
  return __dp4a(int(a), int(b), sum);
}
LATHE_DEVICE int dot_halves(uint32_t low, uint32_t high, uint32_t bytes, int sum) {
  return __dp2a_hi(int(high), int(bytes), __dp2a_lo(int(low), int(bytes), sum));
}
template <bool kBf16>
LATHE_DEVICE uint32_t subtract_pairs(uint32_t a, uint32_t b) {
  if constexpr (kBf16) {
    const __nv_bfloat162 x = *reinterpret_cast<const __nv_bfloat162*>(&a);
    const __nv_bfloat162 difference = __hsub2(x, *reinterpret_cast<const __nv_bfloat162*>(&b));
    return *reinterpret_cast<const uint32_t*>(&difference);
  } else {
    const __half2 difference = __hsub2(*reinterpret_cast<const __half2*>(&a), *reinterpret_cast<const __half2*>(&b));
    return *reinterpret_cast<const uint32_t*>(&difference);
  }
}
LATHE_DEVICE int nearest_int(float x) {
  return __float2int_rn(x);
}
LATHE_DEVICE float product_of(float a, float b) {
  return __fmul_rn(a, b);
}
LATHE_DEVICE float sum_of(float a, float b) {
  return __fadd_rn(a, b);
}
LATHE_DEVICE uint32_t bits_of_float(float x) {
  return __float_as_uint(x);
}

LATHE_DEVICE float exp_fast(float x) {
  return __expf(x);
}
LATHE_DEVICE float inverse_sqrt(float x) {
  return rsqrtf(x);
}
LATHE_DEVICE float fma_of(float a, float b, float c) {
  return __fmaf_rn(a, b, c);
}
LATHE_DEVICE float erf_of(float x) {
  return erff(x);
}
LATHE_DEVICE float tanh_of(float x) {
  return tanhf(x);
}
LATHE_DEVICE float cos_of(float x) {  // of any angle: not the fast one
  return cosf(x);
}
LATHE_DEVICE float sin_of(float x) {
  return sinf(x);
}
LATHE_DEVICE double power_of(double base, double exponent) {
  return pow(base, exponent);
}
LATHE_DEVICE float float_of_bits(uint32_t bits) {
  return __uint_as_float(bits);
}

LATHE_DEVICE float f16_of(uint16_t bits) {
  return __half2float(__ushort_as_half(bits));
}
LATHE_DEVICE float bf16_of(uint16_t bits) {
  return __uint_as_float(uint32_t(bits) << 16);
}
LATHE_DEVICE uint16_t to_f16(float x) {
  return __half_as_ushort(__float2half_rn(x));
}
LATHE_DEVICE uint16_t to_bf16(float x) {
  return __bfloat16_as_ushort(__float2bfloat16_rn(x));
}

// The sum over the lanes of a warp, the same bits in all of them.
LATHE_DEVICE float sum_of_warp(float x) {
  for (unsigned lanes = 16; lanes > 0; lanes /= 2) x += shuffle_xor(x, lanes);
  return x;
}

}  // namespace lathe::backend::cuda

#else
#include "backend/cuda/emulation/intrinsics.h"
#endif

namespace lathe::backend::cuda {

// Sixteen bytes, what one lane reads at a time.
struct alignas(16) Quad {
  uint32_t words[4];
};
struct alignas(8) WordPair {
  uint32_t words[2];
};

LATHE_DEVICE float largest_of_warp(float x) {
  for (unsigned lanes = 16; lanes > 0; lanes /= 2) {
    const float other = shuffle_xor(x, lanes);
    x = other > x ? other : x;
  }
  return x;
}

}  // namespace lathe::backend::cuda
