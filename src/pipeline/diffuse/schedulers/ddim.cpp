// DDIM (arXiv 2010.02502), with eta between its deterministic form and DDPM.
#include <cmath>

#include "pipeline/diffuse/scheduler_bases.h"
#include "pipeline/diffuse/scheduler_kind.h"

namespace lathe::pipeline {
namespace {

class Ddim : public AlphaScheduler {
 public:
  Ddim(const contract::SchedulerConfig& config, int steps, const SchedulerRun& run)
      : AlphaScheduler(config, run), stride_(config.num_train_timesteps / steps) {
    set_timesteps(whole_timesteps(config, steps));
  }
  bool is_stochastic() const override { return run_.eta > 0; }

 private:
  void advance(size_t at, std::span<const float> output, std::span<float> sample, const Noise& noise) override {
    const double timestep = timesteps_[at];
    const float a = alpha(timestep), a_next = alpha_or_final(timestep - double(stride_));
    const float signal = std::sqrt(a), sigma = std::sqrt(1.0f - a);
    std::vector<float> clean = predict_clean(config_.prediction_type, signal, sigma, sample, output);
    const std::vector<float> epsilon = predict_epsilon(config_.prediction_type, signal, sigma, sample, output);
    limit(clean);
    const float variance = ((1.0f - a_next) / (1.0f - a)) * (1.0f - a / a_next);
    const float deviation = float(run_.eta) * std::sqrt(variance);
    const float direction = std::sqrt(1.0f - a_next - deviation * deviation);
    if (run_.eta > 0) {
      std::vector<float> drawn(sample.size());
      noise(drawn);
      sum_terms({{std::sqrt(a_next), clean}, {direction, epsilon}, {deviation, drawn}}, sample);
    } else {
      sum_terms({{std::sqrt(a_next), clean}, {direction, epsilon}}, sample);
    }
  }

  int64_t stride_;  // training steps between two of the run
};

}  // namespace

const SchedulerKind& ddim_scheduler() {
  static const SchedulerKind kind{"DDIMScheduler", 1, make_of<Ddim>};
  return kind;
}

}  // namespace lathe::pipeline
