// Compiled once per tier, see cmake/cpu_kernels.cmake.
#include "backend/cpu/attention_tier.h"

#include "backend/cpu/vector_math.h"

#define LATHE_INLINE inline __attribute__((always_inline))

namespace lathe::backend::cpu::LATHE_TIER {
namespace {

constexpr int64_t kBlock = 64;  // kKvBlock
constexpr int64_t kTileRows = 6;

struct AsF32 {
  using Element = float;
  static LATHE_INLINE F32 get(const float* p) { return load(p); }
  static LATHE_INLINE void put(float* p, F32 x) { store(p, x); }
};
struct AsF16 {
  using Element = uint16_t;
  static LATHE_INLINE F32 get(const uint16_t* p) { return load_f16(p); }
  static LATHE_INLINE void put(uint16_t* p, F32 x) { store_f16(p, x); }
};
struct AsBf16 {
  using Element = uint16_t;
  static LATHE_INLINE F32 get(const uint16_t* p) { return load_bf16(p); }
  static LATHE_INLINE void put(uint16_t* p, F32 x) { store_bf16(p, x); }
};

// c[ROWS][VECS] (+)= a[ROWS][k] b[k][VECS], all of c in registers. lda, ldb, ldc in elements.
template <int ROWS, int VECS, class B>
LATHE_INLINE void multiply(int64_t k, const float* a, int64_t lda, const typename B::Element* b, int64_t ldb,
                           float* c, int64_t ldc, bool accumulate) {
  F32 sums[ROWS][VECS];
#pragma GCC unroll 16
  for (int r = 0; r < ROWS; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < VECS; ++v) sums[r][v] = accumulate ? load(c + r * ldc + v * kWidth) : zero();
  }
  for (int64_t i = 0; i < k; ++i, ++a, b += ldb) {
    F32 row[VECS];
#pragma GCC unroll 4
    for (int v = 0; v < VECS; ++v) row[v] = B::get(b + v * kWidth);
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; ++r) {
      const F32 x = splat(a[r * lda]);
#pragma GCC unroll 4
      for (int v = 0; v < VECS; ++v) sums[r][v] = fma(x, row[v], sums[r][v]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < ROWS; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < VECS; ++v) store(c + r * ldc + v * kWidth, sums[r][v]);
  }
}

// The same for `columns` columns, a multiple of kWidth, in panels as wide as the registers allow.
template <int ROWS, class B>
void multiply_rows(int64_t k, const float* a, int64_t lda, const typename B::Element* b, int64_t ldb,
                   int64_t columns, float* c, int64_t ldc, bool accumulate) noexcept {
  // AVX-512: 32 registers, up to 24 sums; AVX2: 16 registers, up to 12 sums.
  constexpr int kSums = kWidth == 16 ? 24 : 12;
  constexpr int kVecs = 4 * ROWS <= kSums ? 4 : 2 * ROWS <= kSums ? 2 : 1;
  int64_t j = 0;
  for (; j + kVecs * kWidth <= columns; j += kVecs * kWidth) {
    multiply<ROWS, kVecs, B>(k, a, lda, b + j, ldb, c + j, ldc, accumulate);
  }
  if constexpr (kVecs == 4) {
    if (j + 2 * kWidth <= columns) {
      multiply<ROWS, 2, B>(k, a, lda, b + j, ldb, c + j, ldc, accumulate);
      j += 2 * kWidth;
    }
  }
  if constexpr (kVecs > 1) {
    if (j < columns) multiply<ROWS, 1, B>(k, a, lda, b + j, ldb, c + j, ldc, accumulate);
  }
}

// multiply_rows for rows = 1 .. MAX known at run time.
template <int MAX, class B, class... Args>
LATHE_INLINE void multiply_any(int64_t rows, Args... args) {
  if constexpr (MAX > 0) {
    if (rows == MAX) return multiply_rows<MAX, B>(args...);
    multiply_any<MAX - 1, B>(rows, args...);
  }
}

// scores[0, n) -> e^(score - new maximum), zeros up to `padded` (a multiple of kWidth); updates maximum and
// sum and returns the factor by which older sums must be scaled. n may be 0 or less: all zeros.
LATHE_INLINE float softmax_row(float* scores, int64_t n, int64_t padded, float& maximum, float& sum) {
  if (n <= 0) {
    for (int64_t j = 0; j < padded; j += kWidth) store(scores + j, zero());
    return 1.0f;
  }
  const F32 nothing = splat(-__builtin_inff());
  F32 top = splat(maximum);
  for (int64_t j = 0; j < padded; j += kWidth) {
    // What lies behind n comes from keys not written yet: it may be anything.
    const F32 x = keep_first(load(scores + j), int(n - j), nothing);
    store(scores + j, x);
    top = max(x, top);
  }
  const float new_maximum = max_lanes(top);
  const F32 shift = splat(new_maximum);
  F32 total = zero();
  for (int64_t j = 0; j < padded; j += kWidth) {
    const F32 p = exp(sub(load(scores + j), shift));
    store(scores + j, p);
    total = add(total, p);
  }
  float factor = 1.0f;
  if (new_maximum != maximum) {
    float lanes[kWidth];
    store(lanes, exp(splat(maximum - new_maximum)));
    factor = lanes[0];
  }
  sum = sum * factor + sum_lanes(total);
  maximum = new_maximum;
  return factor;
}

LATHE_INLINE void scale_row(float* row, int64_t count, float factor) {
  for (int64_t i = 0; i < count; i += kWidth) store(row + i, mul(load(row + i), splat(factor)));
}

// Rows [first, first + count) of a tile against one block whose first position is `start`.
template <int MAX, class B>
LATHE_INLINE void attend_rows(const KvLayout& layout, const AttentionTile& tile, int64_t first, int64_t count,
                              int64_t start, const typename B::Element* keys,
                              const typename B::Element* values, const AttentionState& state) {
  const auto visible = [&](int64_t row) {
    const int64_t n = tile.first_position + row / tile.group + 1 - start;
    return n < kBlock ? n : kBlock;
  };
  const int64_t n = visible(first + count - 1);
  if (n <= 0) return;
  const int64_t padded = (n + kWidth - 1) / kWidth * kWidth;
  float* scores = tile.scores;
  multiply_any<MAX, B>(count, layout.head_dim, tile.queries + first * layout.head_dim, layout.head_dim, keys,
                       kBlock, padded, scores, kBlock, false);
  for (int64_t r = 0; r < count; ++r) {
    const int64_t row = first + r;
    const float factor =
        softmax_row(scores + r * kBlock, visible(row), padded, state.maximum[row], state.sum[row]);
    if (factor != 1.0f) scale_row(state.output + row * layout.value_dim, layout.value_dim, factor);
  }
  multiply_any<MAX, B>(count, n, scores, kBlock, values, layout.value_dim, layout.value_dim,
                       state.output + first * layout.value_dim, layout.value_dim, true);
}

template <class B>
LATHE_INLINE void widen(const typename B::Element* from, int64_t count, float* to) {
  for (int64_t i = 0; i < count; i += kWidth) store(to + i, B::get(from + i));
}

template <class B>
void attend_as(const KvLayout& layout, const AttentionTile& tile, int64_t begin, int64_t end,
               const AttentionState& state) noexcept {
  using Element = typename B::Element;
  for (int64_t r = 0; r < tile.rows; ++r) {
    state.maximum[r] = -__builtin_inff();
    state.sum[r] = 0;
  }
  for (int64_t i = 0; i < tile.rows * layout.value_dim; i += kWidth) store(state.output + i, zero());
  for (int64_t block = begin; block < end; ++block) {
    const auto* keys =
        reinterpret_cast<const Element*>(tile.cache + size_t(tile.blocks[block]) * layout.block_size);
    const Element* values = keys + layout.head_dim * kBlock;
    const int64_t start = block * kBlock;
    if (tile.rows <= kDirectRows) {
      attend_rows<kDirectRows, B>(layout, tile, 0, tile.rows, start, keys, values, state);
      continue;
    }
    const float* wide_keys = tile.keys;
    const float* wide_values = tile.values;
    if constexpr (sizeof(Element) == sizeof(float)) {
      wide_keys = keys;
      wide_values = values;
    } else {
      const int64_t last = tile.first_position + (tile.rows - 1) / tile.group;
      widen<B>(keys, layout.head_dim * kBlock, tile.keys);
      widen<B>(values, (last - start < kBlock ? last - start + 1 : kBlock) * layout.value_dim, tile.values);
    }
    for (int64_t first = 0; first < tile.rows; first += kTileRows) {
      const int64_t count = tile.rows - first < kTileRows ? tile.rows - first : kTileRows;
      attend_rows<kTileRows, AsF32>(layout, tile, first, count, start, wide_keys, wide_values, state);
    }
  }
}

void attend(const KvLayout& layout, const AttentionTile& tile, int64_t begin, int64_t end,
            const AttentionState& state) noexcept {
  switch (layout.dtype) {
    case tensor::DType::f16:
      return attend_as<AsF16>(layout, tile, begin, end, state);
    case tensor::DType::bf16:
      return attend_as<AsBf16>(layout, tile, begin, end, state);
    default:
      return attend_as<AsF32>(layout, tile, begin, end, state);
  }
}

void merge(const AttentionState& into, const AttentionState& from, int64_t rows, int64_t value_dim) noexcept {
  for (int64_t r = 0; r < rows; ++r) {
    const float top = into.maximum[r] < from.maximum[r] ? from.maximum[r] : into.maximum[r];
    float lanes[kWidth];
    store(lanes, exp(splat(into.maximum[r] - top)));
    const float a = lanes[0];
    store(lanes, exp(splat(from.maximum[r] - top)));
    const float b = lanes[0];
    into.maximum[r] = top;
    into.sum[r] = into.sum[r] * a + from.sum[r] * b;
    float* x = into.output + r * value_dim;
    const float* y = from.output + r * value_dim;
    for (int64_t i = 0; i < value_dim; i += kWidth) {
      store(x + i, fma(load(y + i), splat(b), mul(load(x + i), splat(a))));
    }
  }
}

void finish(const KvLayout& layout, const AttentionTile& tile, const AttentionState& state, float* out,
            int64_t stride) noexcept {
  for (int64_t r = 0; r < tile.rows; ++r) {
    const float* from = state.output + r * layout.value_dim;
    float* to = out + r / tile.group * stride + r % tile.group * layout.head_dim;
    const F32 divisor = splat(state.sum[r]);
    int64_t i = 0;
    for (; i + kWidth <= layout.head_dim; i += kWidth) store(to + i, div(load(from + i), divisor));
    if (i < layout.head_dim) store_part(to + i, div(load(from + i), divisor), int(layout.head_dim - i));
  }
}

// Rotates pairs of the first rotary_dim elements; without FMA, as the reference libraries round it.
LATHE_INLINE void rotate(const float* __restrict x, int64_t head_dim, const float* __restrict cos,
                         const float* __restrict sin, int64_t rotary_dim, bool interleaved, float scale,
                         float* __restrict out) {
  const int64_t half = rotary_dim / 2;
  if (interleaved) {
    for (int64_t i = 0; i < half; ++i) {
      const float even = x[2 * i] * cos[i] - x[2 * i + 1] * sin[i];
      const float odd = x[2 * i + 1] * cos[i] + x[2 * i] * sin[i];
      out[2 * i] = even * scale;
      out[2 * i + 1] = odd * scale;
    }
  } else {
    for (int64_t i = 0; i < half; ++i) {
      const float low = x[i] * cos[i] - x[half + i] * sin[i];
      const float high = x[half + i] * cos[i] + x[i] * sin[i];
      out[i] = low * scale;
      out[half + i] = high * scale;
    }
  }
  for (int64_t i = 2 * half; i < head_dim; ++i) out[i] = x[i] * scale;
}

template <class B>
void append_as(const KvLayout& layout, const AppendRun& run) noexcept {
  using Element = typename B::Element;
  const int64_t dim = layout.head_dim;
  auto* narrow = reinterpret_cast<Element*>(run.row + layout.value_dim);
  for (int64_t i = dim; i < layout.value_dim; ++i) run.row[i] = 0;
  for (int64_t t = 0; t < run.tokens; ++t) {
    const int64_t rotary_dim = run.cos ? run.rotary_dim : 0;
    const float* cos = run.cos + (run.cos ? t * (rotary_dim / 2) : 0);
    const float* sin = run.sin + (run.cos ? t * (rotary_dim / 2) : 0);
    for (int64_t g = 0; g < run.group; ++g) {
      rotate(run.queries + t * run.token_stride + g * dim, dim, cos, sin, rotary_dim, run.interleaved,
             run.scale, run.rotated + (t * run.group + g) * dim);
    }
    const int64_t position = run.first_position + t;
    auto* block =
        reinterpret_cast<Element*>(run.cache + size_t(run.blocks[position / kBlock]) * layout.block_size);
    const int64_t at = position % kBlock;
    rotate(run.key + t * run.token_stride, dim, cos, sin, rotary_dim, run.interleaved, 1.0f, run.row);
    for (int64_t i = 0; i < layout.value_dim; i += kWidth) B::put(narrow + i, load(run.row + i));
    for (int64_t i = 0; i < dim; ++i) block[i * kBlock + at] = narrow[i];
    const float* value = run.value + t * run.token_stride;
    for (int64_t i = 0; i < dim; ++i) run.row[i] = value[i];
    Element* values = block + dim * kBlock + at * layout.value_dim;
    for (int64_t i = 0; i < layout.value_dim; i += kWidth) B::put(values + i, load(run.row + i));
  }
}

void append(const KvLayout& layout, const AppendRun& run) noexcept {
  switch (layout.dtype) {
    case tensor::DType::f16:
      return append_as<AsF16>(layout, run);
    case tensor::DType::bf16:
      return append_as<AsBf16>(layout, run);
    default:
      return append_as<AsF32>(layout, run);
  }
}

}  // namespace

const AttentionTier attention_tier = {.append = append, .attend = attend, .merge = merge, .finish = finish};

}  // namespace lathe::backend::cpu::LATHE_TIER
