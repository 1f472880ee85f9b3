// DDIM backwards: from a clean sample to the noise that DDIM would have made it from.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "pipeline/diffuse/scheduler_bases.h"
#include "pipeline/diffuse/scheduler_kind.h"

namespace lathe::pipeline {
namespace {

class DdimInverse : public AlphaScheduler {
 public:
  DdimInverse(const contract::SchedulerConfig& config, int steps, const SchedulerRun& run)
      : AlphaScheduler(config, run), stride_(config.num_train_timesteps / steps) {
    std::vector<double> timesteps = whole_timesteps(config, steps);
    std::ranges::reverse(timesteps);
    set_timesteps(std::move(timesteps));
    if (config.prediction_type == PredictionType::sample && alpha_or_final(timesteps_[0] - double(stride_)) == 1) {
      fail(ErrorCode::invalid_input,
           "set_alpha_to_one: the first step has no noise, so epsilon cannot be found from a prediction of the sample");
    }
  }

 private:
  void advance(size_t at, std::span<const float> output, std::span<float> sample, const Noise&) override {
    const double next = timesteps_[at];
    const double timestep = std::min(next - double(stride_), double(config_.num_train_timesteps - 1));
    const float a = alpha_or_final(timestep), a_next = alpha(next);
    const float signal = std::sqrt(a), sigma = std::sqrt(1.0f - a);
    std::vector<float> clean = predict_clean(config_.prediction_type, signal, sigma, sample, output);
    const std::vector<float> epsilon = predict_epsilon(config_.prediction_type, signal, sigma, sample, output);
    if (config_.clip_sample) clip(clean, config_.clip_sample_range);
    sum_terms({{std::sqrt(a_next), clean}, {std::sqrt(1.0f - a_next), epsilon}}, sample);
  }

  int64_t stride_;
};

}  // namespace

const SchedulerKind& ddim_inverse_scheduler() {
  static const SchedulerKind kind{"DDIMInverseScheduler", 1, make_of<DdimInverse>};
  return kind;
}

}  // namespace lathe::pipeline
