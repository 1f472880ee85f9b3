// DPM2 (arXiv 2206.00364, algorithm 2 with the midpoint in log sigma): a call at the start of a step, one in its
// middle.
#include <cmath>

#include "pipeline/diffuse/numeric.h"
#include "pipeline/diffuse/scheduler_bases.h"
#include "pipeline/diffuse/scheduler_kind.h"

namespace lathe::pipeline {
namespace {

class Dpm2 : public SigmaScheduler {
 public:
  Dpm2(const contract::SchedulerConfig& config, int steps, const SchedulerRun&)
      : SigmaScheduler(config, steps, {.round_karras = true}) {
    std::vector<double> timesteps = {timesteps_[0]};
    for (size_t k = 0; k + 1 < sigmas_.size(); ++k) {
      const float log_sigma = middle(std::log(sigmas_[k + 1]), std::log(sigmas_[k]));
      middles_.push_back(sigmas_[k + 1] == 0 ? 0 : std::exp(log_sigma));
      if (k + 1 == timesteps_.size()) break;
      timesteps.push_back(sigma_to_timestep(double(middles_[k]), table_));
      timesteps.push_back(timesteps_[k + 1]);
    }
    timesteps_ = std::move(timesteps);
  }

 private:
  Level level(size_t at) const override { return {1, sigmas_[(at + 1) / 2]}; }
  float input_sigma(size_t at) const override { return at % 2 ? middles_[at / 2] : sigmas_[at / 2]; }

  void advance(size_t at, std::span<const float> output, std::span<float> sample, const Noise&) override {
    const size_t step = at / 2;
    const bool first = at % 2 == 0;
    const float sigma = input_sigma(at);
    const float change = (first ? middles_[step] : sigmas_[step + 1]) - sigmas_[step];
    const std::vector<float> clean = predict_clean_at(config_.prediction_type, sigma, sample, output);
    if (first) start_.assign(sample.begin(), sample.end());
    for (size_t i = 0; i < sample.size(); ++i) sample[i] = start_[i] + (sample[i] - clean[i]) / sigma * change;
  }

  std::vector<float> middles_;  // [steps] between a step's sigma and the next, 0 in the last
  std::vector<float> start_;
};

}  // namespace

const SchedulerKind& dpm2_scheduler() {
  static const SchedulerKind kind{"KDPM2DiscreteScheduler", 2, make_of<Dpm2>};
  return kind;
}

}  // namespace lathe::pipeline
