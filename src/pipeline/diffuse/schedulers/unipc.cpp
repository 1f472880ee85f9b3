// UniPC (arXiv 2302.04867): a multistep predictor, and a corrector that uses the call which the next step makes anyway.
#include <algorithm>
#include <cmath>
#include <deque>

#include "pipeline/diffuse/numeric.h"
#include "pipeline/diffuse/scheduler_bases.h"
#include "pipeline/diffuse/scheduler_kind.h"

namespace lathe::pipeline {
namespace {

class UniPc : public SolverScheduler {
 public:
  UniPc(const contract::SchedulerConfig& config, int steps, const SchedulerRun& run)
      : SolverScheduler(config, steps, run, config.num_train_timesteps, last_of(config, Last::table),
                        last_of(config, Last::step)) {}

 private:
  // The linear system whose solution weighs the differences of a step from one place to the next.
  struct Weights {
    Point from, to;
    float whole, scale;            // h phi_1(h), B(h)
    std::vector<float> distances;  // r_k: places before `from` over h; the last is 1, the place the step leads to
    std::vector<float> right;      // b_k
  };

  // `from`: where the step begins. The differences are to the places 1 .. order - 1 before it.
  Weights weigh(size_t from, size_t order) const {
    const Point here = point(from), next = point(from + 1);
    const float h = next.lambda - here.lambda, hh = config_.predict_x0 ? -h : h;
    Weights w{here, next, std::expm1(hh), 0, {}, {}};
    w.scale = config_.solver_type == contract::SolverType::bh1 ? hh : std::expm1(hh);
    float phi = w.whole / hh - 1.0f, factorial = 1;
    for (size_t k = 1; k <= order; ++k) {
      w.distances.push_back(k < order ? (point(from - k).lambda - here.lambda) / h : 1.0f);
      w.right.push_back(phi * factorial / w.scale);
      factorial *= float(k + 1);
      phi = phi / hh - 1.0f / factorial;
    }
    return w;
  }

  // Weights for the first `count` distances, from the first `count` equations.
  static std::vector<float> solve_weights(const Weights& w, size_t count) {
    std::vector<double> matrix;
    for (size_t row = 0; row < count; ++row) {
      for (size_t k = 0; k < count; ++k) matrix.push_back(std::pow(double(w.distances[k]), double(row)));
    }
    return solve(std::move(matrix), {w.right.begin(), w.right.begin() + std::ptrdiff_t(count)});
  }

  // result = the step from `sample` without differences, minus scale * `differences`
  void apply(const Weights& w, std::span<const float> sample, std::span<const float> prediction,
             const std::vector<float>* differences, std::span<float> result) const {
    const float of_sample = config_.predict_x0 ? w.to.sigma / w.from.sigma : w.to.alpha / w.from.alpha;
    const float outer = config_.predict_x0 ? w.to.alpha : w.to.sigma;
    if (differences)
      sum_terms({{of_sample, sample}, {-(outer * w.whole), prediction}, {-(outer * w.scale), *differences}}, result);
    else
      sum_terms({{of_sample, sample}, {-(outer * w.whole), prediction}}, result);
  }

  // The sum of weight_k * (prediction k steps before the newest - the newest) / r_k.
  std::vector<float> weighted(const Weights& w, const std::vector<float>& weights) const {
    std::vector<float> sum(past_[0].size(), 0);
    for (size_t k = 0; k + 1 < w.distances.size(); ++k) {
      for (size_t i = 0; i < sum.size(); ++i) sum[i] += weights[k] * ((past_[k + 1][i] - past_[0][i]) / w.distances[k]);
    }
    return sum;
  }

  void correct(size_t at, const std::vector<float>& prediction, std::span<float> sample) const {
    const Weights w = weigh(at - 1, order_);
    const std::vector<float> weights = order_ == 1 ? std::vector<float>{0.5f} : solve_weights(w, order_);
    std::vector<float> sum = weighted(w, weights);
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += weights.back() * (prediction[i] - past_[0][i]);
    apply(w, last_sample_, past_[0], &sum, sample);
  }

  std::vector<float> predict(size_t at, std::span<const float> sample, std::span<const float> output) const {
    if (config_.predict_x0) return clean_at(at, sample, output);
    const Point here = point(at);
    return predict_epsilon(config_.prediction_type, here.alpha, here.sigma, sample, output);
  }

  void advance(size_t at, std::span<const float> output, std::span<float> sample, const Noise&) override {
    std::vector<float> prediction = predict(at, sample, output);
    const bool disabled = std::ranges::count(config_.disable_corrector, int64_t(at) - 1) > 0;
    if (at > 0 && !disabled && !last_sample_.empty()) correct(at, prediction, sample);
    past_.push_front(std::move(prediction));
    if (past_.size() > size_t(config_.solver_order)) past_.pop_back();
    const size_t left = config_.lower_order_final ? timesteps_.size() - at : size_t(config_.solver_order);
    order_ = std::min({size_t(config_.solver_order), left, past_.size()});
    last_sample_.assign(sample.begin(), sample.end());
    const Weights w = weigh(at, order_);
    if (order_ == 1) return apply(w, last_sample_, past_[0], nullptr, sample);
    const std::vector<float> weights = order_ == 2 ? std::vector<float>{0.5f} : solve_weights(w, order_ - 1);
    const std::vector<float> sum = weighted(w, weights);
    apply(w, last_sample_, past_[0], &sum, sample);
  }

  void forget() override {
    past_.clear();
    last_sample_.clear();
  }

  std::deque<std::vector<float>> past_;  // predictions, newest first
  std::vector<float> last_sample_;       // what the last step began with
  size_t order_ = 1;                     // of the last step
};

}  // namespace

const SchedulerKind& unipc_scheduler() {
  static const SchedulerKind kind{"UniPCMultistepScheduler", 1, make_of<UniPc>};
  return kind;
}

}  // namespace lathe::pipeline
