// DEIS (arXiv 2204.13902), multistep in log(rho): integrates polynomials in log sigma exactly.
#include <algorithm>
#include <cmath>
#include <deque>

#include "pipeline/diffuse/numeric.h"
#include "pipeline/diffuse/scheduler_bases.h"
#include "pipeline/diffuse/scheduler_kind.h"

namespace lathe::pipeline {
namespace {

constexpr size_t kFewSteps = 15;

// Antiderivatives at t of the polynomials in log that are 1 at b and 0 at c (and d), in float32 as diffusers' are.
float line(float t, float b, float c) {
  return t * (-numpy_log(c) + numpy_log(t) - 1.0f) / (numpy_log(b) - numpy_log(c));
}
float parabola(float t, float b, float c, float d) {
  const float lt = numpy_log(t), lb = numpy_log(b), lc = numpy_log(c), ld = numpy_log(d);
  const float numerator = t * (lc * (ld - lt + 1.0f) - ld * lt + ld + lt * lt - 2.0f * lt + 2.0f);
  return numerator / ((lb - lc) * (lb - ld));
}

class Deis : public SolverScheduler {
 public:
  Deis(const contract::SchedulerConfig& config, int steps, const SchedulerRun& run)
      : SolverScheduler(config, steps, run, config.num_train_timesteps, Last::table, Last::step) {}

 private:
  size_t order_at(size_t at) const {
    const size_t steps = timesteps_.size();
    const bool few = config_.lower_order_final && steps < kFewSteps;
    const size_t most = few && at + 1 == steps ? 1 : few && at + 2 == steps ? 2 : 3;
    return std::min({size_t(config_.solver_order), past_.size(), most});
  }

  void advance(size_t at, std::span<const float> output, std::span<float> sample, const Noise&) override {
    const Point here = point(at), next = point(at + 1);
    const std::vector<float> clean = clean_at(at, sample, output);
    past_.push_front(predict_epsilon(PredictionType::sample, here.alpha, here.sigma, sample, clean));
    if (past_.size() > size_t(config_.solver_order)) past_.pop_back();
    const size_t order = order_at(at);
    if (order == 1) {
      const float h = next.lambda - here.lambda;
      return sum_terms({{next.alpha / here.alpha, sample}, {-(next.sigma * (std::exp(h) - 1.0f)), past_[0]}}, sample);
    }
    const auto rho = [&](size_t place) { return point(place).sigma / point(place).alpha; };
    const float t = rho(at + 1), s0 = rho(at), s1 = rho(at - 1);
    if (order == 2) {
      const float c0 = line(t, s0, s1) - line(s0, s0, s1), c1 = line(t, s1, s0) - line(s0, s1, s0);
      for (size_t i = 0; i < sample.size(); ++i)
        sample[i] = next.alpha * (sample[i] / here.alpha + c0 * past_[0][i] + c1 * past_[1][i]);
      return;
    }
    const float s2 = rho(at - 2);
    const float c0 = parabola(t, s0, s1, s2) - parabola(s0, s0, s1, s2);
    const float c1 = parabola(t, s1, s2, s0) - parabola(s0, s1, s2, s0);
    const float c2 = parabola(t, s2, s0, s1) - parabola(s0, s2, s0, s1);
    for (size_t i = 0; i < sample.size(); ++i)
      sample[i] = next.alpha * (sample[i] / here.alpha + c0 * past_[0][i] + c1 * past_[1][i] + c2 * past_[2][i]);
  }

  void forget() override { past_.clear(); }

  std::deque<std::vector<float>> past_;  // epsilons, newest first
};

}  // namespace

const SchedulerKind& deis_scheduler() {
  static const SchedulerKind kind{"DEISMultistepScheduler", 1, make_of<Deis>};
  return kind;
}

}  // namespace lathe::pipeline
