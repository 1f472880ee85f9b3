// Measures of how far apart two results are.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace lathe::verify {

// Largest |found - expected|, where, and the largest |expected|.
struct Deviation {
  double max_abs = 0;
  int64_t index = -1;
  double expected = 0;  // at index
  double found = 0;
  double scale = 0;
  bool finite = true;  // false: a NaN or an infinity in `found`, at index

  // max_abs as a share of the scale, which counts as at least `floor`.
  double relative(double floor) const;
};
Deviation compare(std::span<const float> expected, std::span<const float> found);

// Differences between two distributions given as logits, position by position.
struct LogitStats {
  double mean_kl = 0;  // KL(expected || found) in nats
  double p99_kl = 0;
  double top1 = 1;  // share of positions with the same most likely token
  int64_t positions = 0;
};
class LogitComparison {
 public:
  // Both [vocabulary]. Throws verification when a value is not finite.
  void add(std::span<const float> expected, std::span<const float> found);
  LogitStats stats() const;

 private:
  std::vector<double> kl_;
  int64_t agree_ = 0;
};

// KL divergence in nats between the softmax of two rows of logits.
double kl_divergence(std::span<const float> expected, std::span<const float> found);
// exp of the mean negative log-likelihood of tokens[i + 1] after rows[i]. `tokens` has at least 2, `rows` one for
// each but the last (one for the last is ignored).
double perplexity(std::span<const std::vector<float>> rows, std::span<const int32_t> tokens);
// Index of the largest logit, and how far the second is below it.
struct Top {
  int64_t token;
  double margin;
};
Top top_of(std::span<const float> logits);

}  // namespace lathe::verify
