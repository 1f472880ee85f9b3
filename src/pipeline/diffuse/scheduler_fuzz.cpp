// libFuzzer entry: a scheduler_config.json, after a byte for the number of steps and one for the class; any of them
// gives a run, or an Error.
#include <cstdint>

#include "base/error.h"
#include "pipeline/diffuse/scheduler.h"

namespace {

void run(const lathe::contract::SchedulerConfig& config, int steps, bool with_strength) {
  using namespace lathe;
  pipeline::SchedulerRun options;
  options.batch = 2;
  if (with_strength) options.strength = 0.6;
  const auto scheduler = pipeline::make_scheduler(config, steps, options);
  std::vector<float> sample = {1, -0.5f, 2, 0.25f};
  for (size_t call = 0; call < scheduler->timesteps().size(); ++call) {
    std::vector<float> output = sample;
    scheduler->scale_model_input(call, output);
    scheduler->step(call, output, sample, [](std::span<float> noise) { std::fill(noise.begin(), noise.end(), 0.5f); });
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lathe;
  if (size < 2) return 0;
  const int steps = data[0] % 40;
  const std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
  try {
    const Json config = contract::parse_scheduler_json(text, "scheduler_config.json");
    const std::vector<std::string> names = contract::scheduler_names();
    const size_t name = data[1] % (names.size() + 1);
    const Json loaded = contract::as_pipeline_loads(config, contract::LoadedBy::stable_diffusion);
    const auto read =
        name == names.size() ? contract::read_scheduler(loaded) : contract::switch_scheduler(loaded, names[name]);
    if (read.num_train_timesteps <= 2000) run(read, steps, data[1] & 0x80);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::internal) __builtin_trap();  // our own check failed
  }
  return 0;
}
