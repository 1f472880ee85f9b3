// DPM-Solver and DPM-Solver++, singlestep: groups of 1 to 3 calls, each group from the sample it began with.
#include <algorithm>
#include <deque>

#include "base/error.h"
#include "pipeline/diffuse/dpm_solver.h"
#include "pipeline/diffuse/scheduler_kind.h"

namespace lathe::pipeline {
namespace {

class DpmSinglestep : public DpmSolver {
 public:
  DpmSinglestep(const contract::SchedulerConfig& config, int steps, const SchedulerRun& run)
      : DpmSolver(config, steps, run), orders_(group_orders(config, size_t(steps))) {
    LATHE_CHECK(orders_.size() >= timesteps_.size(), "{} orders for {} steps", orders_.size(), timesteps_.size());
  }

 private:
  // The order of each call: 1, 2, 3, 1, 2, 3 ... and lower ones at the end, where a group does not come out even or
  // the last sigma is 0.
  static std::vector<size_t> group_orders(const contract::SchedulerConfig& config, size_t steps) {
    const auto order = size_t(config.solver_order);
    const bool zero = config.final_sigmas_type == contract::FinalSigma::zero;
    const bool lower = config.lower_order_final || steps % order != 0 || zero;
    std::vector<size_t> orders;
    for (size_t i = 0; i < steps; ++i) orders.push_back(i % order + 1);
    // The last group of a lower order: 3 gives 1 2 1, 2 gives 1 1; a group that is cut off is lower already.
    if (lower && order > 1 && steps % order == 0) orders.back() = 1;
    if (zero) orders.back() = 1;
    return orders;
  }

  void advance(size_t at, std::span<const float> output, std::span<float> sample, const Noise& noise) override {
    past_.push_front(prediction(at, sample, output));
    if (past_.size() > size_t(config_.solver_order)) past_.pop_back();
    const std::vector<float> drawn = draw(sample.size(), noise);
    const size_t order = std::min(orders_[at], past_.size());  // a run that starts later has a shorter past
    if (order == 1) start_.assign(sample.begin(), sample.end());
    LATHE_CHECK(!start_.empty(), "call {} of order {}", at, order);
    const Point from = point(at + 1 - order), next = point(at + 1);
    const Factors f = factors(from, next);
    const std::vector<float>& d0 = past_[order - 1];
    if (order == 1) return sum_terms({{f.sample, start_}, {f.d0, d0}, {f.noise, drawn}}, sample);
    const float h = next.lambda - from.lambda;
    const float r0 = (point(at).lambda - from.lambda) / h;
    std::vector<float> d1 = scaled_difference(1.0f / r0, past_[0], d0);
    if (order == 2) return sum_terms({{f.sample, start_}, {f.d0, d0}, {d1_of(f), d1}, {f.noise, drawn}}, sample);
    if (config_.solver_type == contract::SolverType::midpoint)
      return sum_terms({{f.sample, start_}, {f.d0, d0}, {f.d1_heun, d1}, {f.noise, drawn}}, sample);
    const float r1 = (point(at - 1).lambda - from.lambda) / h;
    const std::vector<float> earlier = scaled_difference(1.0f / r1, past_[1], d0);
    std::vector<float> d2(d1.size());
    for (size_t i = 0; i < d1.size(); ++i) {
      d2[i] = 2.0f * (d1[i] - earlier[i]) / (r0 - r1);
      d1[i] = (r0 * earlier[i] - r1 * d1[i]) / (r0 - r1);
    }
    sum_terms({{f.sample, start_}, {f.d0, d0}, {f.d1_heun, d1}, {f.d2, d2}, {f.noise, drawn}}, sample);
  }

  void forget() override {
    past_.clear();
    start_.clear();
  }

  std::vector<size_t> orders_;
  std::deque<std::vector<float>> past_;  // predictions, newest first
  std::vector<float> start_;             // the sample the group began with
};

}  // namespace

const SchedulerKind& dpm_singlestep_scheduler() {
  static const SchedulerKind kind{"DPMSolverSinglestepScheduler", 1, make_of<DpmSinglestep>};
  return kind;
}

}  // namespace lathe::pipeline
