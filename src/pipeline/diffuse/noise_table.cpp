#include "pipeline/diffuse/noise_table.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "pipeline/diffuse/numeric.h"

namespace lathe::pipeline {
namespace {

using contract::BetaSchedule;
using contract::SchedulerConfig;
using contract::TimestepSpacing;

// The share of the signal's variance at a time of 0 to 1, of the schedules that are given by it.
double alpha_bar(BetaSchedule schedule, double t) {
  if (schedule == BetaSchedule::exp) return std::exp(t * -12.0);
  if (schedule == BetaSchedule::laplace) {
    const double lambda = -0.5 * std::copysign(1.0, 0.5 - t) * std::log(1 - 2 * std::abs(0.5 - t) + 1e-6);
    const double snr = std::exp(lambda);
    return std::sqrt(snr / (1 + snr));
  }
  const double c = std::cos((t + 0.008) / 1.008 * std::numbers::pi / 2);
  return c * c;
}

std::vector<float> make_betas(const SchedulerConfig& config) {
  const auto count = size_t(config.num_train_timesteps);
  if (config.trained_betas) return {config.trained_betas->begin(), config.trained_betas->end()};
  std::vector<float> betas;
  switch (config.beta_schedule) {
    case BetaSchedule::linear:
      return linspace_float(config.beta_start, config.beta_end, count);
    case BetaSchedule::scaled_linear:
      betas = linspace_float(std::sqrt(config.beta_start), std::sqrt(config.beta_end), count);
      for (float& beta : betas) beta *= beta;
      return betas;
    case BetaSchedule::sigmoid:
      betas = linspace_float(-6, 6, count);
      for (float& beta : betas) {
        const float sigmoid = 1.0f / (1.0f + std::exp(-beta));
        beta = sigmoid * float(config.beta_end - config.beta_start) + float(config.beta_start);
      }
      return betas;
    default:
      break;
  }
  for (size_t i = 0; i < count; ++i) {
    const double now = alpha_bar(config.beta_schedule, double(i) / double(count));
    const double next = alpha_bar(config.beta_schedule, double(i + 1) / double(count));
    betas.push_back(float(std::min(1 - next / now, 0.999)));
  }
  return betas;
}

// torch.cumprod adds up in double and rounds each result.
std::vector<float> cumulative_alphas(const std::vector<float>& betas) {
  std::vector<float> result;
  double product = 1;
  for (const float beta : betas) {
    product *= double(1.0f - beta);
    result.push_back(float(product));
  }
  return result;
}

// Shifts and scales the square roots so that the first stays and the last is 0 (arXiv 2305.08891, algorithm 1).
std::vector<float> rescale_to_zero_snr(const std::vector<float>& betas) {
  std::vector<float> roots = cumulative_alphas(betas);
  for (float& root : roots) root = std::sqrt(root);
  const float first = roots.front(), last = roots.back();
  const float scale = first / (first - last);
  for (float& root : roots) root = (root - last) * scale;
  std::vector<float> result;
  float before = 0;
  for (const float root : roots) {
    const float bar = root * root;
    result.push_back(1.0f - (result.empty() ? bar : bar / before));
    before = bar;
  }
  return result;
}

std::vector<double> rounded(std::vector<double> values) {
  for (double& value : values) value = std::nearbyint(value);  // half to even, as numpy rounds
  return values;
}

std::vector<double> leading(int64_t ratio, int count, int64_t offset) {
  std::vector<double> result;
  for (int64_t i = count - 1; i >= 0; --i) result.push_back(double(i * ratio + offset));
  return result;
}

std::vector<double> trailing(double start, double step) {
  std::vector<double> result = rounded(arange_down(start, step));
  for (double& value : result) value -= 1;
  return result;
}

std::vector<double> reversed(std::vector<double> values) {
  std::ranges::reverse(values);
  return values;
}

}  // namespace

NoiseTable make_noise_table(const SchedulerConfig& config, ZeroSignal zero_signal) {
  std::vector<float> betas = make_betas(config);
  if (config.rescale_betas_zero_snr) betas = rescale_to_zero_snr(betas);
  NoiseTable table;
  table.alphas_cumprod = cumulative_alphas(betas);
  if (config.rescale_betas_zero_snr && zero_signal == ZeroSignal::almost) table.alphas_cumprod.back() = 0x1p-24f;
  for (const float alpha : table.alphas_cumprod) {
    table.sigmas.push_back(std::sqrt((1.0f - alpha) / alpha));
    table.log_sigmas.push_back(numpy_log(table.sigmas.back()));
  }
  return table;
}

std::vector<double> whole_timesteps(const SchedulerConfig& config, int steps) {
  const int64_t train = config.num_train_timesteps;
  switch (config.timestep_spacing) {
    case TimestepSpacing::linspace:
      return reversed(rounded(linspace(0, double(train - 1), size_t(steps))));
    case TimestepSpacing::leading:
      return leading(train / steps, steps, config.steps_offset);
    case TimestepSpacing::trailing:
      return trailing(double(train), double(train) / steps);
  }
  return {};
}

std::vector<double> fractional_timesteps(const SchedulerConfig& config, int steps, TimestepDigits digits) {
  if (config.timestep_spacing != TimestepSpacing::linspace) return whole_timesteps(config, steps);
  std::vector<double> result = reversed(linspace(0, double(config.num_train_timesteps - 1), size_t(steps)));
  if (digits == TimestepDigits::as_float) {
    for (double& value : result) value = double(float(value));
  }
  return result;
}

std::vector<double> solver_timesteps(const SchedulerConfig& config, int steps, int64_t limit) {
  std::vector<double> result;
  switch (config.timestep_spacing) {
    case TimestepSpacing::linspace:
      result = reversed(rounded(linspace(0, double(limit - 1), size_t(steps) + 1)));
      result.pop_back();
      return result;
    case TimestepSpacing::leading:
      result = leading(limit / (steps + 1), steps + 1, config.steps_offset);
      result.pop_back();
      return result;
    case TimestepSpacing::trailing:
      return trailing(double(limit), double(config.num_train_timesteps) / steps);
  }
  return result;
}

double sigma_to_timestep(double sigma, const NoiseTable& table) {
  const std::vector<float>& logs = table.log_sigmas;
  const double log_sigma = std::log(std::max(sigma, 1e-10));
  size_t low = 0;
  for (size_t i = 0; i < logs.size(); ++i) {
    if (log_sigma - double(logs[i]) >= 0) low = i;
  }
  low = std::min(low, logs.size() - 2);
  const float distance = logs[low] - logs[low + 1];
  const double weight = std::clamp((double(logs[low]) - log_sigma) / double(distance), 0.0, 1.0);
  return (1 - weight) * double(low) + weight * double(low + 1);
}

bool has_spaced_sigmas(const SchedulerConfig& config) {
  return config.use_karras_sigmas || config.use_exponential_sigmas || config.use_beta_sigmas;
}

std::vector<double> spaced_sigmas(const SchedulerConfig& config, double sigma_max, double sigma_min, int steps) {
  std::vector<double> result;
  if (config.use_karras_sigmas) {
    constexpr double kRho = 7;
    const double low = std::pow(sigma_min, 1 / kRho), high = std::pow(sigma_max, 1 / kRho);
    for (const double ramp : linspace(0, 1, size_t(steps)))
      result.push_back(std::pow(high + ramp * (low - high), kRho));
  } else if (config.use_exponential_sigmas) {
    for (const double log_sigma : linspace(std::log(sigma_max), std::log(sigma_min), size_t(steps)))
      result.push_back(std::exp(log_sigma));
  } else {
    constexpr double kShape = 0.6;
    for (const double ramp : linspace(0, 1, size_t(steps)))
      result.push_back(sigma_min + beta_quantile(1 - ramp, kShape) * (sigma_max - sigma_min));
  }
  return result;
}

}  // namespace lathe::pipeline
