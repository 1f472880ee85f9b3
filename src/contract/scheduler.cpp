#include "contract/scheduler.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "base/fields.h"
#include "base/near_names.h"

namespace lathe::contract {
namespace {

// A class of diffusers: the options it has, beside those that all have, and the defaults in which it differs from
// SchedulerConfig's own.
struct SchedulerClass {
  std::string_view name;
  std::string_view keys;  // with one blank around each
  std::string_view defaults;
};

constexpr std::string_view kCommonKeys =
    " num_train_timesteps beta_start beta_end beta_schedule trained_betas prediction_type ";
// Not options of most classes, but read by all that space their sigmas (diffusers looks at the kept configuration).
constexpr std::string_view kSpacingKeys = " sigma_min sigma_max ";

constexpr std::array<SchedulerClass, 16> kClasses = {{
    {"DDIMScheduler",
     " clip_sample set_alpha_to_one steps_offset thresholding dynamic_thresholding_ratio clip_sample_range"
     " sample_max_value timestep_spacing rescale_betas_zero_snr ",
     R"({"clip_sample": true})"},
    {"DDPMScheduler",
     " variance_type clip_sample thresholding dynamic_thresholding_ratio clip_sample_range sample_max_value"
     " timestep_spacing steps_offset rescale_betas_zero_snr ",
     R"({"clip_sample": true, "variance_type": "fixed_small"})"},
    {"PNDMScheduler", " skip_prk_steps set_alpha_to_one timestep_spacing steps_offset ",
     R"({"set_alpha_to_one": false})"},
    {"LMSDiscreteScheduler", " use_karras_sigmas use_exponential_sigmas use_beta_sigmas timestep_spacing steps_offset ",
     R"({"timestep_spacing": "linspace"})"},
    {"EulerDiscreteScheduler",
     " interpolation_type use_karras_sigmas use_exponential_sigmas use_beta_sigmas timestep_spacing timestep_type"
     " steps_offset rescale_betas_zero_snr final_sigmas_type ",
     R"({"timestep_spacing": "linspace"})"},
    {"EulerAncestralDiscreteScheduler", " timestep_spacing steps_offset rescale_betas_zero_snr ",
     R"({"timestep_spacing": "linspace"})"},
    {"HeunDiscreteScheduler",
     " use_karras_sigmas use_exponential_sigmas use_beta_sigmas clip_sample clip_sample_range timestep_spacing"
     " steps_offset ",
     R"({"timestep_spacing": "linspace", "beta_start": 0.00085, "beta_end": 0.012})"},
    {"KDPM2DiscreteScheduler",
     " use_karras_sigmas use_exponential_sigmas use_beta_sigmas timestep_spacing steps_offset ",
     R"({"timestep_spacing": "linspace", "beta_start": 0.00085, "beta_end": 0.012})"},
    {"KDPM2AncestralDiscreteScheduler",
     " use_karras_sigmas use_exponential_sigmas use_beta_sigmas timestep_spacing steps_offset ",
     R"({"timestep_spacing": "linspace", "beta_start": 0.00085, "beta_end": 0.012})"},
    {"DPMSolverMultistepScheduler",
     " solver_order thresholding dynamic_thresholding_ratio sample_max_value algorithm_type solver_type"
     " lower_order_final euler_at_final use_karras_sigmas use_exponential_sigmas use_beta_sigmas use_lu_lambdas"
     " final_sigmas_type lambda_min_clipped variance_type timestep_spacing steps_offset rescale_betas_zero_snr ",
     R"({"timestep_spacing": "linspace"})"},
    {"DPMSolverSinglestepScheduler",
     " solver_order thresholding dynamic_thresholding_ratio sample_max_value algorithm_type solver_type"
     " lower_order_final use_karras_sigmas use_exponential_sigmas use_beta_sigmas final_sigmas_type"
     " lambda_min_clipped variance_type ",
     R"({"timestep_spacing": "linspace", "lower_order_final": false})"},
    {"DPMSolverSDEScheduler",
     " use_karras_sigmas use_exponential_sigmas use_beta_sigmas timestep_spacing steps_offset ",
     R"({"timestep_spacing": "linspace", "beta_start": 0.00085, "beta_end": 0.012})"},
    {"UniPCMultistepScheduler",
     " solver_order thresholding dynamic_thresholding_ratio sample_max_value predict_x0 solver_type lower_order_final"
     " disable_corrector use_karras_sigmas use_exponential_sigmas use_beta_sigmas timestep_spacing steps_offset"
     " final_sigmas_type rescale_betas_zero_snr ",
     R"({"timestep_spacing": "linspace", "solver_type": "bh2"})"},
    {"DEISMultistepScheduler",
     " solver_order thresholding dynamic_thresholding_ratio sample_max_value algorithm_type solver_type"
     " lower_order_final use_karras_sigmas use_exponential_sigmas use_beta_sigmas timestep_spacing steps_offset ",
     R"({"timestep_spacing": "linspace", "algorithm_type": "deis", "solver_type": "logrho"})"},
    {"LCMScheduler",
     " original_inference_steps clip_sample clip_sample_range set_alpha_to_one steps_offset thresholding"
     " dynamic_thresholding_ratio sample_max_value timestep_spacing timestep_scaling rescale_betas_zero_snr ",
     R"({"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"})"},
    {"DDIMInverseScheduler",
     " clip_sample set_alpha_to_one steps_offset clip_sample_range timestep_spacing rescale_betas_zero_snr ",
     R"({"clip_sample": true})"},
}};

struct CommandName {
  std::string_view name;
  std::string_view class_name;
  std::string_view options;  // given to from_config beside the configuration
};

constexpr std::array<CommandName, 19> kCommandNames = {{
    {"ddim", "DDIMScheduler", "{}"},
    {"ddpm", "DDPMScheduler", "{}"},
    {"pndm", "PNDMScheduler", "{}"},
    {"lms", "LMSDiscreteScheduler", "{}"},
    {"euler", "EulerDiscreteScheduler", "{}"},
    {"euler_a", "EulerAncestralDiscreteScheduler", "{}"},
    {"heun", "HeunDiscreteScheduler", "{}"},
    {"dpm2", "KDPM2DiscreteScheduler", "{}"},
    {"dpm2_a", "KDPM2AncestralDiscreteScheduler", "{}"},
    {"dpm++2m", "DPMSolverMultistepScheduler", "{}"},
    {"dpm++2m_karras", "DPMSolverMultistepScheduler", R"({"use_karras_sigmas": true})"},
    {"dpm++2m_sde", "DPMSolverMultistepScheduler", R"({"algorithm_type": "sde-dpmsolver++"})"},
    {"dpm++2s", "DPMSolverSinglestepScheduler", "{}"},
    {"dpm++_sde", "DPMSolverSDEScheduler", "{}"},
    {"unipc", "UniPCMultistepScheduler", "{}"},
    {"deis", "DEISMultistepScheduler", "{}"},
    {"lcm", "LCMScheduler", "{}"},
    {"ddim_inverse", "DDIMInverseScheduler", "{}"},
    {"dpm++2m_sde_karras", "DPMSolverMultistepScheduler",
     R"({"algorithm_type": "sde-dpmsolver++", "use_karras_sigmas": true})"},
}};

// Options that this program has for one value only, the one that changes nothing.
struct FixedKey {
  std::string_view key;
  std::string_view value;  // JSON
};
constexpr std::array<FixedKey, 7> kFixedKeys = {{
    {"use_flow_sigmas", "false"},
    {"flow_shift", "1.0"},
    {"use_dynamic_shifting", "false"},
    {"time_shift_type", "\"exponential\""},
    {"shift_terminal", "null"},
    {"solver_p", "null"},
    {"noise_sampler_seed", "null"},
}};
// Keys of old files that never changed a number.
constexpr std::string_view kSilentKeys = " tensor_format quantization_config ";

bool lists(std::string_view keys, std::string_view key) {
  return keys.find(fmt::format(" {} ", key)) != std::string_view::npos;
}

const SchedulerClass* find_class(std::string_view name) {
  const auto it = std::ranges::find(kClasses, name, &SchedulerClass::name);
  return it == kClasses.end() ? nullptr : &*it;
}

const SchedulerClass& get_class(std::string_view name) {
  if (const SchedulerClass* found = find_class(name)) return *found;
  fail(ErrorCode::unsupported, "_class_name: scheduler \"{}\" is not known; known are {}", name,
       fmt::join(scheduler_classes(), ", "));
}

bool has_key(const SchedulerClass& kind, std::string_view key) {
  const bool spaces_sigmas = lists(kind.keys, "use_exponential_sigmas");
  return lists(kCommonKeys, key) || lists(kind.keys, key) || (spaces_sigmas && lists(kSpacingKeys, key));
}

bool known_anywhere(std::string_view key) {
  return lists(kSilentKeys, key) || std::ranges::any_of(kClasses, [&](const auto& c) { return has_key(c, key); });
}

void check_key(const SchedulerClass& kind, std::string_view key, const Json& value) {
  const auto fixed = std::ranges::find(kFixedKeys, key, &FixedKey::key);
  if (fixed != kFixedKeys.end()) {
    if (value.is_null() || value == Json::parse(fixed->value)) return;
    fail(ErrorCode::unsupported, "{}: {} is not supported (of {})", key, value.dump(), kind.name);
  }
  if (!known_anywhere(key)) {
    fail(ErrorCode::unsupported, "{}: a key of {} that this program does not know, with the value {}", key, kind.name,
         value.dump());
  }
  if (key == "prediction_type" && value == "flow_prediction") {
    fail(ErrorCode::unsupported, "prediction_type: flow_prediction is not supported");
  }
}

// Diffusers' classes take each other's solver names and put their own in place.
void translate_solver(SchedulerConfig& config) {
  const std::string& name = config.class_name;
  AlgorithmType& algorithm = config.algorithm_type;
  SolverType& solver = config.solver_type;
  const bool steps = solver == SolverType::midpoint || solver == SolverType::heun;
  if (name.starts_with("DPMSolver")) {
    if (algorithm == AlgorithmType::deis) algorithm = AlgorithmType::dpmsolver_pp;
    if (!steps) solver = SolverType::midpoint;
  } else if (name == "DEISMultistepScheduler") {
    if (algorithm == AlgorithmType::dpmsolver || algorithm == AlgorithmType::dpmsolver_pp)
      algorithm = AlgorithmType::deis;
    solver = SolverType::logrho;
  } else if (name == "UniPCMultistepScheduler") {
    if (solver != SolverType::bh1) solver = SolverType::bh2;
  }
}

// `values` over the defaults of the class.
SchedulerConfig make_config(const SchedulerClass& kind, const Json& values) {
  Json all = Json::parse(kind.defaults);
  for (const auto& [key, value] : values.items()) {
    if (key.starts_with('_')) continue;
    check_key(kind, key, value);
    if (has_key(kind, key) && !value.is_null()) all[key] = value;
  }
  SchedulerConfig config;
  from_json(all, config);
  config.class_name = kind.name;
  translate_solver(config);
  check(config);
  return config;
}

void check_object(const Json& config) {
  if (!config.is_object())
    fail(ErrorCode::invalid_input, "scheduler configuration: expected an object, found {}", config.type_name());
}

std::vector<std::string> used_defaults(const Json& config) {
  std::vector<std::string> keys;
  if (const Json* list = find_member(config, "_use_default_values")) {
    with_context("_use_default_values", [&] { from_json(*list, keys); });
  }
  return keys;
}

}  // namespace

Json parse_scheduler_json(std::string_view text, std::string_view name) {
  std::string plain;
  constexpr std::string_view kInfinity = "-Infinity";
  bool quoted = false;
  for (size_t i = 0; i < text.size();) {
    if (!quoted && text.substr(i).starts_with(kInfinity)) {
      plain += "null";
      i += kInfinity.size();
      continue;
    }
    if (text[i] == '"') quoted = !quoted;
    if (quoted && text[i] == '\\' && i + 1 < text.size()) plain += text[i++];
    plain += text[i++];
  }
  return parse_json(plain, name);
}

SchedulerConfig read_scheduler(const Json& config) {
  check_object(config);
  return make_config(get_class(get_string(config, "_class_name")), config);
}

Json as_pipeline_loads(const Json& config, LoadedBy pipeline) {
  const SchedulerConfig read = read_scheduler(config);
  const SchedulerClass& kind = get_class(read.class_name);
  Json result = config;
  std::vector<std::string> defaults = used_defaults(config);
  // A key counts where the class has it or the file holds it for another class.
  const auto put = [&](const std::string& key, const Json& value) {
    if (!config.contains(key)) {
      if (!lists(kind.keys, key)) return;
      defaults.push_back(key);
    }
    result[key] = value;
  };
  if (find_member(config, "steps_offset") ? config["steps_offset"] != 1 : true) put("steps_offset", 1);
  if (pipeline == LoadedBy::stable_diffusion) {
    const Json* clip = find_member(config, "clip_sample");
    if (clip ? *clip == true : read.clip_sample) put("clip_sample", false);
  } else {
    const Json* skip = find_member(config, "skip_prk_steps");
    if (skip ? *skip == false : true) put("skip_prk_steps", true);
  }
  if (!defaults.empty()) result["_use_default_values"] = defaults;
  return result;
}

SchedulerConfig switch_scheduler(const Json& config, std::string_view name) {
  check_object(config);
  const auto command = std::ranges::find(kCommandNames, name, &CommandName::name);
  const SchedulerClass* kind = find_class(command == kCommandNames.end() ? name : command->class_name);
  if (!kind) {
    const std::vector<std::string> names = scheduler_names();
    fail(ErrorCode::unsupported, "scheduler \"{}\" is not known{}; known are {}", name, near_text(name, names),
         fmt::join(names, ", "));
  }
  Json values = config;
  for (const std::string& key : used_defaults(config)) values.erase(key);
  if (command != kCommandNames.end()) {
    const Json options = Json::parse(command->options);
    for (const auto& [key, value] : options.items()) values[key] = value;
  }
  return make_config(*kind, values);
}

std::vector<std::string> scheduler_names() {
  std::vector<std::string> names;
  for (const CommandName& command : kCommandNames) names.emplace_back(command.name);
  return names;
}

std::string scheduler_class(std::string_view name) {
  const auto command = std::ranges::find(kCommandNames, name, &CommandName::name);
  return command == kCommandNames.end() ? "" : std::string(command->class_name);
}

std::vector<std::string> scheduler_classes() {
  std::vector<std::string> names;
  for (const SchedulerClass& kind : kClasses) names.emplace_back(kind.name);
  return names;
}

}  // namespace lathe::contract
