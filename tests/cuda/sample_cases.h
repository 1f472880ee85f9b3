// Sequences whose next token a device chooses, and the sampler of the CPU that says which.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include "backend/cuda/abi.h"
#include "pipeline/generate/sampler.h"

namespace lathe::backend::cuda {

using pipeline::SamplingOptions;

// The first number that a sampler of this seed draws: xoshiro256** seeded by splitmix64, as its authors publish them.
inline double first_uniform(uint64_t seed) {
  uint64_t state[4];
  for (uint64_t& word : state) {
    seed += 0x9E3779B97F4A7C15u;
    uint64_t z = seed;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    word = z ^ (z >> 31);
  }
  return double((std::rotl(state[1] * 5, 7) * 9) >> 11) * 0x1p-53;
}

inline LatheCudaSampling device_options(const SamplingOptions& options) {
  LatheCudaSampling out = {};
  out.uniform = first_uniform(options.seed);
  out.top_p = options.top_p;
  out.scale = float(std::min(1 / options.temperature, double(std::numeric_limits<float>::max())));
  out.min_p = float(options.min_p);
  out.top_k = int32_t(options.top_k);
  out.do_sample = options.do_sample;
  return out;
}

struct Sequence {
  std::vector<float> logits;
  SamplingOptions options;
  std::vector<LatheCudaLogitEdit> edits;
};

// What a launch takes: sequences of one vocabulary.
struct SampleArguments {
  std::vector<float> logits;
  std::vector<LatheCudaSampling> options;
  std::vector<LatheCudaLogitEdit> edits;

  explicit SampleArguments(const std::vector<Sequence>& sequences) {
    for (const Sequence& sequence : sequences) {
      logits.insert(logits.end(), sequence.logits.begin(), sequence.logits.end());
      options.push_back(device_options(sequence.options));
      options.back().first_edit = int32_t(edits.size());
      options.back().edits = int32_t(sequence.edits.size());
      edits.insert(edits.end(), sequence.edits.begin(), sequence.edits.end());
    }
  }
};

// `levels`: 0 for any numbers; else so many different ones, that there are equals.
inline std::vector<float> random_logits(uint32_t seed, size_t count, float spread, int levels) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> logits(count);
  for (float& logit : logits) {
    logit = normal(random);
    if (levels > 0) logit = std::round(logit / spread * float(levels)) / float(levels) * spread;
  }
  return logits;
}

// Sequences of every kind of options, with and without equal logits.
inline std::vector<Sequence> random_sequences(size_t vocabulary, int count) {
  std::mt19937 random{uint32_t(vocabulary)};
  const auto one_of = [&](std::initializer_list<double> values) { return values.begin()[random() % values.size()]; };
  std::vector<Sequence> sequences;
  for (int seed = 0; seed < count; ++seed) {
    SamplingOptions options;
    options.do_sample = seed % 10 != 0;
    options.seed = uint64_t(seed);
    options.temperature = one_of({0.01, 0.7, 1, 1.5, 30});
    options.top_k = int64_t(one_of({0, 0, 1, 2, 40, 600}));
    options.top_p = one_of({1, 1, 0.95, 0.5, 0.01, 0.999999});
    options.min_p = one_of({0, 0, 0.05, 0.5, 1});
    const auto logits = random_logits(uint32_t(seed * 77) + uint32_t(vocabulary), vocabulary,
                                      float(one_of({0.5, 4, 15})), int(one_of({0, 0, 1, 3})));
    sequences.push_back({logits, options, {}});
  }
  return sequences;
}

inline void expect_same(const std::vector<Sequence>& sequences, const std::vector<int32_t>& tokens) {
  for (size_t i = 0; i < sequences.size(); ++i) {
    const auto& [logits, options, edits] = sequences[i];
    pipeline::Sampler sampler(options, int64_t(logits.size()));
    EXPECT_EQ(tokens[i], sampler.sample(logits))
        << logits.size() << " logits, seed " << options.seed << ", temperature " << options.temperature << ", top_k "
        << options.top_k << ", top_p " << options.top_p << ", min_p " << options.min_p;
  }
}

}  // namespace lathe::backend::cuda
