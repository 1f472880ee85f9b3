#include "pipeline/diffuse/dpm_solver.h"

#include <cmath>

namespace lathe::pipeline {

using contract::AlgorithmType;

DpmSolver::DpmSolver(const contract::SchedulerConfig& config, int steps, const SchedulerRun& run)
    : SolverScheduler(config, steps, run, count_unclipped(config), last_of(config, Last::table),
                      last_of(config, Last::table)) {}

DpmSolver::Factors DpmSolver::factors(const Point& from, const Point& to) const {
  const float h = to.lambda - from.lambda;
  switch (config_.algorithm_type) {
    case AlgorithmType::dpmsolver: {
      const float growth = std::exp(h) - 1.0f, whole = to.sigma * growth;
      return {to.alpha / from.alpha,
              -whole,
              -(0.5f * whole),
              -(to.sigma * (growth / h - 1.0f)),
              -(to.sigma * ((growth - h) / (h * h) - 0.5f)),
              0};
    }
    case AlgorithmType::sde_dpmsolver: {
      const float growth = std::exp(h) - 1.0f, whole = to.sigma * growth;
      return {to.alpha / from.alpha,
              -(2.0f * whole),
              -whole,
              -(2.0f * (to.sigma * (growth / h - 1.0f))),
              0,
              to.sigma * std::sqrt(std::exp(2.0f * h) - 1.0f)};
    }
    case AlgorithmType::sde_dpmsolver_pp: {
      const float decay = 1.0f - std::exp(-2.0f * h), whole = to.alpha * decay;
      const float square = (2.0f * h) * (2.0f * h);
      return {to.sigma / from.sigma * std::exp(-h),
              whole,
              0.5f * whole,
              to.alpha * (decay / (-2.0f * h) + 1.0f),
              to.alpha * ((decay - 2.0f * h) / square - 0.5f),
              to.sigma * std::sqrt(decay)};
    }
    default: {
      const float decay = std::exp(-h) - 1.0f, whole = to.alpha * decay;
      return {to.sigma / from.sigma,
              -whole,
              -(0.5f * whole),
              to.alpha * (decay / h + 1.0f),
              -(to.alpha * ((decay + h) / (h * h) - 0.5f)),
              0};
    }
  }
}

std::vector<float> DpmSolver::prediction(size_t at, std::span<const float> sample,
                                         std::span<const float> output) const {
  const AlgorithmType algorithm = config_.algorithm_type;
  if (algorithm == AlgorithmType::dpmsolver_pp || algorithm == AlgorithmType::sde_dpmsolver_pp)
    return clean_at(at, sample, output);
  const Point here = point(at);
  const std::vector<float> epsilon = predict_epsilon(config_.prediction_type, here.alpha, here.sigma, sample, output);
  if (!config_.thresholding) return epsilon;
  std::vector<float> clean = predict_clean(PredictionType::epsilon, here.alpha, here.sigma, sample, epsilon);
  limit(clean);
  return predict_epsilon(PredictionType::sample, here.alpha, here.sigma, sample, clean);
}

std::vector<float> DpmSolver::draw(size_t size, const Noise& noise) const {
  std::vector<float> drawn(size, 0);
  if (is_stochastic()) noise(drawn);
  return drawn;
}

}  // namespace lathe::pipeline
