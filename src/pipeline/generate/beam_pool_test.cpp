#include "pipeline/generate/beam_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

namespace lathe::pipeline {
namespace {

constexpr int32_t kEnd = 0;

// A model whose next token depends on the last only: rows of log-probabilities, the last row for the start.
struct Markov {
  std::vector<std::vector<float>> rows;

  Markov(int vocab, unsigned seed) {
    std::mt19937 random(seed);
    for (int r = 0; r <= vocab; ++r) {
      std::vector<double> weights;
      double sum = 0;
      for (int i = 0; i < vocab; ++i) sum += weights.emplace_back(double(1 + random() % 1000));
      std::vector<float>& row = rows.emplace_back();
      for (const double weight : weights) row.push_back(float(std::log(weight / sum)));
    }
  }
  const std::vector<float>& next(const std::vector<int32_t>& tokens) const {
    return tokens.empty() ? rows.back() : rows[size_t(tokens.back())];
  }
  double score(const std::vector<int32_t>& tokens) const {
    double sum = 0;
    std::vector<int32_t> before;
    for (const int32_t token : tokens) {
      sum += double(next(before)[size_t(token)]);
      before.push_back(token);
    }
    return sum / double(tokens.size());
  }
  // The best of all sequences that end or have `limit` tokens.
  void best(std::vector<int32_t>& tokens, size_t limit, std::vector<int32_t>& best_tokens,
            double& best_score) const {
    if (!tokens.empty() && (tokens.back() == kEnd || tokens.size() == limit)) {
      const double value = score(tokens);
      if (value > best_score) best_score = value, best_tokens = tokens;
      return;
    }
    for (int32_t token = 0; token < int32_t(rows.front().size()); ++token) {
      tokens.push_back(token);
      best(tokens, limit, best_tokens, best_score);
      tokens.pop_back();
    }
  }
};

BeamPool search(const Markov& model, int64_t beams, int64_t limit) {
  BeamPool pool(beams, {kEnd}, limit);
  while (!pool.done()) {
    std::vector<std::vector<float>> rows;
    for (const Beam& beam : pool.running()) rows.push_back(model.next(beam.tokens));
    pool.advance(rows);
  }
  return pool;
}

// With so many beams that nothing is cut off, the search is exhaustive but for its early end.
TEST(BeamPool, ManyBeamsFindTheBestOfAll) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    const Markov model(5, seed);
    std::vector<int32_t> tokens, best;
    double score = -std::numeric_limits<double>::infinity();
    model.best(tokens, 4, best, score);
    const BeamPool pool = search(model, 700, 4);
    EXPECT_EQ(pool.finished().front().tokens, best) << seed;
    EXPECT_NEAR(pool.finished().front().score, score, 1e-9);
  }
}

TEST(BeamPool, OneBeamIsGreedyUntilTheEnd) {
  const Markov model(40, 3);
  std::vector<int32_t> greedy;
  while (greedy.size() < 10) {
    const auto& row = model.next(greedy);
    greedy.push_back(int32_t(std::max_element(row.begin() + 1, row.end()) - row.begin()));
  }
  BeamPool pool(1, {}, 10);
  // The end token is made impossible, so that the one beam can only be cut by its length.
  while (!pool.done()) {
    std::vector<float> row = model.next(pool.running().front().tokens);
    row[kEnd] = -std::numeric_limits<float>::infinity();
    pool.advance(std::vector<std::vector<float>>{row});
  }
  EXPECT_EQ(pool.finished().front().tokens, greedy);
  EXPECT_FALSE(pool.finished().front().ended);
}

TEST(BeamPool, InvariantsOfEveryStep) {
  for (unsigned seed = 0; seed < 30; ++seed) {
    const Markov model(12, 100 + seed);
    BeamPool pool(4, {kEnd}, 8);
    for (size_t length = 1; !pool.done(); ++length) {
      const std::vector<Beam> before = pool.running();
      std::vector<std::vector<float>> rows;
      for (const Beam& beam : before) rows.push_back(model.next(beam.tokens));
      pool.advance(rows);
      EXPECT_LE(pool.finished().size(), 4u);
      for (const Beam& beam : pool.running()) {
        EXPECT_EQ(beam.tokens.size(), length);
        EXPECT_NE(beam.tokens.back(), kEnd);
        EXPECT_TRUE(
            std::equal(beam.tokens.begin(), beam.tokens.end() - 1, before[beam.parent].tokens.begin()));
        EXPECT_NEAR(beam.score, model.score(beam.tokens) * double(length), 1e-6);
        EXPECT_LE(beam.score, pool.running().front().score);
      }
    }
    ASSERT_FALSE(pool.finished().empty());
    for (const Beam& beam : pool.finished()) {
      EXPECT_NEAR(beam.score, model.score(beam.tokens), 1e-6);
      EXPECT_EQ(beam.ended, beam.tokens.back() == kEnd);
      EXPECT_LE(beam.score, pool.finished().front().score);
    }
  }
}

}  // namespace
}  // namespace lathe::pipeline
