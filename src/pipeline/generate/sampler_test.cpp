#include "pipeline/generate/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "base/error.h"
#include "base/json.h"

namespace lathe::pipeline {
namespace {

// The generator of tools/make_sampling_goldens.py.
std::vector<float> random_logits(uint64_t seed, size_t size, double spread) {
  std::vector<float> logits(size);
  for (float& logit : logits) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    logit = float((double(seed >> 40) / 16777216.0 - 0.5) * spread);
  }
  return logits;
}

SamplingOptions sampling(uint64_t seed = 0) {
  SamplingOptions options;
  options.do_sample = true;
  options.seed = seed;
  return options;
}

SamplingOptions options_of(const Json& golden) {
  SamplingOptions options = sampling();
  options.temperature = find_number(golden, "temperature").value_or(1);
  options.top_k = find_int(golden, "top_k").value_or(0);
  options.top_p = find_number(golden, "top_p").value_or(1);
  options.min_p = find_number(golden, "min_p").value_or(0);
  options.repetition_penalty = find_number(golden, "repetition_penalty").value_or(1);
  return options;
}

// Softmax in double by the book, all tokens in order.
std::vector<double> softmax(const std::vector<float>& logits, double temperature) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  std::vector<double> p(logits.size());
  for (size_t i = 0; i < p.size(); ++i) p[i] = std::exp((double(logits[i]) - largest) / temperature);
  const double sum = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& value : p) value /= sum;
  return p;
}

std::vector<double> dense(const std::vector<TokenProbability>& distribution, size_t size) {
  std::vector<double> p(size);
  for (const auto& [token, probability] : distribution) p[size_t(token)] += probability;
  return p;
}

ErrorCode code_of(const SamplingOptions& options) {
  try {
    check(options, 100);
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::internal;
}

// Pearson's statistic of `draws` draws against p; tokens expected fewer than 5 times are put together.
double chi_square(Sampler& sampler, const std::vector<float>& logits, const std::vector<double>& p, int draws,
                  int& degrees) {
  std::vector<int> counts(p.size());
  for (int i = 0; i < draws; ++i) ++counts[size_t(sampler.sample(logits))];
  double statistic = 0, rest_expected = 0, rest_found = 0;
  degrees = -1;
  const auto add = [&](double expected, double found) {
    statistic += (found - expected) * (found - expected) / expected;
    ++degrees;
  };
  for (size_t i = 0; i < p.size(); ++i) {
    EXPECT_TRUE(p[i] > 0 || counts[i] == 0) << "token " << i << " is filtered out";
    if (p[i] * draws >= 5) {
      add(p[i] * draws, counts[i]);
    } else {
      rest_expected += p[i] * draws;
      rest_found += counts[i];
    }
  }
  if (rest_expected >= 5) add(rest_expected, rest_found);
  return statistic;
}

// The statistic has mean n and variance 2n: five deviations above are not chance.
void expect_drawn_from(const SamplingOptions& options, const std::vector<float>& logits,
                       const std::vector<double>& p) {
  Sampler sampler(options, int64_t(logits.size()));
  int degrees = 0;
  const double statistic = chi_square(sampler, logits, p, 20000, degrees);
  EXPECT_GT(degrees, 1);
  EXPECT_LT(statistic, degrees + 5 * std::sqrt(2.0 * degrees));
}

TEST(Sampler, MatchesTransformersProcessors) {
  const Json goldens = read_json_file(LATHE_TESTS_DIR "/pipeline/sampling.json");
  ASSERT_GE(goldens.size(), 15u);
  for (const Json& golden : goldens) {
    SCOPED_TRACE(golden.dump().substr(0, 160));
    const auto size = size_t(get_int(golden, "size"));
    const auto logits =
        random_logits(uint64_t(get_int(golden, "logits_seed")), size, get_number(golden, "spread"));
    Sampler sampler(options_of(golden), int64_t(size));
    if (const Json* prompt = find_member(golden, "prompt")) {
      sampler.accept_prompt(prompt->get<std::vector<int32_t>>());
    }
    const auto found = sampler.distribution(logits);
    const auto tokens = get_member(golden, "tokens").get<std::vector<int32_t>>();
    const auto probabilities = get_member(golden, "probabilities").get<std::vector<double>>();
    ASSERT_EQ(found.size(), tokens.size());
    const std::vector<double> p = dense(found, size);
    for (size_t i = 0; i < tokens.size(); ++i) {
      EXPECT_NEAR(p[size_t(tokens[i])], probabilities[i], 2e-6) << "token " << tokens[i];
    }
  }
}

TEST(Sampler, GreedyTakesTheLowestOfEquals) {
  for (const size_t size : {1u, 2u, 31u, 32u, 33u, 64u, 1000u, 49152u}) {
    std::vector<float> logits = random_logits(size, size, 10);
    const auto expected = std::max_element(logits.begin(), logits.end()) - logits.begin();
    EXPECT_EQ(Sampler({}, int64_t(size)).sample(logits), expected) << size;
    for (const size_t at : {size - 1, size / 2, size / 3}) {
      logits[at] = 100;
      EXPECT_EQ(Sampler({}, int64_t(size)).sample(logits), int32_t(at)) << size;
    }
  }
}

TEST(Sampler, DrawsFromTheSoftmax) {
  const auto logits = random_logits(1, 200, 8);
  for (const double temperature : {0.5, 1.0, 2.0}) {
    SamplingOptions options = sampling(7);
    options.temperature = temperature;
    expect_drawn_from(options, logits, softmax(logits, temperature));
  }
}

TEST(Sampler, DrawsFromWhatTheFiltersLeave) {
  const auto logits = random_logits(2, 200, 8);
  for (int which = 0; which < 4; ++which) {
    SamplingOptions options = sampling(11);
    if (which == 0) options.top_k = 17;
    if (which == 1) options.top_p = 0.7;
    if (which == 2) options.min_p = 0.1;
    if (which == 3) options.top_k = 50, options.top_p = 0.9, options.temperature = 1.5;
    // The reference: sort all, cut, renormalise.
    std::vector<double> p = softmax(logits, options.temperature);
    std::vector<size_t> order(p.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return p[a] > p[b]; });
    if (options.top_k > 0) order.resize(size_t(options.top_k));
    double sum = 0, reached = 0;
    for (const size_t i : order) sum += p[i];
    std::vector<double> kept(p.size());
    for (const size_t i : order) {
      if (reached >= options.top_p * sum || p[i] < options.min_p * p[order[0]]) break;
      kept[i] = p[i];
      reached += p[i];
    }
    for (double& value : kept) value /= reached;
    SCOPED_TRACE(which);
    expect_drawn_from(options, logits, kept);
    const auto found = dense(Sampler(options, 200).distribution(logits), 200);
    for (size_t i = 0; i < kept.size(); ++i) EXPECT_NEAR(found[i], kept[i], 1e-6) << i;
  }
}

