// What schedulers share: three ways to say how much noise a sample has.
#pragma once

#include "pipeline/diffuse/noise_table.h"
#include "pipeline/diffuse/prediction.h"
#include "pipeline/diffuse/scheduler.h"

namespace lathe::pipeline {

// Samples of variance 1 at whole timesteps: sqrt(alpha) * clean + sqrt(1 - alpha) * epsilon.
class AlphaScheduler : public Scheduler {
 protected:
  AlphaScheduler(const contract::SchedulerConfig& config, const SchedulerRun& run);

  // Takes over timesteps of a run; throws usage for one that the model was not trained on, invalid_input where
  // epsilon would be divided by a signal of zero.
  void set_timesteps(std::vector<double> timesteps);
  Level level(size_t at) const override;
  float alpha(double timestep) const { return table_.alphas_cumprod.at(size_t(timestep)); }
  // alpha before timestep 0 counts as 1 or, without set_alpha_to_one, as that of timestep 0.
  float alpha_or_final(double timestep) const;
  void limit(std::span<float> clean) const;  // thresholds or clips, as configured

  contract::SchedulerConfig config_;
  SchedulerRun run_;
  NoiseTable table_;
};

// Samples with growing variance: clean + sigma * epsilon, scaled down for the model.
class SigmaScheduler : public Scheduler {
 protected:
  // `spaced`: the sigmas of the steps follow a rule instead of the timesteps; `karras_range`: its karras form honours
  // sigma_min and sigma_max of the configuration; `round`: to whole timesteps with the karras rule.
  struct Form {
    bool karras_range = true;
    bool round_karras = false;
    TimestepDigits digits = TimestepDigits::as_float;
  };
  SigmaScheduler(const contract::SchedulerConfig& config, int steps, Form form);

  Level level(size_t at) const override { return {1, sigmas_[at]}; }
  float input_sigma(size_t at) const override { return sigmas_[at]; }
  // Sets init_noise_sigma_ from the largest of the sigmas.
  void set_init_noise();
  // Each sigma but the first and the last twice, each timestep but the first twice: two calls a step.
  void repeat_steps();

  contract::SchedulerConfig config_;
  NoiseTable table_;
  std::vector<double> step_sigmas_;  // [steps] before rounding
  std::vector<float> sigmas_;        // [steps + 1], 0 last
};

// The multistep and singlestep solvers: sigmas as above, samples of variance 1.
class SolverScheduler : public Scheduler {
 protected:
  // What is known of a sigma, all in float32.
  struct Point {
    explicit Point(float sigma);
    float alpha;   // of the signal
    float sigma;   // of the noise, alpha * sigma of the table
    float lambda;  // log(alpha) - log(sigma); infinite without noise
  };
  // The sigma after the last step, where final_sigmas_type is "sigma_min": the table's first or, with a spacing rule,
  // the last step's again.
  enum class Last { zero, table, step };
  SolverScheduler(const contract::SchedulerConfig& config, int steps, const SchedulerRun& run, int64_t limit,
                  Last plain, Last spaced);

  // Training steps whose signal is at least lambda_min_clipped (diffusers leaves the rest out).
  static int64_t count_unclipped(const contract::SchedulerConfig& config);
  static Last last_of(const contract::SchedulerConfig& config, Last where);

  Level level(size_t at) const override;
  Point point(size_t at) const { return Point(sigmas_[at]); }
  void limit(std::span<float> clean) const;
  std::vector<float> clean_at(size_t at, std::span<const float> sample, std::span<const float> output) const;

  contract::SchedulerConfig config_;
  SchedulerRun run_;
  NoiseTable table_;
  std::vector<float> sigmas_;  // [steps + 1]

 private:
  void set_spaced(int steps, std::vector<double>& sigmas);
};

}  // namespace lathe::pipeline
