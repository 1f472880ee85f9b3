// Linear multistep of order 4 (Adams-Bashforth with steps of different sizes).
#include <algorithm>
#include <array>
#include <deque>
#include <utility>

#include "pipeline/diffuse/scheduler_bases.h"
#include "pipeline/diffuse/scheduler_kind.h"

namespace lathe::pipeline {
namespace {

constexpr size_t kOrder = 4;

class Lms : public SigmaScheduler {
 public:
  Lms(const contract::SchedulerConfig& config, int steps, const SchedulerRun&)
      : SigmaScheduler(config, steps, {.karras_range = false}) {}

 private:
  // The integral over the step of the polynomial that is 1 at the sigma `which` steps back and 0 at the others of
  // `order`: a cubic at most, for which Gauss's rule with four points is exact.
  double coefficient(size_t at, size_t order, size_t which) const {
    constexpr std::array<std::pair<double, double>, 4> kGauss = {{{-0.8611363115940526, 0.3478548451374538},
                                                                  {-0.3399810435848563, 0.6521451548625461},
                                                                  {0.3399810435848563, 0.6521451548625461},
                                                                  {0.8611363115940526, 0.3478548451374538}}};
    const double middle = (double(sigmas_[at]) + double(sigmas_[at + 1])) / 2;
    const double half = (double(sigmas_[at + 1]) - double(sigmas_[at])) / 2;
    double integral = 0;
    for (const auto& [place, weight] : kGauss) {
      double product = 1;
      for (size_t k = 0; k < order; ++k) {
        if (k == which) continue;
        product *=
            (middle + half * place - double(sigmas_[at - k])) / (double(sigmas_[at - which]) - double(sigmas_[at - k]));
      }
      integral += weight * product;
    }
    return integral * half;
  }

  void advance(size_t at, std::span<const float> output, std::span<float> sample, const Noise&) override {
    const std::vector<float> clean = predict_clean_at(config_.prediction_type, sigmas_[at], sample, output);
    std::vector<float> slope(sample.size());
    for (size_t i = 0; i < slope.size(); ++i) slope[i] = (sample[i] - clean[i]) / sigmas_[at];
    slopes_.push_front(std::move(slope));
    if (slopes_.size() > kOrder) slopes_.pop_back();
    // A run that starts later has the coefficients of its place, but not yet the slopes: diffusers leaves them out.
    const size_t order = std::min(at + 1, kOrder);
    std::vector<float> change(sample.size(), 0);
    for (size_t k = 0; k < std::min(order, slopes_.size()); ++k) {
      const auto factor = float(coefficient(at, order, k));
      for (size_t i = 0; i < change.size(); ++i) change[i] += factor * slopes_[k][i];
    }
    for (size_t i = 0; i < sample.size(); ++i) sample[i] += change[i];
  }

  void forget() override { slopes_.clear(); }

  std::deque<std::vector<float>> slopes_;  // newest first
};

}  // namespace

const SchedulerKind& lms_scheduler() {
  static const SchedulerKind kind{"LMSDiscreteScheduler", 1, make_of<Lms>};
  return kind;
}

}  // namespace lathe::pipeline
