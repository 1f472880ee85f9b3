// Euler's method on the probability flow (arXiv 2206.00364, algorithm 2 without churn).
#include <cmath>

#include "pipeline/diffuse/numeric.h"
#include "pipeline/diffuse/scheduler_bases.h"
#include "pipeline/diffuse/scheduler_kind.h"

namespace lathe::pipeline {
namespace {

class Euler : public SigmaScheduler {
 public:
  Euler(const contract::SchedulerConfig& config, int steps, const SchedulerRun&)
      : SigmaScheduler(plain_first(config), steps, {}) {
    config_ = config;
    if (config.interpolation_type == contract::SigmaInterpolation::log_linear) space_logarithms(steps);
    if (config.final_sigmas_type == contract::FinalSigma::sigma_min) sigmas_.back() = table_.sigmas.front();
    if (config.timestep_type == contract::TimestepType::continuous &&
        config.prediction_type == PredictionType::v_prediction) {
      timesteps_.clear();
      for (size_t i = 0; i + 1 < sigmas_.size(); ++i) timesteps_.push_back(double(0.25f * std::log(sigmas_[i])));
    }
    set_init_noise();
  }

 private:
  // With sigmas of their own the rules of spacing come after them.
  static contract::SchedulerConfig plain_first(contract::SchedulerConfig config) {
    if (config.interpolation_type == contract::SigmaInterpolation::log_linear)
      config.use_karras_sigmas = config.use_exponential_sigmas = config.use_beta_sigmas = false;
    return config;
  }

  // Equal steps of log(sigma) over the whole table; one sigma more than the steps visit.
  void space_logarithms(int steps) {
    std::vector<double> sigmas;
    const double high = double(table_.log_sigmas.back()), low = double(table_.log_sigmas.front());
    for (const float log_sigma : linspace_float(high, low, size_t(steps) + 1))
      sigmas.push_back(double(std::exp(log_sigma)));
    if (has_spaced_sigmas(config_)) {
      sigmas = spaced_sigmas(config_, config_.sigma_max.value_or(sigmas.front()),
                             config_.sigma_min.value_or(sigmas.back()), steps);
      timesteps_.clear();
      for (const double sigma : sigmas) timesteps_.push_back(sigma_to_timestep(sigma, table_));
    }
    sigmas_.assign(sigmas.begin(), sigmas.end());
    sigmas_.push_back(0);
  }

  void advance(size_t at, std::span<const float> output, std::span<float> sample, const Noise&) override {
    const float sigma = sigmas_[at], change = sigmas_[at + 1] - sigma;
    const std::vector<float> clean = predict_clean_at(config_.prediction_type, sigma, sample, output);
    for (size_t i = 0; i < sample.size(); ++i) sample[i] += (sample[i] - clean[i]) / sigma * change;
  }
};

}  // namespace

const SchedulerKind& euler_scheduler() {
  static const SchedulerKind kind{"EulerDiscreteScheduler", 1, make_of<Euler>};
  return kind;
}

}  // namespace lathe::pipeline
