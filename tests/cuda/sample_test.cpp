// The sampling kernel on the emulated device against the sampler of the CPU: the same token for the same random number.
#include "backend/cuda/kernels/sample.h"

#include "sample_cases.h"

namespace lathe::backend::cuda {
namespace {

using emulated::Buffer;

struct Result {
  std::vector<int32_t> tokens, bad;
};

Result run(const std::vector<Sequence>& sequences, unsigned seed = 1) {
  const SampleArguments arguments(sequences);
  Buffer<float> logits("logits", arguments.logits);
  Buffer<LatheCudaSampling> given("options", arguments.options);
  Buffer<LatheCudaLogitEdit> edited("edits", arguments.edits);
  Buffer<int32_t> tokens("tokens", sequences.size()), bad("bad", sequences.size());
  Sample call{};
  call.logits = logits;
  call.vocabulary = int(sequences[0].logits.size());
  call.shift = mass_shift(call.vocabulary);
  call.options = given;
  call.edits = edited;
  call.tokens = tokens;
  call.bad = bad;
  emulated::launch({"sample", {unsigned(sequences.size())}, {kSampleThreads}, 0, seed}, [&] { sample(call); });
  return {tokens.elements(), bad.elements()};
}

TEST(Sample, GivesTheTokenOfTheSampler) {
  for (const size_t vocabulary : {1u, 2u, 31u, 100u, 513u, 3000u, 20000u}) {
    const auto sequences = random_sequences(vocabulary, vocabulary > 1000 ? 40 : 100);
    const Result found = run(sequences, unsigned(vocabulary));
    expect_same(sequences, found.tokens);
    for (const int32_t bad : found.bad) EXPECT_EQ(bad, -1);
  }
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
  expect_same(sequences, run(sequences, 3).tokens);
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
