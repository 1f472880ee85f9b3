#include "cli/bench_pictures.h"

#include <algorithm>

#include "backend/device.h"
#include "base/memory.h"
#include "bench/bench.h"
#include "bench/picture_speed.h"
#include "cli/bench_conditions.h"
#include "cli/calibrate_graphs.h"
#include "cli/model.h"
#include "pipeline/diffuse/picture_latents.h"

namespace lathe::cli {
namespace {

// Words do not change the time that their tokens take.
constexpr std::string_view kPrompt = "a photograph of a lighthouse by the sea";
constexpr size_t kShownHash = 10;

pipeline::PictureRequest make_request(const PictureBenchFlags& flags, const contract::Pictures& contract) {
  for (const auto& [name, value] :
       {std::pair{"steps", flags.steps}, {"width", flags.width}, {"height", flags.height}}) {
    if (value && *value < 1) fail(ErrorCode::usage, "--{} {}: expected at least 1", name, *value);
  }
  if (contract.unet_channels != contract.latent_channels)
    fail(ErrorCode::unsupported, "pipelines that paint into pictures are not measured");
  pipeline::PictureRequest request;
  request.prompt = kPrompt;
  request.width = flags.width.value_or(0);
  request.height = flags.height.value_or(0);
  request.steps = int(flags.steps.value_or(0));
  request.guidance = flags.guidance.value_or(-1);
  request.batch = flags.batch;
  request.scheduler = flags.scheduler;
  return pipeline::completed(request, contract);
}

Json conditions_of(const std::string& path, const PictureModel& model, const pipeline::PictureRequest& request,
                   const runtime::GraphOptions& options, int repeats) {
  const backend::Device& device = backend::get_device("cpu");
  const std::string scheduler = pipeline::scheduler_name(model.contract, request).name;
  return {{"kind", "pictures"},
          {"model", path},
          {"revision", model.revision()},
          {"width", request.width},
          {"height", request.height},
          {"steps", request.steps},
          {"guidance", request.guidance},
          {"batch", request.batch},
          {"scheduler", scheduler},
          {"precision", contract::to_string(model.precision)},
          {"threads", options.threads > 0 ? options.threads : available_cpus()},
          {"isa", backend::isa_name(device, device.choose_isa(options.isa))},
          {"cpu", bench::cpu_name()},
          {"repeats", repeats},
          {"version", LATHE_VERSION}};
}

// One line a figure, each with what it was taken under.
class Table {
 public:
  Table(const Json& conditions, const Output& output) : conditions_(conditions), output_(output) {
    output_.print(fmt::format("{:<15} {:>4} {:>11} {:>5} {:>8} {:>9} {:>7} {:<10} {:>11} {:>11} {:>11} {:>9}", "test",
                              "rows", "size", "steps", "guidance", "precision", "threads", "revision", "median ms",
                              "fastest", "slowest", "GFLOP/s"));
  }
  void add(const bench::PictureTest& test) {
    const auto [low, high] = std::minmax_element(test.samples.begin(), test.samples.end());
    output_.print(fmt::format(
        "{:<15} {:>4} {:>11} {:>5} {:>8} {:>9} {:>7} {:<10} {:>11.1f} {:>11.1f} {:>11.1f} {:>9.1f}", test.test,
        test.rows, fmt::format("{}x{}", conditions_["width"].get<int64_t>(), conditions_["height"].get<int64_t>()),
        conditions_["steps"].get<int64_t>(), fmt::format("{:g}", conditions_["guidance"].get<double>()),
        conditions_["precision"].get<std::string>(), conditions_["threads"].get<int64_t>(),
        conditions_["revision"].get<std::string>().substr(0, kShownHash), test.median, *low, *high, test.gflops()));
    results_.push_back({{"test", test.test},
                        {"rows", test.rows},
                        {"samples", test.samples},
                        {"median", test.median},
                        {"unit", "ms"},
                        {"flop", test.flop},
                        {"gflop_per_second", test.gflops()}});
  }
  const Json& results() const { return results_; }

