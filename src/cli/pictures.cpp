#include "cli/pictures.h"

#include <algorithm>
#include <numeric>
#include <random>

#include "base/memory.h"
#include "cli/calibrate_graphs.h"
#include "cli/model.h"
#include "cli/picture_comparison.h"
#include "cli/picture_files.h"
#include "cli/picture_preview.h"
#include "cli/terminal_picture.h"
#include "pipeline/diffuse/picture_memory.h"

namespace lathe::cli {
namespace {

// Throws resource where memory will not do and nobody wants to try.
pipeline::PictureMemory predict(const PictureModel& model, const pipeline::PictureRequest& request,
                                const runtime::GraphOptions& options, const PictureFlags& flags) {
  pipeline::PictureMeter meter(model.contract, model.measurable, options, flags.preview > 0);
  return flags.ignore_memory ? meter.predict(request) : meter.require(request, available_memory_bytes());
}

Json memory_with(const MemoryUse& use, uint64_t predicted) {
  Json json = memory_json(use);
  json["predicted_peak_bytes"] = predicted;
  return json;
}

}  // namespace

Exit run_pictures(PictureRun run, PictureFlags flags, const Output& output) {
  check_picture_flags(flags);
  const TerminalGraphics graphics = choose_graphics(flags.show);
  if (!flags.like.empty()) take_settings(settings_of(flags.like), run, flags);
  if (!run.seed) run.seed = std::random_device()();
  PictureModel model = open_pictures(run.model, flags.pipeline, run.check, run.precision, run.graph, output);
  for (const std::string& note : model.notes) output.note(note);
  const contract::Pictures contract = model.contract;
  if (contract.safety_checker && flags.pipeline.safety_checker &&
      std::ranges::count(model.measurable.names, "safety_checker") == 0) {
    fail(ErrorCode::unsupported,
         "this engine was built without the safety checker that its pipeline was published with: build it again, or "
         "--no-safety-checker runs it without");
  }
  if (contract.safety_checker && flags.pipeline.safety_checker && flags.preview > 0) {
    fail(ErrorCode::usage,
         "--preview shows what the pipeline's safety checker has not seen; it needs --no-safety-checker");
  }
  const pipeline::PictureRequest request =
      pipeline::completed(make_request(run, flags, contract.latent_scale), contract);
  const uint64_t program = memory_use().peak_rss_bytes;
  const pipeline::PictureMemory prediction = predict(model, request, run.graph, flags);
  if (!flags.compare.empty()) {
    const bool keep = prediction.sum_bytes() <= available_memory_bytes();
    return compare_schedulers(std::move(model), request, flags, {.graph = run.graph, .keep_models = keep}, output);
  }
  const auto diffuser = open_diffuser(std::move(model), {.graph = run.graph});
  StepWatcher watcher(flags, contract, request, *diffuser, output);
  const pipeline::PictureResult result = diffuser->run(request, watcher.on_step());
  output.end_progress();
  for (const std::string& note : result.notes) output.note(note);
  const Json files = write_pictures(request, flags, result, contract.name, output);
  for (const image::Image& image : images_of(result)) output.stream(picture_sequence(graphics, image));
  const double unet_ms = std::accumulate(result.step_ms.begin(), result.step_ms.end(), 0.0),
               calls = double(result.step_ms.size());
  const MemoryUse memory = memory_use();
  output.note(
      fmt::format("{} x {}, {} {} steps, guidance {:g}, seed {}: {:.0f} ms a step, text {:.0f} ms, decode {:.0f} ms, "
                  "loaded in {:.0f} ms, {:.0f} MB of memory",
                  result.width, result.height, result.steps, result.scheduler_name, result.guidance, request.seed,
                  unet_ms / std::max(1.0, calls), result.text_ms, result.decode_ms, result.load_ms,
                  double(memory.peak_rss_bytes) / 1e6));
  output.result({{"pictures", files},
                 {"width", result.width},
                 {"height", result.height},
                 {"steps", result.steps},
                 {"guidance", result.guidance},
                 {"scheduler", result.scheduler_name},
                 {"notes", result.notes},
                 {"timings",
                  {{"load_ms", result.load_ms},
                   {"text_ms", result.text_ms},
                   {"encode_ms", result.encode_ms},
                   {"steps_ms", result.step_ms},
                   {"decode_ms", result.decode_ms},
                   {"safety_ms", result.safety_ms}}},
                 {"memory", memory_with(memory, program + prediction.peak_bytes())}});
  return std::ranges::count(result.hidden, true) > 0 ? Exit::failed : Exit::good;
}

}  // namespace lathe::cli
