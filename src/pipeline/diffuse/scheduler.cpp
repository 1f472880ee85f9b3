#include "pipeline/diffuse/scheduler.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "pipeline/diffuse/scheduler_kind.h"

namespace lathe::pipeline {

#include "pipeline_diffuse_schedulers_declarations.inc"

namespace {

using KindFunction = const SchedulerKind& (*)();
constexpr KindFunction kKinds[] = {
#include "pipeline_diffuse_schedulers_entries.inc"
};

// The step that a run of this strength starts with.
size_t first_step(int steps, double strength) {
  if (!(strength > 0 && strength <= 1)) fail(ErrorCode::usage, "strength: expected above 0 to 1, found {}", strength);
  const int done = std::min(int(steps * strength), steps);
  if (done < 1) fail(ErrorCode::usage, "strength: {} of {} steps is less than one step", strength, steps);
  return size_t(steps - done);
}

}  // namespace

void Scheduler::scale_model_input(size_t call, std::span<float> sample) const {
  LATHE_CHECK(call < timesteps().size(), "call {} of {}", call, timesteps().size());
  const float sigma = input_sigma(first_ + call);
  if (sigma == 0) return;
  const float divisor = std::sqrt(sigma * sigma + 1.0f);
  for (float& x : sample) x /= divisor;
}

void Scheduler::step(size_t call, std::span<const float> model_output, std::span<float> sample, const Noise& noise) {
  LATHE_CHECK(call == next_ && call < timesteps().size(), "call {}, expected {} of {}", call, next_,
              timesteps().size());
  LATHE_CHECK(model_output.size() == sample.size(), "{} and {}", model_output.size(), sample.size());
  LATHE_CHECK(noise || !is_stochastic(), "this scheduler draws noise");
  advance(first_ + call, model_output, sample, noise);
  ++next_;
}

void Scheduler::add_noise(size_t call, std::span<const float> noise, std::span<float> sample) const {
  LATHE_CHECK(call < timesteps().size(), "call {} of {}", call, timesteps().size());
  LATHE_CHECK(noise.size() == sample.size(), "{} and {}", noise.size(), sample.size());
  const Level at = level(first_ + call);
  for (size_t i = 0; i < sample.size(); ++i) sample[i] = at.signal * sample[i] + at.noise * noise[i];
}

void Scheduler::reset() {
  next_ = 0;
  forget();
}

std::unique_ptr<Scheduler> make_scheduler(const contract::SchedulerConfig& config, int steps, const SchedulerRun& run) {
  contract::check(config);
  if (steps < 1 || steps > config.num_train_timesteps) {
    fail(ErrorCode::usage, "steps: expected 1 to {} (the model's training steps), found {}", config.num_train_timesteps,
         steps);
  }
  if (!(run.eta >= 0 && run.eta <= 1)) fail(ErrorCode::usage, "eta: expected 0 to 1, found {}", run.eta);
  LATHE_CHECK(run.batch >= 1, "batch {}", run.batch);
  for (const KindFunction kind : kKinds) {
    if (kind().class_name != config.class_name) continue;
    std::unique_ptr<Scheduler> scheduler = kind().make(config, steps, run);
    if (run.strength) {
      scheduler->first_ = first_step(steps, *run.strength) * kind().calls_per_step;
      LATHE_CHECK(scheduler->first_ < scheduler->timesteps_.size(), "start {} of {}", scheduler->first_,
                  scheduler->timesteps_.size());
    }
    return scheduler;
  }
  fail(ErrorCode::unsupported, "scheduler \"{}\" is not known", config.class_name);
}

}  // namespace lathe::pipeline