TEST(Sampler, TopKKeepsEquals) {
  std::vector<float> logits(100, 1.0f);
  logits[50] = 2;
  SamplingOptions options = sampling();
  options.top_k = 2;
  EXPECT_EQ(Sampler(options, 100).distribution(logits).size(), 100u);
  options.top_k = 1;
  EXPECT_EQ(Sampler(options, 100).distribution(logits).size(), 1u);
}

TEST(Sampler, ExtremeTemperaturesAreNumbers) {
  const auto logits = random_logits(5, 100, 50);
  const auto best = int32_t(std::max_element(logits.begin(), logits.end()) - logits.begin());
  SamplingOptions options = sampling();
  options.temperature = 1e-300;
  EXPECT_EQ(Sampler(options, 100).sample(logits), best);
  options.temperature = 1e30;
  for (const auto& [token, probability] : Sampler(options, 100).distribution(logits)) {
    EXPECT_NEAR(probability, 0.01, 1e-6) << token;
  }
}

TEST(Sampler, SameSeedSameTokens) {
  const auto logits = random_logits(3, 1000, 6);
  std::set<std::vector<int32_t>> runs;
  for (const uint64_t seed : {1u, 2u, 3u, 1u}) {
    Sampler sampler(sampling(seed), 1000);
    std::vector<int32_t> tokens;
    for (int i = 0; i < 50; ++i) tokens.push_back(sampler.sample(logits));
    runs.insert(tokens);
  }
  EXPECT_EQ(runs.size(), 3u);
}

// The draws of a seed are part of what users may rely on: a uniform distribution over 2^16 tokens shows the
// upper 16 bits of xoshiro256** as its authors publish it, seeded by splitmix64 from 0. The numbers come from
// a separate implementation in Python.
TEST(Sampler, DrawsAreThoseOfXoshiro) {
  Sampler sampler(sampling(0), 65536);
  const std::vector<float> logits(65536, 0.0f);
  const std::vector<int32_t> expected = {39404, 49006, 6751, 27301, 48037, 65519};
  for (const int32_t token : expected) EXPECT_EQ(sampler.sample(logits), token);
}

