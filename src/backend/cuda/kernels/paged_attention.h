// Rotary embedding, cache append and causal attention over a paged cache, split over the context: three kernels of one
// step, for any mix of sequences.
//
// Keys and values of a cache block lie as [keys, values][kv head][position][head_dim]. The context is cut into parts of
// kPart positions whatever its length, and parts are merged in order, so that a sequence's bits do not depend on what
// is with it. Attention over parts as in FlashDecoding (Dao et al., 2023): the largest score, the sum of weights and
// the weighted values of each part suffice to merge them.
#pragma once

#include "backend/cuda/kernels/formats.h"

namespace lathe::backend::cuda {

constexpr int kPositions = 64;  // of a cache block
constexpr int kPart = 256;      // positions
constexpr int kAppendThreads = 128;
constexpr int kAttendThreads = 128;
constexpr int kMergeThreads = 64;
constexpr int kLaneDims = 8;       // dimensions of a head that a lane holds
constexpr int kMostHeadDim = 256;  // 32 lanes
constexpr float kLowest = -3.0e38f;

template <class Format>
struct PagedAttention {
  Global<const float> qkv;  // [tokens][(heads + 2 kv_heads) head_dim]: queries, keys, values
  int heads;                // a multiple of kv_heads
  int kv_heads;
  int head_dim;  // kMostHeadDim at the most
  float scale;
  Global<const float> cos, sin;  // [tokens][rotary_dim / 2] or null
  int rotary_dim;
  int interleaved;                // pairs (0, 1), (2, 3) ...; else halves
  Global<const int> sequence;     // [tokens]: its row of the block table
  Global<const int> position;     // [tokens]; keys and values in front of it are in the cache, or in this step
  Global<const int> block_table;  // [sequences][blocks_per_sequence]
  int blocks_per_sequence;
  Global<typename Format::Stored> cache;
  Global<float> queries;  // scratch [tokens][heads][head_dim]
  Global<float> parts;    // scratch [tokens][heads][part_count][head_dim + 2]: largest score, sum, values
  int part_count;         // for the longest sequence
  Global<float> out;      // [tokens][heads][head_dim]
};

template <class Format>
LATHE_DEVICE int64_t cache_place(const PagedAttention<Format>& call, int sequence, int position, int kv_head,
                                 int value) {
  const int block = call.block_table[int64_t(sequence) * call.blocks_per_sequence + position / kPositions];
  const int64_t head = (int64_t(block) * 2 + value) * call.kv_heads + kv_head;
  return (head * kPositions + position % kPositions) * call.head_dim;
}

// Element `i` of a head that begins at `first` of the token's row, rotated.
template <class Format>
LATHE_DEVICE float rotated(const PagedAttention<Format>& call, int token, int64_t first, int i) {
  const float x = call.qkv[first + i];
  if (!call.cos || i >= call.rotary_dim) return x;
  const int half = call.rotary_dim / 2;
  const int pair = call.interleaved ? i / 2 : i % half;
  const bool second = call.interleaved ? i % 2 == 1 : i >= half;
  const int other = call.interleaved ? i ^ 1 : second ? i - half : i + half;
  const float c = call.cos[int64_t(token) * half + pair], s = call.sin[int64_t(token) * half + pair];
  const float y = call.qkv[first + other];
  return second ? x * c + y * s : x * c - y * s;
}

template <class Format>
LATHE_DEVICE typename Format::Stored narrowed(float x);
template <>
LATHE_DEVICE float narrowed<F32Format>(float x) {
  return x;
}
template <>
LATHE_DEVICE uint16_t narrowed<F16Format>(float x) {
  return to_f16(x);
}
template <>
LATHE_DEVICE uint16_t narrowed<Bf16Format>(float x) {
  return to_bf16(x);
}

// Blocks: x of tokens.
template <class Format>
LATHE_KERNEL void append_kv(PagedAttention<Format> call) {
  const int token = int(block_x());
  const int sequence = call.sequence[token], position = call.position[token];
  const int all = call.heads + 2 * call.kv_heads;
  for (int i = int(thread()); i < all * call.head_dim; i += kAppendThreads) {
    const int head = i / call.head_dim, dim = i % call.head_dim;
    const int64_t first = (int64_t(token) * all + head) * call.head_dim;
    if (head < call.heads) {
      call.queries[(int64_t(token) * call.heads + head) * call.head_dim + dim] = rotated(call, token, first, dim);
      continue;
    }
    const int value = head >= call.heads + call.kv_heads;
    const int kv_head = (head - call.heads) % call.kv_heads;
    const float x = value ? float(call.qkv[first + dim]) : rotated(call, token, first, dim);
    call.cache[cache_place(call, sequence, position, kv_head, value) + dim] = narrowed<Format>(x);
  }
}

// kLaneDims elements of the cache, of which `count` are there. kVector: always all of them.
template <class Format, bool kVector>
LATHE_DEVICE void load_dims(const Global<typename Format::Stored>& cache, int64_t place, int count, float* out) {
  if constexpr (kVector) {
    for (int i = 0; i < kLaneDims; i += Format::kInQuad) Format::widen(load<Quad>(cache, place + i), out + i);
  } else {
    LATHE_UNROLL
    for (int i = 0; i < kLaneDims; ++i) out[i] = i < count ? Format::widen(cache[place + i]) : 0.0f;
  }
}

// What a group of lanes knows of the positions that it has seen, for one query head.
struct Seen {
  float largest = kLowest;
  float sum = 0;
  float values[kLaneDims] = {};
};

// `weight` of values `v`, whose score is `score`.
LATHE_DEVICE void see(Seen& seen, float score, const float* v) {
  const float largest = score > seen.largest ? score : seen.largest;
  const float keep = exp_fast(seen.largest - largest), weight = exp_fast(score - largest);
  seen.largest = largest;
  seen.sum = seen.sum * keep + weight;
  LATHE_UNROLL
  for (int i = 0; i < kLaneDims; ++i) seen.values[i] = fma_of(weight, v[i], seen.values[i] * keep);
}

LATHE_DEVICE void merge(Seen& into, const Seen& other) {
  const float largest = other.largest > into.largest ? other.largest : into.largest;
  const float mine = exp_fast(into.largest - largest), theirs = exp_fast(other.largest - largest);
  into.largest = largest;
  into.sum = into.sum * mine + other.sum * theirs;
  LATHE_UNROLL
  for (int i = 0; i < kLaneDims; ++i) into.values[i] = into.values[i] * mine + other.values[i] * theirs;
}

LATHE_DEVICE Seen from_lane(const Seen& seen, unsigned away) {
  float mine[kLaneDims + 2], theirs[kLaneDims + 2];
  mine[0] = seen.largest;
  mine[1] = seen.sum;
  LATHE_UNROLL
  for (int i = 0; i < kLaneDims; ++i) mine[2 + i] = seen.values[i];
  shuffle_xor(mine, away, theirs);
  Seen other;
  other.largest = theirs[0];
  other.sum = theirs[1];
  LATHE_UNROLL
  for (int i = 0; i < kLaneDims; ++i) other.values[i] = theirs[2 + i];
  return other;
}

// Blocks: x of parts, y of KV heads, z of tokens. kLanes: those that hold one head, a power of two. Every warp takes
// every fourth batch of 32 / kLanes positions; the query heads of a KV head share what is read, kHeads at a time.
// kVector: head_dim is a multiple of kLaneDims.
template <class Format, int kLanes, int kHeads, bool kVector>
LATHE_KERNEL void attend_part(PagedAttention<Format> call) {
  constexpr int kWarps = kAttendThreads / 32;
  constexpr int kAtOnce = 32 / kLanes;
  LATHE_SHARED(float, shared, kWarps* kLanes*(kLaneDims + 2));
  const int part = int(block_x()), kv_head = int(block_y()), token = int(block_z());
  const int sequence = call.sequence[token], length = call.position[token] + 1;
  const int begin = part * kPart, end = begin + kPart < length ? begin + kPart : length;
  if (begin >= length) return;
  const int group = int(lane()) / kLanes, place = int(lane()) % kLanes;
  const bool holds = place * kLaneDims < call.head_dim;
  const int left = call.head_dim - place * kLaneDims, dims = kVector || left > kLaneDims ? kLaneDims : left;
  const int heads_per_kv = call.heads / call.kv_heads;
  for (int first = 0; first < heads_per_kv; first += kHeads) {
    float query[kHeads][kLaneDims];
    Seen seen[kHeads];
    LATHE_UNROLL
    for (int h = 0; h < kHeads; ++h) {
      const bool there = holds && first + h < heads_per_kv;
      const int64_t head = int64_t(token) * call.heads + kv_head * heads_per_kv + first + h;
      LATHE_UNROLL
      for (int i = 0; i < kLaneDims; ++i) {
        query[h][i] =
            there && i < dims ? call.queries[head * call.head_dim + place * kLaneDims + i] * call.scale : 0.0f;
      }
    }
    for (int batch = begin + int(warp()) * kAtOnce; batch < end; batch += kWarps * kAtOnce) {
      const int at = batch + group;
      const bool there = holds && at < end;
      float k[kLaneDims] = {}, v[kLaneDims] = {};
      if (there) {
        const int64_t keys = cache_place(call, sequence, at, kv_head, 0) + place * kLaneDims;
        const int64_t values = cache_place(call, sequence, at, kv_head, 1) + place * kLaneDims;
        load_dims<Format, kVector>(call.cache, keys, dims, k);
        load_dims<Format, kVector>(call.cache, values, dims, v);
      }
      LATHE_UNROLL
      for (int h = 0; h < kHeads; ++h) {
        float score = 0;
        LATHE_UNROLL
        for (int i = 0; i < kLaneDims; ++i) score = fma_of(query[h][i], k[i], score);
        for (unsigned away = kLanes / 2; away > 0; away /= 2) score += shuffle_xor(score, away);
        if (at < end) see(seen[h], score, v);
      }
    }
    LATHE_UNROLL
    for (int h = 0; h < kHeads; ++h) {
      for (unsigned away = kLanes; away < 32; away *= 2) merge(seen[h], from_lane(seen[h], away));
      // Warps put theirs side by side; the first one merges them in order.
      const int slot = (int(warp()) * kLanes + place) * (kLaneDims + 2);
      if (group == 0) {
        shared[slot] = seen[h].largest;
        shared[slot + 1] = seen[h].sum;
        LATHE_UNROLL
        for (int i = 0; i < kLaneDims; ++i) shared[slot + 2 + i] = seen[h].values[i];
      }
      sync_block();
      if (warp() == 0 && group == 0 && holds && first + h < heads_per_kv) {
        Seen all;
        for (int w = 0; w < kWarps; ++w) {
          const int from = (w * kLanes + place) * (kLaneDims + 2);
          Seen other;
          other.largest = shared[from];
          other.sum = shared[from + 1];
          LATHE_UNROLL
          for (int i = 0; i < kLaneDims; ++i) other.values[i] = shared[from + 2 + i];
          merge(all, other);
        }
        const int64_t head = int64_t(token) * call.heads + kv_head * heads_per_kv + first + h;
        const int64_t out = (head * call.part_count + part) * (call.head_dim + 2);
        if (place == 0) call.parts[out] = all.largest;
        if (place == 0) call.parts[out + 1] = all.sum;
        LATHE_UNROLL
        for (int i = 0; i < kLaneDims; ++i) {
          if (i < dims) call.parts[out + 2 + place * kLaneDims + i] = all.values[i];
        }
      }
      sync_block();
    }
  }
}

// Blocks: x of heads, y of tokens.
template <class Format>
LATHE_KERNEL void merge_parts(PagedAttention<Format> call) {
  const int64_t head = int64_t(block_y()) * call.heads + block_x();
  const int length = call.position[int(block_y())] + 1;
  const int parts = (length + kPart - 1) / kPart;
  const int64_t first = head * call.part_count * (call.head_dim + 2);
  float largest = kLowest;
  for (int p = 0; p < parts; ++p) {
    const float other = call.parts[first + int64_t(p) * (call.head_dim + 2)];
    largest = other > largest ? other : largest;
  }
  float sum = 0;
  for (int p = 0; p < parts; ++p) {
    const int64_t part = first + int64_t(p) * (call.head_dim + 2);
    sum += call.parts[part + 1] * exp_fast(call.parts[part] - largest);
  }
  for (int dim = int(thread()); dim < call.head_dim; dim += kMergeThreads) {
    float value = 0;
    for (int p = 0; p < parts; ++p) {
      const int64_t part = first + int64_t(p) * (call.head_dim + 2);
      value += call.parts[part + 2 + dim] * exp_fast(call.parts[part] - largest);
    }
    call.out[head * call.head_dim + dim] = value / sum;
  }
}

}  // namespace lathe::backend::cuda
