// The next token of each sequence from its logits: penalties, the largest, or a draw from what temperature, top-k,
// top-p and min-p leave, by a random number that is given. The rules are those of pipeline/generate/sampler.h: of equal
// logits the lowest id is the largest; top-k keeps equals of the last one; top-p keeps the heaviest tokens, the lowest
// ids of equal weights; draws go through tokens in order of ids, after top-p in that of falling weights.
//
// Weights are the same bits as there; their sums are integers (a weight of 1 is 2^shift), so that no order of adding
// matters, and differ from sums of doubles by less than 2^-shift of the largest weight for each token. One block for a
// sequence: every step is a pass of its threads over the vocabulary.
#pragma once

#include "backend/cuda/abi.h"
#include "backend/cuda/kernels/reach.h"

namespace lathe::backend::cuda {

constexpr int kMostVocabulary = 1 << 24;

struct Sample {
  Global<float> logits;  // [sequences][vocabulary]; edits are made in place
  int vocabulary;
  int shift;                                // mass_shift(vocabulary)
  Global<const LatheCudaSampling> options;  // [sequences]
  Global<const LatheCudaLogitEdit> edits;   // those of all sequences, or null
  Global<int32_t> tokens;                   // [sequences]; -1: none can follow
  Global<int32_t> bad;                      // [sequences]: the first logit that is no number, or -1
};

// Sums of a vocabulary stay below 2^62.
inline int mass_shift(int vocabulary) {
  int shift = 62;
  for (int tokens = 1; tokens < vocabulary; tokens *= 2) --shift;
  return shift;
}

LATHE_DEVICE bool is_finite(float x) {
  return (bits_of_float(x) & 0x7f800000u) != 0x7f800000u;
}

// exp(x) for x <= 0, as pipeline/generate/vocabulary_scan.cpp computes it, each operation rounded by itself.
LATHE_DEVICE float exp_of_negative(float x) {
  constexpr float kRound = 12582912.0f, kLeast = -87.0f;
  const float clamped = x < kLeast ? kLeast : x;
  const float n = sum_of(sum_of(product_of(clamped, 1.44269504f), kRound), -kRound);
  const float r = sum_of(sum_of(clamped, -product_of(n, 0.693359375f)), -product_of(n, -2.12194440e-4f));
  float p = 1.0f / 720;
  p = sum_of(product_of(p, r), 1.0f / 120);
  p = sum_of(product_of(p, r), 1.0f / 24);
  p = sum_of(product_of(p, r), 1.0f / 6);
  p = sum_of(product_of(p, r), 0.5f);
  p = sum_of(product_of(p, r), 1.0f);
  p = sum_of(product_of(p, r), 1.0f);
  return x < kLeast ? 0.0f : product_of(p, float_of_bits(uint32_t(int(n) + 127) << 23));
}

// What a sequence draws from, as far as it is known.
struct Candidates {
  Global<const float> logits;
  float largest, scale;
  float one;            // 2^shift
  float lowest_logit;   // top-k
  float lowest_weight;  // min-p
  float last_weight;    // top-p: the lightest, and the last of its equals
  int last_token;

