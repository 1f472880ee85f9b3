#include "pipeline/diffuse/scheduler_bases.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "pipeline/diffuse/numeric.h"

namespace lathe::pipeline {
namespace {

using contract::SchedulerConfig;
using contract::TimestepSpacing;

// Two steps with the same noise divide by zero.
void check_decreasing(std::span<const float> sigmas, size_t steps) {
  for (size_t i = 0; i + 1 < sigmas.size(); ++i) {
    if (sigmas[i] > sigmas[i + 1] || (i + 2 == sigmas.size() && sigmas[i] == sigmas[i + 1])) continue;
    fail(ErrorCode::usage, "{} steps: step {} goes from sigma {} to {}; take fewer steps or another timestep_spacing",
         steps, i + 1, sigmas[i], sigmas[i + 1]);
  }
}

}  // namespace

AlphaScheduler::AlphaScheduler(const SchedulerConfig& config, const SchedulerRun& run)
    : config_(config), run_(run), table_(make_noise_table(config, ZeroSignal::keep)) {}

void AlphaScheduler::set_timesteps(std::vector<double> timesteps) {
  for (const double timestep : timesteps) {
    if (timestep < 0 || timestep >= double(config_.num_train_timesteps)) {
      fail(ErrorCode::usage, "{} steps with steps_offset {} reach timestep {}, the model knows 0 to {}",
           timesteps.size(), config_.steps_offset, timestep, config_.num_train_timesteps - 1);
    }
    if (alpha(timestep) == 0 && config_.prediction_type == PredictionType::epsilon) {
      fail(ErrorCode::invalid_input,
           "rescale_betas_zero_snr: timestep {} has no signal, so nothing can be found from a prediction of epsilon",
           timestep);
    }
  }
  timesteps_ = std::move(timesteps);
}

Scheduler::Level AlphaScheduler::level(size_t at) const {
  const float a = alpha(timesteps_[at]);
  return {std::sqrt(a), std::sqrt(1.0f - a)};
}

float AlphaScheduler::alpha_or_final(double timestep) const {
  if (timestep >= 0) return alpha(timestep);
  return config_.set_alpha_to_one ? 1.0f : table_.alphas_cumprod.front();
}

void AlphaScheduler::limit(std::span<float> clean) const {
  if (config_.thresholding)
    threshold(clean, run_.batch, config_.dynamic_thresholding_ratio, config_.sample_max_value);
  else if (config_.clip_sample)
    clip(clean, config_.clip_sample_range);
}

SigmaScheduler::SigmaScheduler(const SchedulerConfig& config, int steps, Form form)
    : config_(config), table_(make_noise_table(config, ZeroSignal::almost)) {
  timesteps_ = fractional_timesteps(config, steps, form.digits);
  for (const double timestep : timesteps_) step_sigmas_.push_back(interpolate(timestep, table_.sigmas));
  if (has_spaced_sigmas(config)) {
    const bool range = form.karras_range || !config.use_karras_sigmas;
    const double high = range && config.sigma_max ? *config.sigma_max : step_sigmas_.front();
    const double low = range && config.sigma_min ? *config.sigma_min : step_sigmas_.back();
    step_sigmas_ = spaced_sigmas(config, high, low, steps);
    timesteps_.clear();
    for (const double sigma : step_sigmas_) {
      const double timestep = sigma_to_timestep(sigma, table_);
      timesteps_.push_back(config.use_karras_sigmas && form.round_karras ? std::nearbyint(timestep) : timestep);
    }
  }
  sigmas_.assign(step_sigmas_.begin(), step_sigmas_.end());
  sigmas_.push_back(0);
  check_decreasing(sigmas_, step_sigmas_.size());
  set_init_noise();
}

void SigmaScheduler::set_init_noise() {
  const float largest = *std::ranges::max_element(sigmas_);
  const bool leading = config_.timestep_spacing == TimestepSpacing::leading;
  init_noise_sigma_ = leading ? std::sqrt(largest * largest + 1.0f) : largest;
}

void SigmaScheduler::repeat_steps() {
  std::vector<float> sigmas;
  std::vector<double> timesteps;
  for (size_t i = 0; i < sigmas_.size(); ++i) {
    const bool once = i == 0 || i + 1 == sigmas_.size();
    sigmas.insert(sigmas.end(), once ? 1 : 2, sigmas_[i]);
  }
  for (size_t i = 0; i < timesteps_.size(); ++i) timesteps.insert(timesteps.end(), i == 0 ? 1 : 2, timesteps_[i]);
  sigmas_ = std::move(sigmas);
  timesteps_ = std::move(timesteps);
}

SolverScheduler::Point::Point(float table_sigma)
    : alpha(1.0f / std::sqrt(table_sigma * table_sigma + 1.0f)),
      sigma(table_sigma * alpha),
      lambda(std::log(alpha) - std::log(sigma)) {}

SolverScheduler::SolverScheduler(const SchedulerConfig& config, int steps, const SchedulerRun& run, int64_t limit,
                                 Last plain, Last spaced)
    : config_(config), run_(run), table_(make_noise_table(config, ZeroSignal::almost)) {
  timesteps_ = solver_timesteps(config, steps, limit);
  std::vector<double> sigmas;
  const bool rule = has_spaced_sigmas(config) || config.use_lu_lambdas;
  if (rule) {
    set_spaced(steps, sigmas);
  } else {
    for (const double timestep : timesteps_) sigmas.push_back(interpolate(timestep, table_.sigmas));
  }
  sigmas_.assign(sigmas.begin(), sigmas.end());
  const Last last = rule ? spaced : plain;
  sigmas_.push_back(last == Last::zero ? 0 : last == Last::table ? table_.sigmas.front() : float(sigmas.back()));
  check_decreasing(sigmas_, timesteps_.size());
}

void SolverScheduler::set_spaced(int steps, std::vector<double>& sigmas) {
  const double high = config_.sigma_max.value_or(double(table_.sigmas.back()));
  const double low = config_.sigma_min.value_or(double(table_.sigmas.front()));
  const bool logarithms = config_.use_lu_lambdas && !config_.use_karras_sigmas;  // which of two wins
  if (!logarithms) {
    sigmas = spaced_sigmas(config_, high, low, steps);
  } else {  // equal steps of log(sigma)
    const double last = double(table_.log_sigmas.front()), first = double(table_.log_sigmas.back());
    for (const double ramp : linspace(0, 1, size_t(steps))) sigmas.push_back(std::exp(first + ramp * (last - first)));
  }
  // Diffusers rounds the timesteps of two rules and cuts off the others' fractions.
  const bool cosine = config_.beta_schedule == contract::BetaSchedule::squaredcos_cap_v2;
  const bool ours = config_.class_name == "DPMSolverMultistepScheduler" && cosine;
  const bool round = (config_.use_karras_sigmas || config_.use_lu_lambdas) && !ours;
  timesteps_.clear();
  for (const double sigma : sigmas) {
    const double timestep = sigma_to_timestep(sigma, table_);
    timesteps_.push_back(round ? std::nearbyint(timestep) : std::trunc(timestep));
  }
}

int64_t SolverScheduler::count_unclipped(const SchedulerConfig& config) {
  if (!config.lambda_min_clipped) return config.num_train_timesteps;
  const NoiseTable table = make_noise_table(config, ZeroSignal::almost);
  int64_t count = 0;
  for (const float a : table.alphas_cumprod) {
    const float lambda = std::log(std::sqrt(a)) - std::log(std::sqrt(1.0f - a));
    count += double(lambda) >= *config.lambda_min_clipped;
  }
  if (count < 2) {
    fail(ErrorCode::invalid_input, "lambda_min_clipped: {} leaves {} of {} training steps", *config.lambda_min_clipped,
         count, config.num_train_timesteps);
  }
  return count;
}

SolverScheduler::Last SolverScheduler::last_of(const SchedulerConfig& config, Last where) {
  return config.final_sigmas_type == contract::FinalSigma::zero ? Last::zero : where;
}

Scheduler::Level SolverScheduler::level(size_t at) const {
  const Point here = point(at);
  return {here.alpha, here.sigma};
}

void SolverScheduler::limit(std::span<float> clean) const {
  if (config_.thresholding) threshold(clean, run_.batch, config_.dynamic_thresholding_ratio, config_.sample_max_value);
}

std::vector<float> SolverScheduler::clean_at(size_t at, std::span<const float> sample,
                                             std::span<const float> output) const {
  const Point here = point(at);
  std::vector<float> clean = predict_clean(config_.prediction_type, here.alpha, here.sigma, sample, output);
  limit(clean);
  return clean;
}

}  // namespace lathe::pipeline
