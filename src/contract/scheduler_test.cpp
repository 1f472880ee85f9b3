// Configurations become what diffusers makes of them, as loaded and after switching classes.
#include "contract/scheduler.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/fields.h"

namespace lathe::contract {
namespace {

Json sd21() {
  return parse_json(R"({"_class_name": "DDIMScheduler", "_diffusers_version": "0.8.0", "beta_end": 0.012,
    "beta_schedule": "scaled_linear", "beta_start": 0.00085, "clip_sample": false, "num_train_timesteps": 1000,
    "prediction_type": "v_prediction", "set_alpha_to_one": false, "skip_prk_steps": true, "steps_offset": 1,
    "trained_betas": null})",
                    "sd21");
}

ErrorCode code_of(const Json& config) {
  try {
    read_scheduler(config);
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::internal;
}

TEST(SchedulerConfig, DiffusersOptionsAfterLoadingAndSwitching) {
  const Json golden = read_json_file(LATHE_TESTS_DIR "/diffuse/switching.json");
  size_t checked = 0;
  for (const Json& row : golden["cases"]) {
    SCOPED_TRACE(row.dump());
    Json config = golden["configs"][row[0].get<std::string>()];
    if (row[1] == "sd") config = as_pipeline_loads(config, LoadedBy::stable_diffusion);
    if (row[1] == "inpaint") config = as_pipeline_loads(config, LoadedBy::stable_diffusion_inpainting);
    const Json found =
        to_json(row[2].is_null() ? read_scheduler(config) : switch_scheduler(config, row[2].get<std::string>()));
    for (const auto& [key, value] : golden["options"][row[3].get<size_t>()].items()) {
      if (!found.contains(key)) continue;  // options of which one value only is supported
      EXPECT_EQ(found[key], value) << key;
      ++checked;
    }
  }
  EXPECT_GT(checked, 5000u);
}

TEST(SchedulerConfig, NamesOfTheCommandLine) {
  for (const std::string& name : scheduler_names()) {
    const SchedulerConfig config = switch_scheduler(sd21(), name);
    EXPECT_EQ(config.prediction_type, PredictionType::v_prediction) << name;
    EXPECT_EQ(config.beta_end, 0.012) << name;
  }
  EXPECT_TRUE(switch_scheduler(sd21(), "dpm++2m_karras").use_karras_sigmas);
  EXPECT_EQ(switch_scheduler(sd21(), "dpm++2m_sde").algorithm_type, AlgorithmType::sde_dpmsolver_pp);
  EXPECT_TRUE(switch_scheduler(sd21(), "pndm").skip_prk_steps);  // kept though DDIM has no such option
  EXPECT_EQ(switch_scheduler(sd21(), "euler").timestep_spacing, TimestepSpacing::linspace);
  try {
    switch_scheduler(sd21(), "dpm++2n");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
    EXPECT_NE(error.message().find("dpm++2m"), std::string::npos);
  }
}

TEST(SchedulerConfig, MinusInfinityIsReadAsNone) {
  const Json config = parse_scheduler_json(
      R"({"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": -Infinity, "note \" -Infinity": 1})",
      "x");
  EXPECT_TRUE(config["lambda_min_clipped"].is_null());
  EXPECT_TRUE(config.contains("note \" -Infinity"));
}

TEST(SchedulerConfig, JsonAndBack) {
  SchedulerConfig config = switch_scheduler(sd21(), "unipc");
  config.trained_betas = std::vector<double>(1000, 0.01);
  config.disable_corrector = {0, 2};
  EXPECT_EQ(to_json(read_scheduler(to_json(config))), to_json(config));
}

TEST(SchedulerConfig, WhatCannotBeRightIsRefused) {
  const auto with = [](std::string_view key, Json value) {
    Json config = sd21();
    config[std::string(key)] = std::move(value);
    return config;
  };
  EXPECT_EQ(code_of(with("_class_name", "FlowMatchEulerDiscreteScheduler")), ErrorCode::unsupported);
  EXPECT_EQ(code_of(with("_class_name", 3)), ErrorCode::invalid_input);
  EXPECT_EQ(code_of(with("prediction_type", "flow_prediction")), ErrorCode::unsupported);
  EXPECT_EQ(code_of(with("prediction_type", "noise")), ErrorCode::invalid_input);
  EXPECT_EQ(code_of(with("beta_schedule", "sigmoid")), ErrorCode::unsupported);
  EXPECT_EQ(code_of(with("beta_start", -1)), ErrorCode::invalid_input);
  EXPECT_EQ(code_of(with("beta_start", "small")), ErrorCode::invalid_input);
  EXPECT_EQ(code_of(with("num_train_timesteps", 0)), ErrorCode::invalid_input);
  EXPECT_EQ(code_of(with("trained_betas", Json::array({0.1, 0.2}))), ErrorCode::invalid_input);
  EXPECT_EQ(code_of(with("steps_offset", 1000)), ErrorCode::invalid_input);
  EXPECT_EQ(code_of(with("use_flow_sigmas", true)), ErrorCode::unsupported);
  EXPECT_EQ(code_of(with("some_future_option", 1)), ErrorCode::unsupported);
  EXPECT_EQ(code_of(Json::array()), ErrorCode::invalid_input);

  Json both = with("use_karras_sigmas", true);
  both["_class_name"] = "EulerDiscreteScheduler";
  both["use_beta_sigmas"] = true;
  EXPECT_EQ(code_of(both), ErrorCode::invalid_input);
  Json dpm = with("algorithm_type", "dpmsolver");
  dpm["_class_name"] = "DPMSolverMultistepScheduler";
  EXPECT_EQ(code_of(dpm), ErrorCode::invalid_input);  // final sigma zero
  dpm["final_sigmas_type"] = "sigma_min";
  EXPECT_NO_THROW(read_scheduler(dpm));
}

}  // namespace
}  // namespace lathe::contract
