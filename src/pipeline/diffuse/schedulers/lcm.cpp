// Latent consistency models (arXiv 2310.04378): every step predicts the picture and noises it again.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "pipeline/diffuse/numeric.h"
#include "pipeline/diffuse/scheduler_bases.h"
#include "pipeline/diffuse/scheduler_kind.h"

namespace lathe::pipeline {
namespace {

class Lcm : public AlphaScheduler {
 public:
  Lcm(const contract::SchedulerConfig& config, int steps, const SchedulerRun& run) : AlphaScheduler(config, run) {
    const int64_t original = config.original_inference_steps;
    if (steps > original) {
      fail(ErrorCode::usage, "steps: LCM can take 1 to {} (original_inference_steps), found {}", original, steps);
    }
    // The run's timesteps are some of those that the distilled model's teacher took.
    const int64_t stride = config.num_train_timesteps / original;
    std::vector<double> timesteps;
    for (int i = 0; i < steps; ++i) {
      const auto place = int64_t(std::floor(double(i) * (double(original) / double(steps))));
      timesteps.push_back(double((original - place) * stride - 1));
    }
    set_timesteps(std::move(timesteps));
  }
  bool is_stochastic() const override { return timesteps_.size() > 1; }

 private:
  void advance(size_t at, std::span<const float> output, std::span<float> sample, const Noise& noise) override {
    const bool last = at + 1 == timesteps_.size();
    const float a = alpha(timesteps_[at]), a_next = alpha(timesteps_[last ? at : at + 1]);
    std::vector<float> clean =
        predict_clean(config_.prediction_type, std::sqrt(a), std::sqrt(1.0f - a), sample, output);
    limit(clean);
    // Boundary condition: at timestep 0 the sample itself is the picture. 0.25 is the data's variance.
    const float time = float(timesteps_[at]) * float(config_.timestep_scaling);
    const float of_sample = 0.25f / (time * time + 0.25f), of_clean = time / std::sqrt(time * time + 0.25f);
    sum_terms({{of_clean, clean}, {of_sample, sample}}, sample);
    if (last) return;
    std::vector<float> drawn(sample.size());
    noise(drawn);
    sum_terms({{std::sqrt(a_next), sample}, {std::sqrt(1.0f - a_next), drawn}}, sample);
  }
};

}  // namespace

const SchedulerKind& lcm_scheduler() {
  static const SchedulerKind kind{"LCMScheduler", 1, make_of<Lcm>};
  return kind;
}

}  // namespace lathe::pipeline
