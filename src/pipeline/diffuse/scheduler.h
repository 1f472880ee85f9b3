// Samplers of diffusion models: from noise to a picture's latents in a given number of calls of the model, step for
// step as diffusers computes them (in float32), for every class of contract/scheduler.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "contract/scheduler.h"

namespace lathe::pipeline {

// What a run adds to the configuration.
struct SchedulerRun {
  double eta = 0;     // DDIM: 0 draws no noise, 1 as much as DDPM
  int64_t batch = 1;  // pictures in a sample; each is thresholded by itself
  std::optional<double>
      strength;  // picture to picture, above 0 to 1: the share of the steps that is done, the last ones
};

// One run. step() is called once for each of timesteps(), in order; reset() begins again. For one thread.
class Scheduler {
 public:
  // Fills its argument with standard normals.
  using Noise = std::function<void(std::span<float>)>;

  virtual ~Scheduler() = default;

  // One for each call of the model, in order. Whole numbers where the class knows only those.
  std::span<const double> timesteps() const { return std::span(timesteps_).subspan(first_); }
  // What standard normals are multiplied with to become the first sample (text to picture).
  float init_noise_sigma() const { return init_noise_sigma_; }
  // Makes the model's input of the sample.
  void scale_model_input(size_t call, std::span<float> sample) const;
  // Replaces the sample by the one with less noise. `noise` is called where the algorithm wants noise, with a span of
  // the sample's size.
  void step(size_t call, std::span<const float> model_output, std::span<float> sample, const Noise& noise);
  // Brings a clean sample to the noise with which `call` starts (picture to picture, inpainting).
  void add_noise(size_t call, std::span<const float> noise, std::span<float> sample) const;
  // Does any step draw noise?
  virtual bool is_stochastic() const { return false; }
  void reset();

 protected:
  friend std::unique_ptr<Scheduler> make_scheduler(const contract::SchedulerConfig&, int, const SchedulerRun&);

  // A sample at a place of the schedule is signal * clean + noise * normals.
  struct Level {
    float signal;
    float noise;
  };

  // `at` counts from the start of the whole schedule, also when a run starts later.
  virtual void advance(size_t at, std::span<const float> model_output, std::span<float> sample, const Noise& noise) = 0;
  virtual Level level(size_t at) const = 0;
  virtual float input_sigma(size_t) const { return 0; }  // the input is sample / sqrt(sigma^2 + 1)
  virtual void forget() {}                               // drops what earlier steps left

  std::vector<double> timesteps_;
  float init_noise_sigma_ = 1;

 private:
  size_t first_ = 0;
  size_t next_ = 0;
};

// Throws usage for steps or a strength out of range and for runs that the class cannot do (with the numbers),
// invalid_input for a configuration that cannot give numbers (epsilon at zero signal).
std::unique_ptr<Scheduler> make_scheduler(const contract::SchedulerConfig& config, int steps, const SchedulerRun& run);

}  // namespace lathe::pipeline
