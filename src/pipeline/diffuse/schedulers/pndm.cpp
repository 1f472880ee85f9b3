// PNDM (arXiv 2202.09778): linear multistep on epsilon, started by Runge-Kutta steps or by one averaged step.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "pipeline/diffuse/scheduler_bases.h"
#include "pipeline/diffuse/scheduler_kind.h"

namespace lathe::pipeline {
namespace {

constexpr size_t kOrder = 4;

class Pndm : public AlphaScheduler {
 public:
  Pndm(const contract::SchedulerConfig& config, int steps, const SchedulerRun& run)
      : AlphaScheduler(config, run), stride_(config.num_train_timesteps / steps) {
    std::vector<double> timesteps = whole_timesteps(config, steps);
    if (config.skip_prk_steps) {
      // The second is visited twice, for the averaged step.
      if (timesteps.size() > 1) timesteps.insert(timesteps.begin() + 1, timesteps[1]);
      set_timesteps(std::move(timesteps));
      return;
    }
    if (steps < int(kOrder))
      fail(ErrorCode::usage, "steps: PNDM with Runge-Kutta steps needs at least {}, found {}", kOrder, steps);
    if (run.strength && *run.strength < 1) {
      fail(ErrorCode::usage, "strength {}: PNDM with Runge-Kutta steps (skip_prk_steps false) starts with them",
           *run.strength);
    }
    set_timesteps(with_runge_kutta(timesteps));
  }

 private:
  // 4 calls each between the first 4 timesteps: at the start, twice in the middle, at the end.
  std::vector<double> with_runge_kutta(const std::vector<double>& timesteps) {
    std::vector<double> result;
    for (size_t k = 0; k + 1 < kOrder; ++k) {
      const double middle = timesteps[k + 1] + double(stride_ / 2);
      for (const double timestep : {timesteps[k], middle, middle, timesteps[k + 1]}) result.push_back(timestep);
    }
    runge_kutta_calls_ = result.size();
    result.insert(result.end(), timesteps.begin() + 3, timesteps.end());
    return result;
  }

  void advance(size_t at, std::span<const float> output, std::span<float> sample, const Noise&) override {
    if (count_ < runge_kutta_calls_)
      advance_runge_kutta(at, output, sample);
    else
      advance_multistep(at, output, sample);
    ++count_;
  }

  void advance_runge_kutta(size_t at, std::span<const float> output, std::span<float> sample) {
    const double to = timesteps_[at] - double(count_ % 2 ? 0 : stride_ / 2);
    const double from = timesteps_[count_ / 4 * 4];
    std::vector<float> epsilon(output.begin(), output.end());
    if (count_ % 4 == 0) {
      sum_.assign(output.size(), 0);
      history_.push_back(epsilon);
      start_.assign(sample.begin(), sample.end());
    }
    constexpr float kOuter = float(1.0 / 6), kInner = float(1.0 / 3);
    const float weight = count_ % 4 == 0 || count_ % 4 == 3 ? kOuter : kInner;
    for (size_t i = 0; i < sum_.size(); ++i) sum_[i] += weight * output[i];
    move(from, to, start_, count_ % 4 == 3 ? sum_ : epsilon, sample);
  }

  void advance_multistep(size_t at, std::span<const float> output, std::span<float> sample) {
    double from = timesteps_[at], to = from - double(stride_);
    if (count_ == 1) {  // the averaged step is taken once more, from where the first began
      to = from;
      from += double(stride_);
      std::vector<float> mean(output.size());
      for (size_t i = 0; i < mean.size(); ++i) mean[i] = (output[i] + history_.back()[i]) / 2.0f;
      return move(from, to, start_, mean, sample);
    }
    if (history_.size() == kOrder) history_.erase(history_.begin());
    history_.emplace_back(output.begin(), output.end());
    if (count_ == 0) start_.assign(sample.begin(), sample.end());
    move(from, to, sample, combined(), sample);
  }

  // Adams-Bashforth of as many outputs as there are.
  std::vector<float> combined() const {
    const auto past = [&](size_t k) -> const std::vector<float>& { return history_[history_.size() - 1 - k]; };
    std::vector<float> result = past(0);
    for (size_t i = 0; i < result.size(); ++i) {
      if (history_.size() == 2) {
        result[i] = (3.0f * past(0)[i] - past(1)[i]) / 2.0f;
      } else if (history_.size() == 3) {
        result[i] = (23.0f * past(0)[i] - 16.0f * past(1)[i] + 5.0f * past(2)[i]) / 12.0f;
      } else if (history_.size() == kOrder) {
        const float sum = 55.0f * past(0)[i] - 59.0f * past(1)[i] + 37.0f * past(2)[i] - 9.0f * past(3)[i];
        result[i] = float(1.0 / 24) * sum;
      }
    }
    return result;
  }

  // Equation 9 of the paper, from one timestep to another; `output` is what the model predicts.
  void move(double from, double to, std::span<const float> sample, std::span<const float> output,
            std::span<float> result) const {
    const float a = alpha(from), a_next = alpha_or_final(to);
    const float b = 1.0f - a, b_next = 1.0f - a_next;
    const std::vector<float> epsilon =
        predict_epsilon(config_.prediction_type, std::sqrt(a), std::sqrt(b), sample, output);
    const float of_sample = std::sqrt(a_next / a), change = a_next - a;
    const float divisor = a * std::sqrt(b_next) + std::sqrt(a * b * a_next);
    for (size_t i = 0; i < result.size(); ++i) result[i] = of_sample * sample[i] - change * epsilon[i] / divisor;
  }

  void forget() override {
    count_ = 0;
    history_.clear();
  }

  int64_t stride_;
  size_t runge_kutta_calls_ = 0;
  size_t count_ = 0;  // calls so far: diffusers counts from the start of the run, not of the schedule
  std::vector<std::vector<float>> history_;  // outputs, newest last
  std::vector<float> start_, sum_;
};

}  // namespace

const SchedulerKind& pndm_scheduler() {
  static const SchedulerKind kind{"PNDMScheduler", 1, make_of<Pndm>};
  return kind;
}

}  // namespace lathe::pipeline
