// DPM-Solver++ (stochastic), as k-diffusion samples it: two calls a step, both with noise from one Brownian path.
#include <algorithm>
#include <cmath>

#include "pipeline/diffuse/scheduler_bases.h"
#include "pipeline/diffuse/scheduler_kind.h"

namespace lathe::pipeline {
namespace {

class DpmSde : public SigmaScheduler {
 public:
  DpmSde(const contract::SchedulerConfig& config, int steps, const SchedulerRun&)
      : SigmaScheduler(config, steps, {.karras_range = false, .digits = TimestepDigits::as_double}) {
    std::vector<double> timesteps = {timesteps_[0]};
    for (size_t k = 0; k + 1 < timesteps_.size(); ++k) {
      const double t = -std::log(step_sigmas_[k]), next = -std::log(step_sigmas_[k + 1]);
      timesteps.push_back(sigma_to_timestep(std::exp(-(t + (next - t) * 0.5)), table_));
      timesteps.push_back(timesteps_[k + 1]);
    }
    timesteps_ = std::move(timesteps);
  }
  bool is_stochastic() const override { return timesteps_.size() > 1; }

 private:
  Level level(size_t at) const override { return {1, sigmas_[(at + 1) / 2]}; }
  float input_sigma(size_t at) const override { return at % 2 ? middle(at / 2) : sigmas_[at / 2]; }
  float middle(size_t step) const {
    const float t = -std::log(sigmas_[step]), next = -std::log(sigmas_[step + 1]);
    return std::exp(-(t + (next - t) * 0.5f));
  }

  void advance(size_t at, std::span<const float> output, std::span<float> sample, const Noise& noise) override {
    const size_t step = at / 2;
    const bool first = at % 2 == 0;
    const float sigma = sigmas_[step], next = sigmas_[step + 1];
    const std::vector<float> clean = predict_clean_at(config_.prediction_type, input_sigma(at), sample, output);
    if (next == 0) {
      for (size_t i = 0; i < sample.size(); ++i) sample[i] += (sample[i] - clean[i]) / sigma * (next - sigma);
      return;
    }
    const float t = -std::log(sigma);
    const float from = std::exp(-t), to = first ? middle(step) : std::exp(std::log(next));
    const float up = std::min(to, std::sqrt(to * to * (from * from - to * to) / (from * from)));
    const float down = -std::log(std::sqrt(to * to - up * up));  // where the step without noise ends, as -log(sigma)
    if (first) start_.assign(sample.begin(), sample.end());
    std::vector<float> drawn(sample.size());
    noise(drawn);
    if (first)
      path_ = drawn;
    else
      lengthen_path(from, middle(step), to, drawn);
    sum_terms({{std::exp(-down) / from, start_}, {-std::expm1(t - down), clean}, {up, drawn}}, sample);
  }

  // A Brownian path over sigma has gone `path_` (as a standard normal) from `from` to `middle`, and the independent
  // `drawn` from there to `to`; drawn becomes the whole way, a standard normal again.
  void lengthen_path(float from, float middle_sigma, float to, std::vector<float>& drawn) const {
    const float first = std::sqrt(from - middle_sigma), second = std::sqrt(middle_sigma - to);
    const float whole = std::sqrt(from - to);
    for (size_t i = 0; i < drawn.size(); ++i) drawn[i] = (first * path_[i] + second * drawn[i]) / whole;
  }

  std::vector<float> start_, path_;
};

}  // namespace

const SchedulerKind& dpm_sde_scheduler() {
  static const SchedulerKind kind{"DPMSolverSDEScheduler", 2, make_of<DpmSde>};
  return kind;
}

}  // namespace lathe::pipeline
