// DPM-Solver and DPM-Solver++, multistep: one call a step, differences from the predictions of earlier steps.
#include <algorithm>
#include <deque>

#include "pipeline/diffuse/dpm_solver.h"
#include "pipeline/diffuse/scheduler_kind.h"

namespace lathe::pipeline {
namespace {

constexpr size_t kFewSteps = 15;  // below, the last steps have a lower order

class DpmMultistep : public DpmSolver {
 public:
  DpmMultistep(const contract::SchedulerConfig& config, int steps, const SchedulerRun& run)
      : DpmSolver(config, steps, run) {}

 private:
  size_t order_at(size_t at) const {
    const size_t steps = timesteps_.size();
    const bool few = config_.lower_order_final && steps < kFewSteps;
    const bool zero = config_.final_sigmas_type == contract::FinalSigma::zero;
    const bool first_at_end = at + 1 == steps && (config_.euler_at_final || few || zero);
    if (first_at_end) return 1;
    const auto most = size_t(at + 2 == steps && few ? 2 : 3);
    return std::min({size_t(config_.solver_order), past_.size(), most});
  }

  void advance(size_t at, std::span<const float> output, std::span<float> sample, const Noise& noise) override {
    past_.push_front(prediction(at, sample, output));
    if (past_.size() > size_t(config_.solver_order)) past_.pop_back();
    const std::vector<float> drawn = draw(sample.size(), noise);
    const Point here = point(at), next = point(at + 1);
    const Factors f = factors(here, next);
    const size_t order = order_at(at);
    if (order == 1) return sum_terms({{f.sample, sample}, {f.d0, past_[0]}, {f.noise, drawn}}, sample);
    const float h = next.lambda - here.lambda;
    const float h0 = here.lambda - point(at - 1).lambda, r0 = h0 / h;
    std::vector<float> d1 = scaled_difference(1.0f / r0, past_[0], past_[1]);
    if (order == 2) return sum_terms({{f.sample, sample}, {f.d0, past_[0]}, {d1_of(f), d1}, {f.noise, drawn}}, sample);
    const float h1 = point(at - 1).lambda - point(at - 2).lambda, r1 = h1 / h;
    const std::vector<float> earlier = scaled_difference(1.0f / r1, past_[1], past_[2]);
    const std::vector<float> d2 = scaled_difference(1.0f / (r0 + r1), d1, earlier);
    const float share = r0 / (r0 + r1);
    for (size_t i = 0; i < d1.size(); ++i) d1[i] = d1[i] + share * (d1[i] - earlier[i]);
    sum_terms({{f.sample, sample}, {f.d0, past_[0]}, {f.d1_heun, d1}, {f.d2, d2}, {f.noise, drawn}}, sample);
  }

  void forget() override { past_.clear(); }

  std::deque<std::vector<float>> past_;  // predictions, newest first
};

}  // namespace

const SchedulerKind& dpm_multistep_scheduler() {
  static const SchedulerKind kind{"DPMSolverMultistepScheduler", 1, make_of<DpmMultistep>};
  return kind;
}

}  // namespace lathe::pipeline