 private:
  const Json& conditions_;
  const Output& output_;
  Json results_ = Json::array();
};

}  // namespace

void add_picture_bench_flags(CLI::App& command, PictureBenchFlags& flags) {
  command.add_option("--steps", flags.steps, "of a picture pipeline: steps of the whole picture (default: 50)");
  command.add_option("--guidance", flags.guidance, "of a picture (default: the pipeline's own)");
  command.add_option("--width", flags.width, "of a picture, in pixels (default: what the model was made for)");
  command.add_option("--height", flags.height, "of a picture, in pixels");
  command.add_option("--batch", flags.batch, "pictures at once")->capture_default_str();
  command.add_option("--scheduler", flags.scheduler, "of a picture (default: the model's)");
  command.add_option("--variant", flags.pipeline.variant, "of a diffusers folder's weight files: fp16");
  command.add_option("--vae", flags.pipeline.vae, "folder of another autoencoder");
  command.add_option("--tokenizer", flags.pipeline.tokenizer,
                     "of a single file: folder with vocab.json and merges.txt");
  command.add_option("--prediction", flags.pipeline.prediction, "of a single file: epsilon or v_prediction");
  command.add_flag("--no-picture", flags.no_picture, "measure the models of a pipeline, not whole pictures");
  command.add_flag("--reproduce-blog", flags.reproduce_blog,
                   "make a published mistake: compare pictures of two sizes; and beside it what is right");
  command.add_option("--compare", flags.compare,
                     "of a picture pipeline: a result of --json to compare with; refused where conditions differ");
  command.add_option("--vary", flags.vary, "conditions that may differ from those of --compare")->delimiter(',');
  command.add_flag("--ignore-memory", flags.ignore_memory, "begin although memory is predicted not to do");
}

Exit bench_pictures(const std::string& path, const PictureBenchFlags& flags, int repeats,
                    const runtime::GraphOptions& options, const Output& output) {
  if (repeats < 1) fail(ErrorCode::usage, "--repeat {}: expected 1 or more", repeats);
  if (!flags.vary.empty() && flags.compare.empty()) fail(ErrorCode::usage, "--vary goes with --compare");
  PictureModel opened = open_pictures(path, flags.pipeline, false, flags.precision, options, output);
  const pipeline::PictureRequest request = make_request(flags, opened.contract);
  PictureBenchRun run{
      .model = std::move(opened), .request = request, .options = options, .repeats = repeats, .conditions = {}};
  for (const std::string& note : run.model.notes) output.note(note);
  run.conditions = conditions_of(path, run.model, request, options, repeats);
  if (flags.reproduce_blog) return reproduce_blog(std::move(run), output);
  std::optional<EarlierRun> earlier;
  if (!flags.compare.empty()) earlier.emplace(flags.compare, run.conditions, flags.vary);
  pipeline::PictureMemory memory;
  {
    pipeline::PictureMeter meter(run.model.contract, run.model.measurable, options);
    memory = flags.ignore_memory ? meter.predict(request) : meter.require(request, available_memory_bytes());
  }
  Table table(run.conditions, output);
  const contract::Pictures contract = run.model.contract;
  bench::run_models({contract, request, run.model.measurable.names, run.model.graphs, options, repeats},
                    [&](const bench::PictureTest& test) { table.add(test); });
  if (!flags.no_picture) {
    const bool keep = memory.sum_bytes() < available_memory_bytes() / 2;
    const auto diffuser = open_diffuser(std::move(run.model), {.graph = options, .keep_models = keep});
    bench::PictureTest whole{.test = "picture", .rows = request.batch, .samples = {}};
    size_t calls = 0;
    for (int i = 0; i < repeats; ++i) {
      const pipeline::PictureResult result = diffuser->run(request);
      calls = result.step_ms.size();
      whole.samples.push_back(bench::picture_ms(result));
    }
    whole.median = bench::median_of(whole.samples);
    whole.flop = bench::picture_flop(contract, request, memory, calls);
    table.add(whole);
  }
  const MemoryUse use = memory_use();
  output.print(fmt::format("{}, {}; scheduler {}; peak RSS {:.0f} MB ({:.0f} MB without file pages)", bench::cpu_name(),
                           run.conditions["isa"].get<std::string>(), run.conditions["scheduler"].get<std::string>(),
                           double(use.peak_rss_bytes) / 1e6, double(use.peak_anon_bytes) / 1e6));
  Json json = {{"conditions", run.conditions}, {"results", table.results()}, {"peers", Json::array()}};
  if (earlier) json["compared"] = earlier->compare(table.results(), output);
  json["memory"] = memory_json(use);
  output.result(json);
  return Exit::good;
}

}  // namespace lathe::cli
