#include "verify/compare.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace lathe::verify {
namespace {

double log_sum_exp(std::span<const float> logits) {
  const double top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(double(logit) - top);
  return top + std::log(sum);
}

}  // namespace

double Deviation::relative(double floor) const {
  if (!finite) return INFINITY;
  return max_abs / std::max(scale, floor);
}

Deviation compare(std::span<const float> expected, std::span<const float> found) {
  LATHE_CHECK(expected.size() == found.size(), "{} against {} values", expected.size(), found.size());
  Deviation result;
  for (size_t i = 0; i < expected.size(); ++i) {
    result.scale = std::max(result.scale, std::abs(double(expected[i])));
    const double error = std::abs(double(found[i]) - double(expected[i]));
    if (error > result.max_abs || result.index < 0 || !std::isfinite(error)) {
      result.max_abs = error;
      result.index = int64_t(i);
      result.expected = expected[i];
      result.found = found[i];
      if (!std::isfinite(error)) {
        result.finite = false;
        return result;
      }
    }
  }
  return result;
}

double kl_divergence(std::span<const float> expected, std::span<const float> found) {
  const double norm_expected = log_sum_exp(expected);
  const double norm_found = log_sum_exp(found);
  double sum = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double log_p = double(expected[i]) - norm_expected;
    sum += std::exp(log_p) * (log_p - (double(found[i]) - norm_found));
  }
  return std::max(sum, 0.0);  // rounding may leave -1e-17
}

double perplexity(std::span<const std::vector<float>> rows, std::span<const int32_t> tokens) {
  LATHE_CHECK(tokens.size() >= 2 && rows.size() + 1 >= tokens.size(), "{} rows for {} tokens", rows.size(),
              tokens.size());
  double sum = 0;
  for (size_t i = 0; i + 1 < tokens.size(); ++i) {
    sum += log_sum_exp(rows[i]) - double(rows[i][size_t(tokens[i + 1])]);
  }
  return std::exp(sum / double(tokens.size() - 1));
}

Top top_of(std::span<const float> logits) {
  const auto best = std::max_element(logits.begin(), logits.end());
  double second = -INFINITY;
  for (auto it = logits.begin(); it != logits.end(); ++it) {
    if (it != best) second = std::max(second, double(*it));
  }
  return {best - logits.begin(), double(*best) - second};
}

void LogitComparison::add(std::span<const float> expected, std::span<const float> found) {
  const double kl = kl_divergence(expected, found);
  if (!std::isfinite(kl)) fail(ErrorCode::verification, "position {}: a logit is not finite", kl_.size());
  kl_.push_back(kl);
  agree_ += top_of(expected).token == top_of(found).token ? 1 : 0;
}

LogitStats LogitComparison::stats() const {
  LogitStats stats;
  stats.positions = int64_t(kl_.size());
  if (kl_.empty()) return stats;
  std::vector<double> sorted = kl_;
  std::sort(sorted.begin(), sorted.end());
  for (const double kl : sorted) stats.mean_kl += kl / double(sorted.size());
  stats.p99_kl = sorted[size_t(std::ceil(0.99 * double(sorted.size()))) - 1];
  stats.top1 = double(agree_) / double(kl_.size());
  return stats;
}

}  // namespace lathe::verify
