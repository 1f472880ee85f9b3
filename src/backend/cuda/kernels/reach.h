// Sums over a vocabulary by one block, and where they reach a target: in order of ids, or of falling keys. What is
// added are integers, so that no order of adding matters.
#pragma once

#include "backend/cuda/kernel.h"

namespace lathe::backend::cuda {

constexpr int kSampleThreads = 512;
constexpr int kSampleWarps = kSampleThreads / 32;
constexpr int kBins = 256;

using Mass = unsigned long long;

// Memory of the block.
struct SampleScratch {
  SharedView<Mass> bins;     // [kBins]
  SharedView<Mass> warps;    // [kSampleWarps]
  SharedView<float> values;  // [kSampleWarps]
  SharedView<int> indices;   // [kSampleWarps]
  SharedView<Mass> found;    // [2]
};

LATHE_DEVICE Mass total_of_block(Mass x, const SampleScratch& scratch) {
  for (unsigned lanes = 16; lanes > 0; lanes /= 2) x += shuffle_xor(x, lanes);
  if (lane() == 0) scratch.warps[warp()] = x;
  sync_block();
  Mass total = 0;
  for (int w = 0; w < kSampleWarps; ++w) total += scratch.warps[w];
  sync_block();
  return total;
}

LATHE_DEVICE int lowest_of_block(int x, const SampleScratch& scratch) {
  for (unsigned lanes = 16; lanes > 0; lanes /= 2) {
    const int other = shuffle_xor(x, lanes);
    x = other < x ? other : x;
  }
  if (lane() == 0) scratch.indices[warp()] = x;
  sync_block();
  for (int w = 0; w < kSampleWarps; ++w) x = scratch.indices[w] < x ? int(scratch.indices[w]) : x;
  sync_block();
  return x;
}

// The largest value and the lowest of its indices.
struct Largest {
  float value;
  int index;
};
LATHE_DEVICE Largest larger(const Largest& a, const Largest& b) {
  return b.value > a.value || (b.value == a.value && b.index < a.index) ? b : a;
}
LATHE_DEVICE Largest largest_of_block(Largest x, const SampleScratch& scratch) {
  for (unsigned lanes = 16; lanes > 0; lanes /= 2) {
    x = larger(x, {shuffle_xor(x.value, lanes), shuffle_xor(x.index, lanes)});
  }
  if (lane() == 0) {
    scratch.values[warp()] = x.value;
    scratch.indices[warp()] = x.index;
  }
  sync_block();
  for (int w = 0; w < kSampleWarps; ++w) x = larger(x, {scratch.values[w], scratch.indices[w]});
  return x;  // what is written next comes behind another barrier
}

// The sum of what this lane and those before it bring.
LATHE_DEVICE Mass running_sum(Mass x) {
  for (unsigned d = 1; d < 32; d *= 2) {
    const Mass before = shuffle_from(x, lane() >= d ? lane() - d : lane());
    if (lane() >= d) x += before;
  }
  return x;
}

// Where a sum over tokens in order of falling keys reaches a target: the key, and what is left for its own tokens.
struct Reached {
  uint32_t key;
  Mass left;
};

// The bin, from the last one down, in which the bins' running sum reaches `target`. By the first warp.
LATHE_DEVICE void find_bin(Mass target, const SampleScratch& scratch) {
  constexpr int kOfLane = kBins / 32;
  const int last = kBins - 1 - int(lane()) * kOfLane;
  Mass own = 0;
  for (int i = 0; i < kOfLane; ++i) own += scratch.bins[last - i];
  Mass before = running_sum(own) - own;
  if (target <= before || target > before + own) return;
  for (int i = 0; i < kOfLane; ++i) {
    const Mass bin = scratch.bins[last - i];
    if (target <= before + bin) {
      scratch.found[0] = Mass(last - i);
      scratch.found[1] = target - before;
      return;
    }
    before += bin;
  }
}

// `item(token, key)`: what a token adds, and its key; `target`: from 1 to the sum of all. Eight bits of the key a pass.
template <class Item>
LATHE_DEVICE Reached reach_by_key(int vocabulary, Mass target, const SampleScratch& scratch, const Item& item) {
  Reached reached = {0, target};
  for (int shift = 24; shift >= 0; shift -= 8) {
    for (int i = int(thread()); i < kBins; i += kSampleThreads) scratch.bins[i] = 0;
    sync_block();
    for (int i = int(thread()); i < vocabulary; i += kSampleThreads) {
      uint32_t key = 0;
      const Mass amount = item(i, key);
      if (amount == 0 || (shift < 24 && key >> (shift + 8) != reached.key >> (shift + 8))) continue;
      add_atomically(scratch.bins, int64_t(key >> shift & (kBins - 1)), amount);
    }
    sync_block();
    if (warp() == 0) find_bin(reached.left, scratch);
    sync_block();
    reached = {reached.key | uint32_t(scratch.found[0]) << shift, scratch.found[1]};
  }
  return reached;
}

// The token at which a sum in order of ids reaches `target`. Each thread adds up tokens that lie together.
template <class Amount>
LATHE_DEVICE int reach_by_token(int vocabulary, Mass target, const SampleScratch& scratch, const Amount& amount) {
  const int each = (vocabulary + kSampleThreads - 1) / kSampleThreads, first = int(thread()) * each;
  const int end = first + each < vocabulary ? first + each : vocabulary;
  Mass own = 0;
  for (int i = first; i < end; ++i) own += amount(i);
  const Mass running = running_sum(own);
  if (lane() == 31) scratch.warps[warp()] = running;
  sync_block();
  Mass before = running - own;
  for (int w = 0; w < int(warp()); ++w) before += scratch.warps[w];
  if (target > before && target <= before + own) {
    for (int i = first; i < end; ++i) {
      before += amount(i);
      if (target > before) continue;
      scratch.indices[0] = i;
      break;
    }
  }
  sync_block();
  return scratch.indices[0];
}

// Floats as unsigned numbers of the same order.
LATHE_DEVICE uint32_t order_bits(float x) {
  const uint32_t bits = bits_of_float(x);
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}
LATHE_DEVICE float float_of_order(uint32_t order) {
  return float_of_bits(order >> 31 ? order & 0x7fffffffu : ~order);
}

}  // namespace lathe::backend::cuda