  LATHE_DEVICE float weight(int token) const {
    return exp_of_negative(product_of(sum_of(logits[token], -largest), scale));
  }
  LATHE_DEVICE Mass mass(float of_weight) const { return Mass(of_weight * one); }
  LATHE_DEVICE bool has(int token, float of_weight) const {
    return logits[token] >= lowest_logit && of_weight >= lowest_weight &&
           (of_weight > last_weight || (of_weight == last_weight && token <= last_token));
  }
};

// The k-th largest logit; equals count one by one. The k-th largest of the threads' own largest ones is not above it,
// and few logits are not below that.
LATHE_DEVICE float kth_logit(const Global<const float>& logits, int vocabulary, int k, const SampleScratch& scratch) {
  float own = float_of_bits(0xff800000u);
  for (int i = int(thread()); i < vocabulary; i += kSampleThreads) own = logits[i] > own ? float(logits[i]) : own;
  float bound = float_of_bits(0xff800000u);
  if (k <= kSampleThreads && k <= vocabulary) {
    bound = float_of_order(reach_by_key(kSampleThreads, Mass(k), scratch, [&](int, uint32_t& key) {
                             key = order_bits(own);  // thread i alone asks for its i-th
                             return Mass(1);
                           }).key);
  }
  return float_of_order(reach_by_key(vocabulary, Mass(k), scratch, [&](int i, uint32_t& key) {
                          key = order_bits(logits[i]);
                          return Mass(logits[i] >= bound ? 1 : 0);
                        }).key);
}

// The token at which a sum by falling weight, then by id, reaches `target`.
LATHE_DEVICE int reach_by_weight(int vocabulary, Mass target, const SampleScratch& scratch, const Candidates& from,
                                 float lowest, float* weight) {
  const Reached reached = reach_by_key(vocabulary, target, scratch, [&](int i, uint32_t& key) {
    const float w = from.weight(i);
    key = bits_of_float(w);
    return w >= lowest && from.has(i, w) ? from.mass(w) : Mass(0);
  });
  *weight = float_of_bits(reached.key);
  const Mass each = from.mass(*weight), nth = (reached.left + each - 1) / each;
  return reach_by_token(vocabulary, nth, scratch, [&](int i) {
    const float w = from.weight(i);
    return Mass(bits_of_float(w) == reached.key && from.has(i, w) ? 1 : 0);
  });
}

LATHE_DEVICE Mass total_mass(int vocabulary, const Candidates& from, const SampleScratch& scratch) {
  Mass own = 0;
  for (int i = int(thread()); i < vocabulary; i += kSampleThreads) {
    const float w = from.weight(i);
    if (from.has(i, w)) own += from.mass(w);
  }
  return total_of_block(own, scratch);
}

LATHE_DEVICE int draw(const Sample& call, const LatheCudaSampling& options, const Global<const float>& logits,
                      float largest, const SampleScratch& scratch) {
  const int vocabulary = call.vocabulary;
  const float one = float_of_bits(uint32_t(127 + call.shift) << 23), lowest = float_of_bits(0xff800000u);
  Candidates from = {logits, largest, options.scale, one, lowest, 0.0f, 0.0f, vocabulary};
  if (options.top_k > 0 && options.top_k < vocabulary) {
    from.lowest_logit = kth_logit(logits, vocabulary, options.top_k, scratch);
  }
  const bool nucleus = options.top_p < 1;
  if (nucleus) {
    const double total = double(total_mass(vocabulary, from, scratch)), share = options.top_p * total;
    Mass target = Mass(share);
    if (double(target) < share || target == 0) ++target;
    // What is lighter than the tail weighs less than 1 - top_p of the sum all together, with room for the rounding of
    // target, and is not looked at.
    const double rest = total - share;
    const float tail = rest > 0x1p20 ? float(0.999 * rest / (double(one) * double(vocabulary))) : 0.0f;
    float last = 0;
    from.last_token = reach_by_weight(vocabulary, target, scratch, from, tail, &last);
    from.last_weight = last;
  }
  from.lowest_weight = options.min_p;
  const Mass total = total_mass(vocabulary, from, scratch);
  Mass target = Mass(options.uniform * double(total)) + 1;
  target = target < total ? target : total;
  float weight;
  if (nucleus) return reach_by_weight(vocabulary, target, scratch, from, 0.0f, &weight);
  return reach_by_token(vocabulary, target, scratch, [&](int i) {
    const float w = from.weight(i);
    return from.has(i, w) ? from.mass(w) : Mass(0);
  });
}

LATHE_DEVICE Largest own_largest(const Global<const float>& logits, int vocabulary, int* bad) {
  Largest own = {float_of_bits(0xff800000u), vocabulary};
  for (int i = int(thread()); i < vocabulary; i += kSampleThreads) {
    const float logit = logits[i];
    if (!is_finite(logit) && i < *bad) *bad = i;
    if (logit > own.value || own.index == vocabulary) own = {logit, i};
  }
  return own;
}

// Adds biases and takes penalties, of tokens that are named once each.
LATHE_DEVICE void edit_logits(const Sample& call, const LatheCudaSampling& options, const Global<float>& logits) {
  for (int i = int(thread()); i < options.edits; i += kSampleThreads) {
    const LatheCudaLogitEdit edit = load<LatheCudaLogitEdit>(call.edits, options.first_edit + i);
    float logit = sum_of(logits[edit.token], edit.bias);
    if (edit.seen) {
      logit = logit < 0 ? product_of(logit, edit.penalty) : logit / edit.penalty;
      logit = sum_of(logit, -edit.subtracted);
    }
    logits[edit.token] = logit;
  }
  sync_block();
}

// Blocks: a sequence each.
LATHE_KERNEL void sample(Sample call) {
  LATHE_SHARED(Mass, bins, kBins);
  LATHE_SHARED(Mass, warps, kSampleWarps);
  LATHE_SHARED(float, values, kSampleWarps);
  LATHE_SHARED(int, indices, kSampleWarps);
  LATHE_SHARED(Mass, found, 2);
  const SampleScratch scratch = {bins, warps, values, indices, found};
  const LatheCudaSampling options = load<LatheCudaSampling>(call.options, int64_t(block_x()));
  const Global<float> logits = call.logits + int64_t(block_x()) * call.vocabulary;
  int bad = call.vocabulary;
  Largest largest = own_largest(logits, call.vocabulary, &bad);
  bad = lowest_of_block(bad, scratch);
  int token = -1;
  if (bad == call.vocabulary) {
    if (options.edits > 0) {
      edit_logits(call, options, logits);
      int nothing = 0;  // biases of -infinity are wanted
      largest = own_largest(logits, call.vocabulary, &nothing);
    }
    largest = largest_of_block(largest, scratch);
    if (is_finite(largest.value)) {
      token = options.do_sample ? draw(call, options, logits, largest.value, scratch) : largest.index;
    }
  }
  if (thread() != 0) return;
  call.tokens[block_x()] = token;
  call.bad[block_x()] = bad == call.vocabulary ? -1 : bad;
}

}  // namespace lathe::backend::cuda