TEST(Sampler, PenaltiesAndBias) {
  std::vector<float> logits = {2.0f, 1.9f, -1.0f, 0.0f};
  SamplingOptions options;
  options.repetition_penalty = 2;
  Sampler repetition(options, 4);
  const std::vector<int32_t> prompt = {0, 0, 2};
  repetition.accept_prompt(prompt);
  EXPECT_EQ(repetition.sample(logits), 1);  // 2.0 / 2 < 1.9
  EXPECT_EQ(repetition.sample(logits), 0);  // now 1.9 / 2 too: 1.0 > 0.95

  options = {};
  options.presence_penalty = 0.5;
  Sampler presence(options, 4);
  presence.accept_prompt(prompt);  // the prompt does not count
  EXPECT_EQ(presence.sample(logits), 0);
  EXPECT_EQ(presence.sample(logits), 1);  // 1.5 < 1.9
  EXPECT_EQ(presence.sample(logits), 0);  // 1.5 > 1.4: once only

  options = {};
  options.frequency_penalty = 0.08;
  Sampler frequency(options, 4);
  EXPECT_EQ(frequency.sample(logits), 0);  // 2.0
  EXPECT_EQ(frequency.sample(logits), 0);  // 1.92 > 1.9
  EXPECT_EQ(frequency.sample(logits), 1);  // 1.84 < 1.9

  options = {};
  options.logit_bias = {{3, 2.5f}};
  EXPECT_EQ(Sampler(options, 4).sample(logits), 3);
  options.logit_bias = {{0, -std::numeric_limits<float>::infinity()}};
  EXPECT_EQ(Sampler(options, 4).sample(logits), 1);
  options.do_sample = true;
  for (const auto& [token, probability] : Sampler(options, 4).distribution(logits)) {
    EXPECT_EQ(probability == 0, token == 0);
  }
  EXPECT_EQ(logits[0], 2.0f);
}

TEST(Sampler, NothingLeftIsAnError) {
  SamplingOptions options;
  for (int32_t token = 0; token < 4; ++token)
    options.logit_bias[token] = -std::numeric_limits<float>::infinity();
  const std::vector<float> logits(4, 1.0f);
  for (const bool sample : {false, true}) {
    options.do_sample = sample;
    Sampler sampler(options, 4);
    EXPECT_THROW(sampler.sample(logits), Error);
    options.top_k = 2;
    Sampler filtered(options, 4);
    EXPECT_THROW(filtered.sample(logits), Error);
  }
}

TEST(Sampler, LogProbability) {
  const auto logits = random_logits(9, 5000, 20);
  SamplingOptions options = sampling(4);
  options.temperature = 0.6;  // must not change it
  options.top_k = 30;
  options.logprobs = true;
  Sampler sampler(options, 5000);
  const auto p = softmax(logits, 1);
  for (int i = 0; i < 20; ++i) {
    const int32_t token = sampler.sample(logits);
    EXPECT_NEAR(sampler.last_logprob(), std::log(p[size_t(token)]), 1e-5);
  }
}

TEST(Sampler, BadOptionsAreUsageErrors) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  std::vector<SamplingOptions> bad(13, sampling());
  bad[0].temperature = 0;
  bad[1].temperature = nan;
  bad[2].top_k = -1;
  bad[3].top_p = 0;
  bad[4].top_p = 1.01;
  bad[5].min_p = -0.1;
  bad[6].min_p = nan;
  bad[7].repetition_penalty = 0;
  bad[8].presence_penalty = nan;
  bad[9].frequency_penalty = std::numeric_limits<double>::infinity();
  bad[10].logit_bias = {{100, 1.0f}};
  bad[11].logit_bias = {{5, std::numeric_limits<float>::quiet_NaN()}};
  bad[12].temperature = -1;
  for (size_t i = 0; i < bad.size(); ++i) EXPECT_EQ(code_of(bad[i]), ErrorCode::usage) << i;
  SamplingOptions good = sampling();
  good.logit_bias = {{99, -100.0f}};
  EXPECT_NO_THROW(check(good, 100));
}

}  // namespace
}  // namespace lathe::pipeline
