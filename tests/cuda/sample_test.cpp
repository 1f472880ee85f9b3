// The sampling kernel on the emulated device against the sampler of the CPU: the same token for the same random number.
#include "backend/cuda/kernels/sample.h"

#include <gtest/gtest.h>

#include <bit>
#include <limits>
#include <random>

#include "pipeline/generate/sampler.h"

namespace lathe::backend::cuda {
namespace {

using emulated::Buffer;
using pipeline::SamplingOptions;

// The first number that a sampler of this seed draws: xoshiro256** seeded by splitmix64, as its authors publish them.
double first_uniform(uint64_t seed) {
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

LatheCudaSampling device_options(const SamplingOptions& options) {
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

struct Result {
  std::vector<int32_t> tokens, bad;
};

// Sequences of one vocabulary in one launch.
Result run(const std::vector<Sequence>& sequences, unsigned seed = 1) {
  const size_t vocabulary = sequences[0].logits.size();
  std::vector<float> all;
  std::vector<LatheCudaSampling> options;
  std::vector<LatheCudaLogitEdit> edits;
  for (const Sequence& sequence : sequences) {
    all.insert(all.end(), sequence.logits.begin(), sequence.logits.end());
    options.push_back(device_options(sequence.options));
    options.back().first_edit = int32_t(edits.size());
    options.back().edits = int32_t(sequence.edits.size());
    edits.insert(edits.end(), sequence.edits.begin(), sequence.edits.end());
  }
  Buffer<float> logits("logits", all);
  Buffer<LatheCudaSampling> given("options", options);
  Buffer<LatheCudaLogitEdit> edited("edits", edits);
  Buffer<int32_t> tokens("tokens", sequences.size()), bad("bad", sequences.size());
  Sample call{};
  call.logits = logits;
  call.vocabulary = int(vocabulary);
  call.shift = mass_shift(call.vocabulary);
  call.options = given;
  call.edits = edited;
  call.tokens = tokens;
  call.bad = bad;
  emulated::launch({"sample", {unsigned(sequences.size())}, {kSampleThreads}, 0, seed}, [&] { sample(call); });
  return {tokens.elements(), bad.elements()};
}

// `levels`: 0 for any numbers; else so many different ones, that there are equals.
std::vector<float> random_logits(uint32_t seed, size_t count, float spread, int levels) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> logits(count);
  for (float& logit : logits) {
    logit = normal(random);
    if (levels > 0) logit = std::round(logit / spread * float(levels)) / float(levels) * spread;
  }
  return logits;
}

int expect_same(const std::vector<Sequence>& sequences, unsigned seed) {
  const Result found = run(sequences, seed);
  for (size_t i = 0; i < sequences.size(); ++i) {
    const auto& [logits, options, edits] = sequences[i];
    pipeline::Sampler sampler(options, int64_t(logits.size()));
    EXPECT_EQ(found.bad[i], -1);
    EXPECT_EQ(found.tokens[i], sampler.sample(logits))
        << logits.size() << " logits, seed " << options.seed << ", temperature " << options.temperature << ", top_k "
        << options.top_k << ", top_p " << options.top_p << ", min_p " << options.min_p;
  }
  return int(sequences.size());
}

TEST(Sample, GivesTheTokenOfTheSampler) {
  std::mt19937 random(1);
  const auto one_of = [&](std::initializer_list<double> values) { return values.begin()[random() % values.size()]; };
  int draws = 0;
  for (const size_t vocabulary : {1u, 2u, 31u, 100u, 513u, 3000u, 20000u}) {
    std::vector<Sequence> sequences;
    for (uint64_t seed = 0; seed < (vocabulary > 1000 ? 40u : 100u); ++seed) {
      SamplingOptions options;
      options.do_sample = seed % 10 != 0;
      options.seed = seed;
      options.temperature = one_of({0.01, 0.7, 1, 1.5, 30});
      options.top_k = int64_t(one_of({0, 0, 1, 2, 40, 600}));
      options.top_p = one_of({1, 1, 0.95, 0.5, 0.01, 0.999999});
      options.min_p = one_of({0, 0, 0.05, 0.5, 1});
      const auto logits = random_logits(uint32_t(seed * 77 + vocabulary), vocabulary, float(one_of({0.5, 4, 15})),
                                        int(one_of({0, 0, 1, 3})));
      sequences.push_back({logits, options, {}});
    }
    draws += expect_same(sequences, unsigned(vocabulary));
  }
  EXPECT_GE(draws, 500);
}

// All logits equal: every draw and every cut falls among equals.
TEST(Sample, EqualsGoByTheirIds) {
  std::vector<Sequence> sequences;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    SamplingOptions options;
    options.do_sample = seed > 0;
    options.seed = seed;
    options.top_p = seed % 3 == 0 ? 1 : seed % 3 == 1 ? 0.5 : 0.9;
    options.top_k = seed % 2 == 0 ? 0 : 7;
    sequences.push_back({std::vector<float>(1000, 1.5f), options, {}});
  }
  expect_same(sequences, 3);
  EXPECT_EQ(run({sequences[0]}).tokens[0], 0);
  sequences[0].logits[0] = -1;
  sequences[0].logits[999] = sequences[0].logits[500] = 2;
  EXPECT_EQ(run({sequences[0]}).tokens[0], 500);
}

TEST(Sample, PenaltiesAndBiasesAreThoseOfTheSampler) {
  std::vector<Sequence> sequences;
  std::vector<int32_t> expected;
  for (uint32_t seed = 0; seed < 40; ++seed) {
    SamplingOptions options;
    options.do_sample = seed % 2 == 0;
    options.seed = seed;
    options.top_p = seed % 4 == 0 ? 0.8 : 1;
    options.repetition_penalty = seed % 5 == 0 ? 0.8 : 1.3;
    options.presence_penalty = 0.7;
    options.frequency_penalty = 0.21;
    options.logit_bias = {{3, 2.5f}, {5, -std::numeric_limits<float>::infinity()}, {17, 0.25f}};
    const auto logits = random_logits(seed + 900, 64, 1.5f, seed % 3 == 0 ? 2 : 0);
    pipeline::Sampler sampler(options, 64);
    const std::vector<int32_t> prompt = {1, 2, 3, 9, 9, 40};
    sampler.accept_prompt(prompt);
    std::vector<int> counts(64), seen(64);
    for (const int32_t token : prompt) seen[size_t(token)] = 1;
    // Greedy choices use no random numbers: two of them, that count, come first.
    for (int i = 0; i < 2 && !options.do_sample; ++i) {
      const int32_t token = sampler.sample(logits);
      seen[size_t(token)] = 1;
      ++counts[size_t(token)];
    }
    Sequence sequence = {logits, options, {}};
    for (int32_t token = 0; token < 64; ++token) {
      const auto bias = options.logit_bias.find(token);
      if (!seen[size_t(token)] && bias == options.logit_bias.end()) continue;
      const int count = counts[size_t(token)];
      sequence.edits.push_back(
          {token, seen[size_t(token)], bias == options.logit_bias.end() ? 0.0f : bias->second,
           float(options.repetition_penalty),
           count > 0 ? float(options.presence_penalty + options.frequency_penalty * double(count)) : 0.0f});
    }
    expected.push_back(sampler.sample(logits));
    sequences.push_back(std::move(sequence));
  }
  EXPECT_EQ(run(sequences).tokens, expected);
}

TEST(Sample, FindsTheFirstLogitThatIsNoNumber) {
  std::vector<Sequence> sequences(4, Sequence{random_logits(1, 700, 2, 0), {}, {}});
  const float infinity = std::numeric_limits<float>::infinity();
  sequences[1].logits[690] = sequences[1].logits[333] = std::numeric_limits<float>::quiet_NaN();
  sequences[2].logits[0] = infinity;
  sequences[3].logits[699] = -infinity;
  for (const bool draws : {false, true}) {
    for (Sequence& sequence : sequences) sequence.options.do_sample = draws;
    const Result found = run(sequences);
    EXPECT_EQ(found.bad, (std::vector<int32_t>{-1, 333, 0, 699}));
    EXPECT_GE(found.tokens[0], 0);
    for (size_t i = 1; i < 4; ++i) EXPECT_EQ(found.tokens[i], -1);
  }
}

// Biases that forbid every token: none can follow, and no logit was bad.
TEST(Sample, NothingLeft) {
  Sequence sequence = {{1, 2}, {}, {}};
  for (int32_t token = 0; token < 2; ++token) {
    sequence.edits.push_back({token, 0, -std::numeric_limits<float>::infinity(), 1, 0});
  }
  for (const bool draws : {false, true}) {
    sequence.options.do_sample = draws;
    const Result found = run({sequence});
    EXPECT_EQ(found.tokens[0], -1);
    EXPECT_EQ(found.bad[0], -1);
  }
}

}  // namespace
}  // namespace lathe::backend::cuda
