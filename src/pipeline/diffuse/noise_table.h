// How much noise each training step has, and which of them a run visits.
#pragma once

#include <cstdint>
#include <vector>

#include "contract/scheduler.h"

namespace lathe::pipeline {

// [num_train_timesteps] each
struct NoiseTable {
  std::vector<float> alphas_cumprod;  // the share of the signal's variance that is left
  std::vector<float> sigmas;          // sqrt((1 - a) / a): noise over signal
  std::vector<float> log_sigmas;
};

// What to do with a last training step without any signal (rescale_betas_zero_snr), where sigma would be infinite.
enum class ZeroSignal { keep, almost };  // almost: 2^-24, as diffusers' classes with sigmas do
NoiseTable make_noise_table(const contract::SchedulerConfig& config, ZeroSignal zero_signal);

// Whole timesteps, last training steps first (DDIM, DDPM, PNDM, LCM's neighbours).
std::vector<double> whole_timesteps(const contract::SchedulerConfig& config, int steps);
// Timesteps between whole ones (Euler and the other classes with sigmas): float32 or, for DPMSolverSDE, double.
enum class TimestepDigits { as_float, as_double };
std::vector<double> fractional_timesteps(const contract::SchedulerConfig& config, int steps, TimestepDigits digits);
// Those of the multistep solvers: as for one more step, without the last. `limit`: training steps to choose from.
std::vector<double> solver_timesteps(const contract::SchedulerConfig& config, int steps, int64_t limit);

// The training step with this noise, between whole ones.
double sigma_to_timestep(double sigma, const NoiseTable& table);

// Sigmas of `steps` steps between two ends, by the configuration's karras, exponential or beta rule.
bool has_spaced_sigmas(const contract::SchedulerConfig& config);
std::vector<double> spaced_sigmas(const contract::SchedulerConfig& config, double sigma_max, double sigma_min,
                                  int steps);

}  // namespace lathe::pipeline
