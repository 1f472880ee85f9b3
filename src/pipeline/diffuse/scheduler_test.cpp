// Schedulers refuse what they cannot do, with the numbers; the schedules that people rely on; noise and restarts.
#include "pipeline/diffuse/scheduler.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "pipeline/diffuse/numeric.h"

namespace lathe::pipeline {
namespace {

Json sd21() {
  return parse_json(R"({"_class_name": "DDIMScheduler", "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "beta_start": 0.00085, "clip_sample": false, "prediction_type": "v_prediction", "set_alpha_to_one": false,
    "skip_prk_steps": true, "steps_offset": 1})",
                    "sd21");
}

std::unique_ptr<Scheduler> make(std::string_view name, int steps, const SchedulerRun& run = {}, const Json& more = {}) {
  Json config = sd21();
  if (more.is_object()) config.update(more);
  return make_scheduler(contract::switch_scheduler(config, name), steps, run);
}

ErrorCode code_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::internal;
}

TEST(Scheduler, TheTimestepsOfStableDiffusion) {
  const auto ddim = make("ddim", 20);
  EXPECT_EQ(ddim->timesteps().size(), 20u);
  EXPECT_EQ(ddim->timesteps().front(), 951);
  EXPECT_EQ(ddim->timesteps().back(), 1);
  const auto pndm = make("pndm", 20);
  EXPECT_EQ(pndm->timesteps().size(), 21u);
  EXPECT_EQ(pndm->timesteps()[1], 901);
  EXPECT_EQ(pndm->timesteps()[2], 901);
  EXPECT_EQ(make("heun", 20)->timesteps().size(), 39u);
  EXPECT_NEAR(make("euler", 20)->init_noise_sigma(), 14.61464, 1e-5);
  // sqrt(sigma^2 + 1) = 1 / sqrt(alpha), at timestep 951
  const Json leading = {{"timestep_spacing", "leading"}};
  EXPECT_NEAR(make("euler", 20, {}, leading)->init_noise_sigma(), 1 / 0.0903051, 1e-4);
}

TEST(Scheduler, PictureToPictureStartsWhereTheStrengthSays) {
  SchedulerRun run;
  run.strength = 0.75;
  EXPECT_EQ(make("ddim", 20, run)->timesteps().front(), 701);
  EXPECT_EQ(make("ddim", 20, run)->timesteps().size(), 15u);
  EXPECT_EQ(make("heun", 20, run)->timesteps().size(), 29u);
  run.strength = 1;
  EXPECT_EQ(make("ddim", 20, run)->timesteps().size(), 20u);
}

TEST(Scheduler, ResetBeginsAgain) {
  for (const std::string& name : contract::scheduler_names()) {
    SCOPED_TRACE(name);
    const auto scheduler = make(name, 6);
    const auto run = [&] {
      std::vector<float> x = {1, -0.5f, 0.25f, 2};
      for (size_t call = 0; call < scheduler->timesteps().size(); ++call) {
        std::vector<float> output = x;
        scheduler->scale_model_input(call, output);
        for (float& value : output) value = std::sin(value);
        scheduler->step(call, output, x, [](std::span<float> noise) { std::ranges::fill(noise, 0.5f); });
      }
      return x;
    };
    const std::vector<float> first = run();
    scheduler->reset();
    EXPECT_EQ(run(), first);
  }
}

TEST(Scheduler, WhatCannotBeDoneIsRefused) {
  EXPECT_EQ(code_of([] { make("ddim", 0); }), ErrorCode::usage);
  EXPECT_EQ(code_of([] { make("ddim", -3); }), ErrorCode::usage);
  EXPECT_EQ(code_of([] { make("euler", 1001); }), ErrorCode::usage);
  EXPECT_EQ(code_of([] { make("ddim", 1000); }), ErrorCode::usage);  // with the offset the first is 1000
  EXPECT_EQ(code_of([] { make("unipc", 1000, {}, Json{{"timestep_spacing", "leading"}}); }), ErrorCode::usage);
  EXPECT_EQ(code_of([] { make("lcm", 51); }), ErrorCode::usage);
  EXPECT_EQ(code_of([] { make("pndm", 3, {}, Json{{"skip_prk_steps", false}}); }), ErrorCode::usage);
  for (const double strength : {0.0, -1.0, 1.5, std::nan(""), 0.04}) {
    SchedulerRun run;
    run.strength = strength;
    EXPECT_EQ(code_of([&] { make("ddim", 20, run); }), ErrorCode::usage) << strength;
  }
  SchedulerRun run;
  run.eta = 2;
  EXPECT_EQ(code_of([&] { make("ddim", 20, run); }), ErrorCode::usage);
  const Json zero = {
      {"rescale_betas_zero_snr", true}, {"timestep_spacing", "trailing"}, {"prediction_type", "epsilon"}};
  EXPECT_EQ(code_of([&] { make("ddim", 20, {}, zero); }), ErrorCode::invalid_input);
  EXPECT_EQ(code_of([&] { make("ddpm", 20, {}, zero); }), ErrorCode::invalid_input);
  const Json inverse = {{"set_alpha_to_one", true}, {"prediction_type", "sample"}, {"steps_offset", 0}};
  EXPECT_EQ(code_of([&] { make("ddim_inverse", 20, {}, inverse); }), ErrorCode::invalid_input);
}

// Every class with every number of steps up to the training's either refuses or gives finite samples.
TEST(Scheduler, AnyNumberOfStepsIsFiniteOrRefused) {
  for (const std::string& name : contract::scheduler_names()) {
    for (const int steps : {1, 2, 3, 4, 7, 14, 15, 16, 30, 50, 99, 100, 333, 500, 998, 999, 1000}) {
      for (const char* spacing : {"leading", "trailing", "linspace"}) {
        SCOPED_TRACE(fmt::format("{} {} {}", name, steps, spacing));
        std::unique_ptr<Scheduler> scheduler;
        try {
          scheduler = make(name, steps, {}, Json{{"timestep_spacing", spacing}});
        } catch (const Error& error) {
          EXPECT_NE(error.code(), ErrorCode::internal) << error.what();
          continue;
        }
        std::vector<float> x = {1, -0.5f};
        for (float& value : x) value *= scheduler->init_noise_sigma();
        for (size_t call = 0; call < scheduler->timesteps().size(); ++call) {
          std::vector<float> output = x;
          scheduler->scale_model_input(call, output);
          for (float& value : output) value = std::sin(value);
          scheduler->step(call, output, x, [](std::span<float> noise) { std::ranges::fill(noise, 0.5f); });
        }
        EXPECT_TRUE(std::isfinite(x[0]) && std::isfinite(x[1])) << x[0];
      }
    }
  }
}

// scipy.stats.beta.ppf(p, 0.6, 0.6)
TEST(Numeric, BetaQuantiles) {
  EXPECT_NEAR(beta_quantile(0.1, 0.6), 0.03958440558878085, 1e-13);
  EXPECT_NEAR(beta_quantile(0.5, 0.6), 0.5, 1e-13);
  EXPECT_NEAR(beta_quantile(0.9, 0.6), 0.9604155944112192, 1e-13);
  EXPECT_EQ(beta_quantile(0, 0.6), 0);
  EXPECT_EQ(beta_quantile(1, 0.6), 1);
}

}  // namespace
}  // namespace lathe::pipeline
