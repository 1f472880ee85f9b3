#include "cli/bench_graph.h"

#include <algorithm>

#include "bench/bench.h"
#include "bench/graph_speed.h"
#include "cli/graph_source.h"
#include "cli/model.h"
#include "op/bindings.h"
#include "runtime/finite_outputs.h"

namespace lathe::cli {
namespace {

constexpr size_t kShownInstructions = 20;

// The types of the inputs with the lengths that --shape gives.
std::map<std::string, op::TypeInfo> input_types(const GraphSource& source, const std::vector<std::string>& shapes) {
  std::map<std::string, op::TypeInfo> types;
  for (const auto& [name, type] : source.inputs()) types.emplace(name, type);
  if (source.entry()) {  // an engine that was built for some lengths is measured at the best of them
    for (const plan::InputProfile& input : source.entry()->profile) {
      types.at(input.name) = {types.at(input.name).dtype, tensor::to_shape(input.opt), std::nullopt};
    }
  }
  for (const std::string& text : shapes) {
    const size_t equals = text.rfind('=');
    const auto it = types.find(text.substr(0, equals));
    if (equals == std::string::npos || it == types.end()) {
      fail(ErrorCode::usage, "--shape {}: expected NAME=1x3x224x224 with the name of an input", text);
    }
    tensor::Shape shape;
    for (size_t at = equals + 1; at <= text.size();) {
      const size_t end = std::min(text.find('x', at), text.size());
      const tensor::Dim length = tensor::Dim::from_text(text.substr(at, end - at));
      if (!length.is_constant()) fail(ErrorCode::usage, "--shape {}: expected NAME=1x3x224x224", text);
      shape.push_back(length);
      at = end + 1;
    }
    it->second.shape = shape;
    it->second.ranked = true;
  }
  return types;
}

void print_profile(runtime::GraphSession& session, const runtime::GraphSession::Data& inputs, const Output& output,
                   Json& json) {
  auto times = session.profile(inputs);
  double total = 0;
  for (const auto& time : times) total += time.ms;
  output.print(fmt::format("\n{:<24} {:<20} {:>6} {:>10} {:>7}", "operator", "kernel", "count", "ms", "share"));
  json["profile"] = Json::array();
  for (const bench::ProfileLine& line : bench::summarise(times)) {
    output.print(fmt::format("{:<24} {:<20} {:>6} {:>10.3f} {:>6.1f}%", line.op, line.kernel, line.count, line.ms,
                             100 * line.ms / total));
    json["profile"].push_back({{"op", line.op}, {"kernel", line.kernel}, {"count", line.count}, {"ms", line.ms}});
  }
  std::stable_sort(times.begin(), times.end(), [](const auto& a, const auto& b) { return a.ms > b.ms; });
  output.print(fmt::format("\n{:<24} {:<20} {:>22} {:>10}  {}", "slowest", "kernel", "shape", "ms", "name"));
  for (size_t i = 0; i < std::min(times.size(), kShownInstructions); ++i) {
    output.print(fmt::format("{:<24} {:<20} {:>22} {:>10.3f}  {}", times[i].op, times[i].kernel, times[i].shape,
                             times[i].ms, times[i].name));
  }
}

}  // namespace

void add_graph_bench_flags(CLI::App& command, GraphBenchFlags& flags) {
  command.add_option("--input", flags.inputs, "of a graph: NAME=FILE, a .npy or .pb file; others are made up");
  command.add_option("--shape", flags.shapes, "of a graph: NAME=1x3x224x224, lengths of an input that is made up");
  command.add_option("--graph", flags.graph, "which graph of an engine that has several");
  command.add_flag("--profile", flags.profile, "of a graph: time by operator and by instruction");
}

Exit bench_graph(const std::filesystem::path& model, const GraphBenchFlags& flags, int repeats,
                 const runtime::GraphOptions& options, const Output& output) {
  const GraphSource source = GraphSource::open(model, flags.graph, false, flags.precision);
  const auto types = input_types(source, flags.shapes);
  runtime::GraphSession session(source.model(), source.session_options(options));
  const double load_ms = output.ms_since_start();
  auto inputs = read_graph_inputs(flags.inputs);
  for (const auto& [name, type] : types) {
    if (!inputs.contains(name) && !op::is_optional(type)) inputs.emplace(name, bench::sample_input(name, type));
  }
  bench::GraphBenchOptions measure;
  measure.repeats = repeats;
  const bench::GraphResult result = bench::run(session, inputs, measure);
  // Made-up inputs may be none that the model is for.
  const bool all_given = flags.inputs.size() == inputs.size();
  if (all_given && !flags.allow_nonfinite && !source.allow_nonfinite()) runtime::require_finite(session.run(inputs));
  const auto [low, high] = std::minmax_element(result.samples.begin(), result.samples.end());
  const MemoryUse memory = memory_use();
  output.print(fmt::format("{:>10} {:>10} {:>10} {:>10} {:>10} {:>8}", "load ms", "first ms", "median ms", "fastest",
                           "slowest", "calls"));
  output.print(fmt::format("{:>10.1f} {:>10.1f} {:>10.3f} {:>10.3f} {:>10.3f} {:>8}", load_ms, result.first_ms,
                           result.median, *low, *high, result.samples.size()));
  output.print(fmt::format("{}; {} threads, {}; peak RSS {:.0f} MB ({:.0f} MB without file pages), arena {:.1f} MB",
                           bench::cpu_name(), session.threads(), to_string(source.precision()),
                           double(memory.peak_rss_bytes) / 1e6,
                           double(memory.peak_anon_bytes) / 1e6, double(session.arena_bytes()) / 1e6));
  Json json = {{"conditions",
                {{"model", model.string()},
                 {"threads", session.threads()},
                 {"precision", std::string(to_string(source.precision()))},
                 {"cpu", bench::cpu_name()},
                 {"repeats", repeats},
                 {"version", LATHE_VERSION}}},
               {"load_ms", load_ms},
               {"first_ms", result.first_ms},
               {"median_ms", result.median},
               {"samples_ms", result.samples},
               {"memory", memory_json(memory)}};
  if (flags.profile) print_profile(session, inputs, output, json);
  output.result(json);
  return Exit::good;
}

}  // namespace lathe::cli
