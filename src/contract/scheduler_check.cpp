// Which options of schedulers go together, and in which ranges.
#include <cmath>

#include "base/error.h"
#include "contract/scheduler.h"

namespace lathe::contract {
namespace {

// Written so that NaN fails.
void check_range(std::string_view key, double value, double low, double high) {
  if (value >= low && value <= high) return;
  fail(ErrorCode::invalid_input, "{}: expected {} to {}, found {}", key, low, high, value);
}

void refuse(const SchedulerConfig& config, bool condition, std::string_view key, std::string_view value,
            std::string_view why) {
  if (condition) fail(ErrorCode::unsupported, "{}: \"{}\" with {}: {}", key, value, config.class_name, why);
}

void check_noise(const SchedulerConfig& config) {
  constexpr int64_t kMostSteps = 1'000'000;
  if (config.num_train_timesteps < 2 || config.num_train_timesteps > kMostSteps) {
    fail(ErrorCode::invalid_input, "num_train_timesteps: expected 2 to {}, found {}", kMostSteps,
         config.num_train_timesteps);
  }
  check_range("beta_start", config.beta_start, 0, 1);
  check_range("beta_end", config.beta_end, 0, 1);
  if (config.trained_betas) {
    if (int64_t(config.trained_betas->size()) != config.num_train_timesteps) {
      fail(ErrorCode::invalid_input, "trained_betas: expected {} numbers (num_train_timesteps), found {}",
           config.num_train_timesteps, config.trained_betas->size());
    }
    for (const double beta : *config.trained_betas) check_range("trained_betas", beta, 0, 1);
  }
  const BetaSchedule schedule = config.beta_schedule;
  const bool ddpm = config.class_name == "DDPMScheduler", heun = config.class_name == "HeunDiscreteScheduler";
  const bool known = schedule == BetaSchedule::linear || schedule == BetaSchedule::scaled_linear ||
                     schedule == BetaSchedule::squaredcos_cap_v2 || (heun && schedule == BetaSchedule::exp) ||
                     (ddpm && (schedule == BetaSchedule::sigmoid || schedule == BetaSchedule::laplace));
  refuse(config, !known && !config.trained_betas, "beta_schedule", to_string(schedule), "diffusers has no such form");
}

void check_spacing(const SchedulerConfig& config) {
  const int kinds = config.use_karras_sigmas + config.use_exponential_sigmas + config.use_beta_sigmas;
  if (kinds > 1) {
    fail(ErrorCode::invalid_input, "use_karras_sigmas, use_exponential_sigmas, use_beta_sigmas: {} of them are true",
         kinds);
  }
  if (config.steps_offset < 0 || config.steps_offset >= config.num_train_timesteps) {
    fail(ErrorCode::invalid_input, "steps_offset: expected 0 to {}, found {}", config.num_train_timesteps - 1,
         config.steps_offset);
  }
  constexpr double kLargest = 1e6, kSmallest = 1e-10;
  if (config.sigma_min) check_range("sigma_min", *config.sigma_min, kSmallest, kLargest);
  if (config.sigma_max) check_range("sigma_max", *config.sigma_max, kSmallest, kLargest);
  if (config.lambda_min_clipped) check_range("lambda_min_clipped", *config.lambda_min_clipped, -kLargest, kLargest);
  refuse(config, config.class_name == "DDIMInverseScheduler" && config.timestep_spacing == TimestepSpacing::linspace,
         "timestep_spacing", "linspace", "only leading and trailing");
}

void check_sample(const SchedulerConfig& config) {
  constexpr double kLargest = 1e6;
  check_range("clip_sample_range", config.clip_sample_range, 0, kLargest);
  check_range("dynamic_thresholding_ratio", config.dynamic_thresholding_ratio, 0, 1);
  check_range("sample_max_value", config.sample_max_value, 1e-6, kLargest);
  check_range("timestep_scaling", config.timestep_scaling, 0, kLargest);
  const std::string& name = config.class_name;
  const bool no_samples = name == "PNDMScheduler" || name == "EulerAncestralDiscreteScheduler" ||
                          name == "KDPM2DiscreteScheduler" || name == "KDPM2AncestralDiscreteScheduler" ||
                          name == "DPMSolverSDEScheduler";
  refuse(config, no_samples && config.prediction_type == PredictionType::sample, "prediction_type", "sample",
         "only epsilon and v_prediction");
  if (config.variance_type) {
    const VarianceType type = *config.variance_type;
    refuse(config, type == VarianceType::learned || type == VarianceType::learned_range, "variance_type",
           to_string(type), "needs a model with twice the channels");
    refuse(config, name == "DDPMScheduler" && type == VarianceType::fixed_large_log, "variance_type", to_string(type),
           "diffusers takes the square root of a negative logarithm");
  }
  const bool lcm = name == "LCMScheduler";
  if (lcm && (config.original_inference_steps < 1 || config.original_inference_steps > config.num_train_timesteps)) {
    fail(ErrorCode::invalid_input, "original_inference_steps: expected 1 to {}, found {}", config.num_train_timesteps,
         config.original_inference_steps);
  }
}

void check_solver(const SchedulerConfig& config) {
  if (config.solver_order < 1) fail(ErrorCode::invalid_input, "solver_order: {} is below 1", config.solver_order);
  refuse(config, config.solver_order > 3, "solver_order", std::to_string(config.solver_order), "1 to 3 are supported");
  const std::string& name = config.class_name;
  const AlgorithmType algorithm = config.algorithm_type;
  const bool zero = config.final_sigmas_type == FinalSigma::zero;
  if (name == "DPMSolverMultistepScheduler" || name == "DPMSolverSinglestepScheduler") {
    const bool of_noise = algorithm == AlgorithmType::dpmsolver || algorithm == AlgorithmType::sde_dpmsolver;
    if (of_noise && zero) {
      fail(ErrorCode::invalid_input, "final_sigmas_type: \"zero\" with algorithm_type \"{}\" divides by zero",
           to_string(algorithm));
    }
    const bool single = name == "DPMSolverSinglestepScheduler";
    refuse(config, algorithm == AlgorithmType::sde_dpmsolver && (single || config.solver_order > 2), "algorithm_type",
           "sde-dpmsolver", "of steps of order 1 and 2 with DPMSolverMultistepScheduler only");
    refuse(config, single && config.thresholding && algorithm == AlgorithmType::dpmsolver, "thresholding", "true",
           "not with algorithm_type dpmsolver");
  }
  if (name == "DEISMultistepScheduler")
    refuse(config, algorithm != AlgorithmType::deis, "algorithm_type", to_string(algorithm), "only deis");
  if (name == "UniPCMultistepScheduler" && zero) {
    if (!config.predict_x0) {
      fail(ErrorCode::invalid_input, "final_sigmas_type: \"zero\" with predict_x0 false divides by zero");
    }
    if (!config.lower_order_final && config.solver_order > 1) {
      fail(ErrorCode::invalid_input,
           "final_sigmas_type: \"zero\" with lower_order_final false and solver_order {} divides by zero",
           config.solver_order);
    }
  }
}

}  // namespace

void check(const SchedulerConfig& config) {
  check_noise(config);
  check_spacing(config);
  check_sample(config);
  check_solver(config);
}

}  // namespace lathe::contract
