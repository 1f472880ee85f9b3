// Euler's method to below the next level of noise, and noise up to it.
#include <cmath>

#include "pipeline/diffuse/scheduler_bases.h"
#include "pipeline/diffuse/scheduler_kind.h"

namespace lathe::pipeline {
namespace {

class EulerAncestral : public SigmaScheduler {
 public:
  EulerAncestral(const contract::SchedulerConfig& config, int steps, const SchedulerRun&)
      : SigmaScheduler(config, steps, {}) {}
  bool is_stochastic() const override { return true; }

 private:
  void advance(size_t at, std::span<const float> output, std::span<float> sample, const Noise& noise) override {
    const float sigma = sigmas_[at], next = sigmas_[at + 1];
    const float up = std::sqrt(next * next * (sigma * sigma - next * next) / (sigma * sigma));
    const float change = std::sqrt(next * next - up * up) - sigma;
    const std::vector<float> clean = predict_clean_at(config_.prediction_type, sigma, sample, output);
    std::vector<float> drawn(sample.size());
    noise(drawn);  // at the last step, too, where it counts for nothing: the stream goes on from there
    for (size_t i = 0; i < sample.size(); ++i)
      sample[i] = sample[i] + (sample[i] - clean[i]) / sigma * change + drawn[i] * up;
  }
};

}  // namespace

const SchedulerKind& euler_ancestral_scheduler() {
  static const SchedulerKind kind{"EulerAncestralDiscreteScheduler", 1, make_of<EulerAncestral>};
  return kind;
}

}  // namespace lathe::pipeline
