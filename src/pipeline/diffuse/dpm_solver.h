// What DPM-Solver's multistep and singlestep forms share (arXiv 2206.00927, 2211.01095).
#pragma once

#include <vector>

#include "pipeline/diffuse/scheduler_bases.h"

namespace lathe::pipeline {

class DpmSolver : public SolverScheduler {
 public:
  bool is_stochastic() const override {
    return config_.algorithm_type == contract::AlgorithmType::sde_dpmsolver ||
           config_.algorithm_type == contract::AlgorithmType::sde_dpmsolver_pp;
  }

 protected:
  DpmSolver(const contract::SchedulerConfig& config, int steps, const SchedulerRun& run);

  // A step is sample * x + d0 * D0 + d1 * D1 + d2 * D2 + noise * normals; D0 is a prediction, D1 and D2 are differences
  // of predictions, in place of the derivatives over lambda.
  struct Factors {
    float sample, d0;
    float d1_midpoint, d1_heun;  // the two solver types
    float d2;
    float noise;  // 0 but for the sde algorithms
  };
  Factors factors(const Point& from, const Point& to) const;
  float d1_of(const Factors& f) const {
    return config_.solver_type == contract::SolverType::midpoint ? f.d1_midpoint : f.d1_heun;
  }
  // What the solver works on: the clean sample (++) or epsilon.
  std::vector<float> prediction(size_t at, std::span<const float> sample, std::span<const float> output) const;
  std::vector<float> draw(size_t size, const Noise& noise) const;  // zeros where the algorithm draws none
};

}  // namespace lathe::pipeline
