// How a diffusion model's noise is scheduled: everything that diffusers keeps in scheduler_config.json, for every
// scheduler class this program has, with diffusers' own rules for defaults and for switching classes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace lathe::contract {

// Every enumeration has to_string and from_string with diffusers' spelling, so that configurations go back into JSON.
enum class PredictionType { epsilon, v_prediction, sample };
enum class BetaSchedule { linear, scaled_linear, squaredcos_cap_v2, sigmoid, laplace, exp };
enum class TimestepSpacing { leading, trailing, linspace };
enum class FinalSigma { zero, sigma_min };
enum class AlgorithmType { dpmsolver, dpmsolver_pp, sde_dpmsolver, sde_dpmsolver_pp, deis };
enum class SolverType { midpoint, heun, bh1, bh2, logrho };
enum class VarianceType { fixed_small, fixed_small_log, fixed_large, fixed_large_log, learned, learned_range };
enum class SigmaInterpolation { linear, log_linear };
enum class TimestepType { discrete, continuous };

std::string_view to_string(PredictionType value);
std::string_view to_string(BetaSchedule value);
std::string_view to_string(TimestepSpacing value);
std::string_view to_string(FinalSigma value);
std::string_view to_string(AlgorithmType value);
std::string_view to_string(SolverType value);
std::string_view to_string(VarianceType value);
std::string_view to_string(SigmaInterpolation value);
std::string_view to_string(TimestepType value);
bool from_string(std::string_view text, PredictionType& value);
bool from_string(std::string_view text, BetaSchedule& value);
bool from_string(std::string_view text, TimestepSpacing& value);
bool from_string(std::string_view text, FinalSigma& value);
bool from_string(std::string_view text, AlgorithmType& value);
bool from_string(std::string_view text, SolverType& value);
bool from_string(std::string_view text, VarianceType& value);
bool from_string(std::string_view text, SigmaInterpolation& value);
bool from_string(std::string_view text, TimestepType& value);

// The options of all classes together; a class reads those it has (scheduler_keys) and leaves the others alone.
struct SchedulerConfig {
  std::string class_name;  // diffusers' name, "DDIMScheduler"
  int64_t num_train_timesteps = 1000;
  PredictionType prediction_type = PredictionType::epsilon;

  double beta_start = 0.0001;
  double beta_end = 0.02;
  BetaSchedule beta_schedule = BetaSchedule::linear;
  std::optional<std::vector<double>> trained_betas;
  bool rescale_betas_zero_snr = false;

  TimestepSpacing timestep_spacing = TimestepSpacing::leading;
  int64_t steps_offset = 0;
  bool use_karras_sigmas = false;
  bool use_exponential_sigmas = false;
  bool use_beta_sigmas = false;
  bool use_lu_lambdas = false;
  std::optional<double> sigma_min;
  std::optional<double> sigma_max;
  FinalSigma final_sigmas_type = FinalSigma::zero;
  SigmaInterpolation interpolation_type = SigmaInterpolation::linear;
  TimestepType timestep_type = TimestepType::discrete;
  std::optional<double> lambda_min_clipped;

  bool clip_sample = false;
  double clip_sample_range = 1;
  bool thresholding = false;
  double dynamic_thresholding_ratio = 0.995;
  double sample_max_value = 1;

  bool set_alpha_to_one = true;
  bool skip_prk_steps = false;
  std::optional<VarianceType> variance_type;

  int64_t solver_order = 2;
  AlgorithmType algorithm_type = AlgorithmType::dpmsolver_pp;
  SolverType solver_type = SolverType::midpoint;
  bool lower_order_final = true;
  bool euler_at_final = false;
  bool predict_x0 = true;
  std::vector<int64_t> disable_corrector;

  int64_t original_inference_steps = 50;
  double timestep_scaling = 10;

