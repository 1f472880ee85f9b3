// DPM2 to below the next level of noise, and noise up to it.
#include <cmath>

#include "pipeline/diffuse/numeric.h"
#include "pipeline/diffuse/scheduler_bases.h"
#include "pipeline/diffuse/scheduler_kind.h"

namespace lathe::pipeline {
namespace {

class Dpm2Ancestral : public SigmaScheduler {
 public:
  Dpm2Ancestral(const contract::SchedulerConfig& config, int steps, const SchedulerRun&)
      : SigmaScheduler(config, steps, {.round_karras = true}) {
    std::vector<double> timesteps = {timesteps_[0]};
    for (size_t k = 0; k + 1 < sigmas_.size(); ++k) {
      const float sigma = sigmas_[k], next = sigmas_[k + 1];
      ups_.push_back(std::sqrt(next * next * (sigma * sigma - next * next) / (sigma * sigma)));
      downs_.push_back(std::sqrt(next * next - ups_[k] * ups_[k]));
      middles_.push_back(next == 0 ? 0 : std::exp(middle(std::log(sigma), std::log(downs_[k]))));
      if (k + 1 == timesteps_.size()) break;
      timesteps.push_back(sigma_to_timestep(double(middles_[k]), table_));
      timesteps.push_back(timesteps_[k + 1]);
    }
    timesteps_ = std::move(timesteps);
  }
  bool is_stochastic() const override { return timesteps_.size() > 1; }

 private:
  Level level(size_t at) const override { return {1, sigmas_[(at + 1) / 2]}; }
  float input_sigma(size_t at) const override { return at % 2 ? middles_[at / 2] : sigmas_[at / 2]; }

  void advance(size_t at, std::span<const float> output, std::span<float> sample, const Noise& noise) override {
    const size_t step = at / 2;
    const bool first = at % 2 == 0;
    const float sigma = input_sigma(at);
    const float change = (first ? middles_[step] : downs_[step]) - sigmas_[step];
    const std::vector<float> clean = predict_clean_at(config_.prediction_type, sigma, sample, output);
    if (first) start_.assign(sample.begin(), sample.end());
    for (size_t i = 0; i < sample.size(); ++i) sample[i] = start_[i] + (sample[i] - clean[i]) / sigma * change;
    if (first) return;
    std::vector<float> drawn(sample.size());
    noise(drawn);
    for (size_t i = 0; i < sample.size(); ++i) sample[i] += drawn[i] * ups_[step];
  }

  std::vector<float> ups_, downs_;  // [steps]: next^2 = up^2 + down^2
  std::vector<float> middles_;      // [steps] between a step's sigma and its down
  std::vector<float> start_;
};

}  // namespace

const SchedulerKind& dpm2_ancestral_scheduler() {
  static const SchedulerKind kind{"KDPM2AncestralDiscreteScheduler", 2, make_of<Dpm2Ancestral>};
  return kind;
}

}  // namespace lathe::pipeline
