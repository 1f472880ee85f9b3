// DDPM (arXiv 2006.11239): noise at every step but the last.
#include <algorithm>
#include <cmath>

#include "pipeline/diffuse/scheduler_bases.h"
#include "pipeline/diffuse/scheduler_kind.h"

namespace lathe::pipeline {
namespace {

using contract::VarianceType;

class Ddpm : public AlphaScheduler {
 public:
  Ddpm(const contract::SchedulerConfig& config, int steps, const SchedulerRun& run) : AlphaScheduler(config, run) {
    set_timesteps(whole_timesteps(config, steps));
  }
  bool is_stochastic() const override { return timesteps_.front() > 0; }

 private:
  // The factor of the noise, from the variance of the true step back, (1 - a') / (1 - a) * beta.
  float deviation(float a, float a_next) const {
    const float beta = 1.0f - a / a_next;
    const float variance = std::max((1.0f - a_next) / (1.0f - a) * beta, 1e-20f);
    switch (config_.variance_type.value_or(VarianceType::fixed_small)) {
      case VarianceType::fixed_small_log:
        return std::exp(0.5f * std::log(variance));
      case VarianceType::fixed_large:
        return std::sqrt(beta);
      default:
        return std::sqrt(variance);
    }
  }

  void advance(size_t at, std::span<const float> output, std::span<float> sample, const Noise& noise) override {
    const double timestep = timesteps_[at];
    const float a = alpha(timestep), a_next = at + 1 < timesteps_.size() ? alpha(timesteps_[at + 1]) : 1.0f;
    const float step_alpha = a / a_next, step_beta = 1.0f - step_alpha;
    std::vector<float> clean =
        predict_clean(config_.prediction_type, std::sqrt(a), std::sqrt(1.0f - a), sample, output);
    limit(clean);
    const float of_clean = (std::sqrt(a_next) * step_beta) / (1.0f - a);
    const float of_sample = std::sqrt(step_alpha) * (1.0f - a_next) / (1.0f - a);
    if (timestep > 0) {
      std::vector<float> drawn(sample.size());
      noise(drawn);
      sum_terms({{of_clean, clean}, {of_sample, sample}, {deviation(a, a_next), drawn}}, sample);
    } else {
      sum_terms({{of_clean, clean}, {of_sample, sample}}, sample);
    }
  }
};

}  // namespace

const SchedulerKind& ddpm_scheduler() {
  static const SchedulerKind kind{"DDPMScheduler", 1, make_of<Ddpm>};
  return kind;
}

}  // namespace lathe::pipeline