  template <class V>
  void visit_fields(V& visitor) {
    visitor("_class_name", class_name);
    visitor("num_train_timesteps", num_train_timesteps, "steps the model was trained on");
    visitor("prediction_type", prediction_type, "what the model's output is");
    visitor("beta_start", beta_start);
    visitor("beta_end", beta_end);
    visitor("beta_schedule", beta_schedule);
    visitor("trained_betas", trained_betas, "instead of a schedule");
    visitor("rescale_betas_zero_snr", rescale_betas_zero_snr, "the last training step is pure noise");
    visitor("timestep_spacing", timestep_spacing);
    visitor("steps_offset", steps_offset, "added to leading timesteps");
    visitor("use_karras_sigmas", use_karras_sigmas);
    visitor("use_exponential_sigmas", use_exponential_sigmas);
    visitor("use_beta_sigmas", use_beta_sigmas);
    visitor("use_lu_lambdas", use_lu_lambdas);
    visitor("sigma_min", sigma_min, "end of karras, exponential and beta sigmas");
    visitor("sigma_max", sigma_max, "start of them");
    visitor("final_sigmas_type", final_sigmas_type, "noise left after the last step");
    visitor("interpolation_type", interpolation_type);
    visitor("timestep_type", timestep_type, "continuous: a quarter of log sigma");
    visitor("lambda_min_clipped", lambda_min_clipped, "leaves out steps with less signal");
    visitor("clip_sample", clip_sample);
    visitor("clip_sample_range", clip_sample_range);
    visitor("thresholding", thresholding);
    visitor("dynamic_thresholding_ratio", dynamic_thresholding_ratio);
    visitor("sample_max_value", sample_max_value);
    visitor("set_alpha_to_one", set_alpha_to_one, "the step after the last has no noise");
    visitor("skip_prk_steps", skip_prk_steps, "PNDM without its Runge-Kutta start");
    visitor("variance_type", variance_type);
    visitor("solver_order", solver_order);
    visitor("algorithm_type", algorithm_type);
    visitor("solver_type", solver_type);
    visitor("lower_order_final", lower_order_final);
    visitor("euler_at_final", euler_at_final);
    visitor("predict_x0", predict_x0);
    visitor("disable_corrector", disable_corrector, "steps that UniPC does not correct");
    visitor("original_inference_steps", original_inference_steps, "of the model LCM was distilled from");
    visitor("timestep_scaling", timestep_scaling);
  }
};

// scheduler_config.json as text: JSON, in which diffusers writes -Infinity for lambda_min_clipped (read as null).
Json parse_scheduler_json(std::string_view text, std::string_view name);

// The configuration of the class the file names: missing keys have that class's defaults. Throws invalid_input for
// values that cannot be right, unsupported for a class (those known are listed), key or value that this program does
// not have. Keys that only other classes have are left alone, as diffusers does.
SchedulerConfig read_scheduler(const Json& config);

// What StableDiffusionPipeline (and its picture to picture form) makes of the configuration it loads: steps_offset is
// 1 and clip_sample false, whatever the file says. Its inpainting form: steps_offset is 1 and skip_prk_steps true.
// Values that the file left out and that changed are listed in "_use_default_values", as diffusers keeps them, so that
// switch_scheduler sees what it would see.
enum class LoadedBy { stable_diffusion, stable_diffusion_inpainting };
Json as_pipeline_loads(const Json& config, LoadedBy pipeline);

// Another class with the same configuration, as `X.from_config(pipeline.scheduler.config)` gives it: keys of the file
// that the new class has, its own defaults for all others, values that were defaults of the old class among them.
// `name` is one of scheduler_names() or a class of diffusers; unsupported, with a list, if neither.
SchedulerConfig switch_scheduler(const Json& config, std::string_view name);

// The names of the command line: "ddim", "dpm++2m_karras" ...
std::vector<std::string> scheduler_names();
// The class of one of them; empty for other names.
std::string scheduler_class(std::string_view name);
std::vector<std::string> scheduler_classes();

// Throws invalid_input or unsupported for options that do not go together; read_scheduler and switch_scheduler have
// called it.
void check(const SchedulerConfig& config);

}  // namespace lathe::contract
