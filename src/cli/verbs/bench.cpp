// lathe bench: tokens per second and memory of a model on this machine; of an ONNX graph, milliseconds a call.
#include <algorithm>

#include "base/fields.h"
#include "bench/bench.h"
#include "cli/bench_graph.h"
#include "cli/bench_pictures.h"
#include "cli/context.h"
#include "cli/device.h"
#include "cli/graph_source.h"
#include "cli/model.h"
#include "cli/verb.h"
#include "plan/precision.h"
#include "runtime/session_memory.h"

namespace lathe::cli {
namespace {

struct Options {
  EngineOptions engine;
  bench::BenchOptions bench;
  GraphBenchFlags graph;
  PictureBenchFlags pictures;
};

// What the session was to take, and on a GPU what is free since.
Json device_memory_json(const runtime::SessionMemory& booked, const EngineOptions& options) {
  Json json = to_json(booked);
  if (!options.accelerator) return json;
  const uint64_t free = options.accelerator->memory().free;
  json["taken_bytes"] = booked.free - std::min(booked.free, free);
  return json;
}

Exit run(Options& options, Output& output) {
  const bool graph_flags = !options.graph.inputs.empty() || !options.graph.shapes.empty() || options.graph.profile ||
                           !options.graph.graph.empty();
  if (is_picture_model(options.engine.model) && !graph_flags) {
    require_cpu(options.engine.device, "pictures");
    PictureBenchFlags flags = options.pictures;
    flags.precision = options.engine.precision;
    return bench_pictures(options.engine.model, flags, options.bench.repeats,
                          {.threads = options.engine.threads, .isa = options.engine.isa, .limits = {}}, output);
  }
  if (options.pictures != PictureBenchFlags{}) {
    fail(ErrorCode::usage, "--steps, --width, --compare and the like are for picture pipelines");
  }
  if (is_graph_model(options.engine.model)) {
    require_cpu(options.engine.device, "graphs");
    const runtime::GraphOptions graph{.threads = options.engine.threads, .isa = options.engine.isa, .limits = {}};
    GraphBenchFlags flags = options.graph;
    flags.precision = options.engine.precision;
    return bench_graph(options.engine.model, flags, options.bench.repeats, graph, output);
  }
  if (graph_flags) fail(ErrorCode::usage, "--input, --shape, --graph and --profile are for graphs");
  const auto engine = open_engine(options.engine, output);
  runtime::SessionOptions session_options = lathe::cli::session_options(options.engine);
  bench::check(options.bench, engine->manifest().contract.context_length);
  const int64_t needed = bench::cache_tokens_needed(options.bench, kv_block(*engine));
  if (session_options.cache_tokens == 0) session_options.cache_tokens = needed;
  if (session_options.cache_tokens < needed) {
    fail(ErrorCode::usage, "--ctx {}: the tests need {} positions of cache", session_options.cache_tokens, needed);
  }
  for (const int64_t sequences : options.bench.sequences) {
    session_options.max_sequences = std::max(session_options.max_sequences, sequences);
  }
  const runtime::SessionMemory booked = runtime::session_memory(*engine, session_options);
  runtime::Session session(engine, session_options);
  output.print(fmt::format("{:<8} {:>7} {:>9} {:>7} {:>9} {:>12} {:>12} {:>12}", "test", "prompt", "generate", "depth",
                           "sequences", "median t/s", "slowest", "fastest"));
  const auto results = bench::run(session, options.bench, [&](const bench::Result& result) {
    const auto [low, high] = std::minmax_element(result.samples.begin(), result.samples.end());
    output.print(fmt::format("{:<8} {:>7} {:>9} {:>7} {:>9} {:>12.1f} {:>12.1f} {:>12.1f}", result.test, result.prompt,
                             result.generate, result.depth, result.sequences, result.median, *low, *high));
  });
  const MemoryUse memory = memory_use();
  const std::string kv(
      plan::precision_of(session_options.kv.empty() ? engine->manifest().plan.kv : session_options.kv));
  output.print(fmt::format("{}; {} threads, {}, {}, cache {}{}; peak RSS {:.0f} MB ({:.0f} MB without file pages)",
                           bench::cpu_name(), session.threads(), session.isa(), precision_name(options.engine, *engine),
                           kv, session_options.deterministic ? ", deterministic" : "",
                           double(memory.peak_rss_bytes) / 1e6, double(memory.peak_anon_bytes) / 1e6));
  Json json_results = Json::array();
  for (const bench::Result& result : results) json_results.push_back(to_json(result));
  output.result({{"conditions",
                  {{"model", options.engine.model},
                   {"engine", engine->path().string()},
                   {"threads", session.threads()},
                   {"isa", session.isa()},
                   {"precision", precision_name(options.engine, *engine)},
                   {"kv", kv},
                   {"deterministic", session_options.deterministic},
                   {"device", options.engine.device},
                   {"gpu", options.engine.accelerator ? options.engine.accelerator->description() : ""},
                   {"cpu", bench::cpu_name()},
                   {"repeats", options.bench.repeats},
                   {"version", LATHE_VERSION}}},
                 {"results", json_results},
                 {"peers", Json::array()},
                 {"memory", memory_json(memory)},
                 {"session_memory", device_memory_json(booked, options.engine)}});
  return Exit::good;
}

std::function<Exit(Output&)> add(CLI::App& command) {
  auto options = std::make_shared<Options>();
  add_engine_options(command, options->engine);
  command.add_option("--prompt", options->bench.prompts, "tokens of a prefill; 0 leaves it out")
      ->delimiter(',')
      ->capture_default_str();
  command.add_option("--generate", options->bench.generates, "tokens to decode; 0 leaves it out")
      ->delimiter(',')
      ->capture_default_str();
  command.add_option("--depth", options->bench.depths, "positions in the cache before")
      ->delimiter(',')
      ->capture_default_str();
  command.add_option("--sequences", options->bench.sequences, "decoded together")
      ->delimiter(',')
      ->capture_default_str();
  command.add_option("--repeat", options->bench.repeats, "runs of each test")->capture_default_str();
  add_graph_bench_flags(command, options->graph);
  add_picture_bench_flags(command, options->pictures);
  command.add_flag("--allow-nonfinite", options->graph.allow_nonfinite,
                   "NaN and infinity in a graph's outputs are meant");
  return [options](Output& output) { return run(*options, output); };
}

}  // namespace

const Verb& bench_verb() {
  static const Verb verb{.name = "bench",
                         .description = "tokens per second and memory; of graphs and picture pipelines, milliseconds",
                         .example =
                             "lathe bench smollm2.lathe --prompt 512 --generate 128 --depth 0,4096 --repeat 9\n  "
                             "lathe bench models/shapes --steps 20 --repeat 5",
                         .add = add};
  return verb;
}

}  // namespace lathe::cli
