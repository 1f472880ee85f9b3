// Heun's method (arXiv 2206.00364, algorithm 1): an Euler step, then the mean of the slopes at both ends.
#include "pipeline/diffuse/scheduler_bases.h"
#include "pipeline/diffuse/scheduler_kind.h"

namespace lathe::pipeline {
namespace {

class Heun : public SigmaScheduler {
 public:
  Heun(const contract::SchedulerConfig& config, int steps, const SchedulerRun&) : SigmaScheduler(config, steps, {}) {
    repeat_steps();
  }

 private:
  void advance(size_t at, std::span<const float> output, std::span<float> sample, const Noise&) override {
    const bool first = at % 2 == 0;
    const float sigma = sigmas_[at];  // of the sample the model has seen
    std::vector<float> clean = predict_clean_at(config_.prediction_type, sigma, sample, output);
    if (config_.clip_sample) clip(clean, config_.clip_sample_range);
    std::vector<float> slope(sample.size());
    for (size_t i = 0; i < slope.size(); ++i) slope[i] = (sample[i] - clean[i]) / sigma;
    if (first) {
      start_.assign(sample.begin(), sample.end());
      change_ = sigmas_[at + 1] - sigma;
    } else {
      for (size_t i = 0; i < slope.size(); ++i) slope[i] = (slope_[i] + slope[i]) / 2.0f;
    }
    for (size_t i = 0; i < sample.size(); ++i) sample[i] = start_[i] + slope[i] * change_;
    slope_ = std::move(slope);
  }

  std::vector<float> start_, slope_;  // of the step's first call
  float change_ = 0;
};

}  // namespace

const SchedulerKind& heun_scheduler() {
  static const SchedulerKind kind{"HeunDiscreteScheduler", 2, make_of<Heun>};
  return kind;
}

}  // namespace lathe::pipeline
