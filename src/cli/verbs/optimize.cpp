// lathe optimize: ONNX to ONNX, fewer operations, same results.
#include <algorithm>

#include "base/fields.h"
#include "cli/calibration_samples.h"
#include "cli/graph_lengths.h"
#include "cli/model.h"
#include "cli/optimize_report.h"
#include "cli/pass_flags.h"
#include "cli/verb.h"
#include "frontend/lowering.h"
#include "frontend/onnx_export.h"
#include "frontend/onnx_import.h"
#include "io/onnx_write.h"
#include "opt/contrib.h"
#include "opt/extract.h"
#include "opt/fix_lengths.h"
#include "opt/pipeline.h"
#include "opt/rule.h"

namespace lathe::cli {
namespace {

struct Options {
  std::string source;
  std::string destination;
  int level = 1;
  bool report = false;
  bool contrib = false;
  int opset = 0;
  std::vector<std::string> extract_inputs;
  std::vector<std::string> extract_outputs;
  std::vector<std::string> statics;  // NAME=1x3x224x224, SYMBOL=8
  std::string precision;             // of -O4; empty: fp16
  std::string calibration;           // a folder; empty: made-up inputs
  size_t samples = 0;                // 0: all of the folder, or one that is made up
  std::vector<std::string> keep;
  int threads = 0;
  PassFlags passes;
};

void check(const Options& options) {
  if (options.level < 0 || options.level > 4) fail(ErrorCode::usage, "-O{}: expected -O0 to -O4", options.level);
  if (!options.precision.empty() && options.precision != "fp16" && options.precision != "bf16") {
    fail(ErrorCode::usage, "--precision {}: expected fp16 or bf16", options.precision);
  }
  const auto belongs = [&](int level, bool given, std::string_view flag) {
    if (!given || options.level >= level) return;
    fail(ErrorCode::usage, "{} goes with -O{}{}", flag, level, level < 4 ? " and higher" : "");
  };
  belongs(4, !options.precision.empty(), "--precision");
  belongs(4, !options.keep.empty(), "--keep");
  belongs(3, !options.calibration.empty(), "--calibration");
  belongs(3, options.samples > 0, "--samples");
  belongs(3, options.threads > 0, "--threads");
  if (options.level == 4 && options.contrib) {
    fail(ErrorCode::usage, "--contrib goes with -O0 to -O3: its operators compute in f32 on CPUs");
  }
}

std::string names_of(const ir::Graph& graph, std::span<const ir::Value> values) {
  std::vector<std::string> names;
  for (const ir::Value value : values) {
    names.push_back(fmt::format("{} {}", graph.name(value), op::to_string(graph.type(value))));
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

// The part that is asked for, with the lengths that are.
void cut_and_fix(ir::Graph& graph, const Options& options, const Output& output) {
  const opt::Lengths lengths = read_lengths("--static", options.statics);
  if (!options.extract_inputs.empty() || !options.extract_outputs.empty()) {
    graph = opt::extract(graph, options.extract_inputs, options.extract_outputs);
    output.note(fmt::format("extracted {} nodes: from {} to {}", graph.nodes().size(), names_of(graph, graph.inputs()),
                            names_of(graph, graph.outputs())));
  }
  opt::fix_lengths(graph, lengths);
}

int source_opset(const io::OnnxFile& file) {
  int opset = frontend::OnnxExportOptions{}.opset;
  for (const io::OnnxOpset& of : file.model().opsets) {
    if (of.domain.empty() || of.domain == "ai.onnx") opset = int(of.version);
  }
  return opset;
}

std::map<std::string, tensor::Tensor> tensors_of(const calibrate::GraphData& inputs) {
  std::map<std::string, tensor::Tensor> tensors;
  for (const auto& [name, datum] : inputs) {
    if (datum.is_tensor()) tensors.emplace(name, datum.tensor());
  }
  return tensors;
}

class Optimisation {
 public:
  Optimisation(const Options& options, const Output& output) : options_(options), output_(output) {
    check(options);
    file_ = io::OnnxFile::open(options.source);
    graph_ = frontend::import_onnx(file_);
    cut_and_fix(graph_, options, output);
    opset_ = options.opset != 0
                 ? options.opset
                 : std::clamp(source_opset(*file_), frontend::kOldestExportOpset, frontend::kNewestExportOpset);
    if (options.opset == 0 && opset_ != source_opset(*file_)) {
      output.note(fmt::format("opset {} becomes {}", source_opset(*file_), opset_));
    }
    run_.threads = options.threads;
  }

  Exit run() {
    const ir::Graph source = graph_;
    opt::PassOptions passes = pass_options(options_.passes);
    passes.level = opt::Level(options_.level);
    auto reports = opt::optimise(graph_, passes);
    ir::Graph written = options_.contrib ? with_contrib(passes, reports) : frontend::lower_to_opset(graph_, opset_);
    if (options_.level > 0) tidy(written, passes);
    Json json = {{"nodes_before", source.nodes().size()}, {"passes", passes_as_json(reports)}};
    if (options_.report) print_passes(reports, output_);
    if (options_.level == 3) measure_approximations(source, reports, json);
    if (options_.level == 4) round(source, written, json);
    frontend::OnnxExportOptions onnx;
    onnx.opset = opset_;
    onnx.declared = frontend::declared_types(file_->model());
    const io::OnnxModel model = frontend::to_onnx(written, onnx);
    io::OnnxWriteOptions write;
    write.progress = output_.progress();
    io::write_onnx(options_.destination, model, write);
    if (options_.report) report_work(source, written, json);

    const size_t before = source.nodes().size(), after = graph_.nodes().size(), nodes = model.graph.nodes.size();
    const std::string as_written = fmt::format(", which opset {} writes with {}", opset_, nodes);
    output_.print(fmt::format("{} nodes became {}{}", before, after, nodes == after ? "" : as_written));
    json["nodes_after"] = nodes;
    output_.result(json);
    return Exit::good;
  }

 private:
  // What expansions wrote once for each node, and what they compute of lengths that are known.
  void tidy(ir::Graph& written, opt::PassOptions passes) const {
    passes.level = opt::Level::o1;
    passes.dump = {};
    opt::optimise(written, passes);
  }

  calibrate::Samples find_samples(const ir::Graph& graph) const {
    if (!options_.calibration.empty()) return read_samples(options_.calibration, options_.samples, graph);
    output_.note("no --calibration: what it costs is measured on made-up inputs");
    return made_up_samples(options_.samples > 0 ? options_.samples : 1, graph);
  }

  ir::Graph with_contrib(const opt::PassOptions& passes, std::vector<opt::PassReport>& reports) const {
    ir::Graph graph = graph_;
    opt::use_contrib(graph, opset_, passes, reports);
    graph = frontend::lower_to_opset(graph, opset_);
    opt::use_contrib(graph, opset_, passes, reports);  // in what lowering wrote
    return graph;
  }

  // -O3: the outputs beside those without its approximations.
  void measure_approximations(const ir::Graph& source, const std::vector<opt::PassReport>& reports, Json& json) const {
    const bool any = std::any_of(reports.begin(), reports.end(), [](const opt::PassReport& report) {
      return std::any_of(report.rewrites.begin(), report.rewrites.end(),
                         [](const auto& rule) { return opt::find_rule(rule.first)->level == opt::Level::o3; });
    });
    if (!any) return output_.note("-O3 found nothing to approximate");
    const auto progress = output_.progress(ProgressUnit::steps);
    const auto outputs = calibrate::cost_of_outputs(source, graph_, find_samples(source), run_, progress);
    output_.end_progress();
    print_outputs("against the source", outputs, output_);
    json["outputs"] = outputs_as_json(outputs);
  }

  // -O4: `written`, lowered, in 16 bits where samples allow it.
  void round(const ir::Graph& source, ir::Graph& written, Json& json) const {
    opt::SixteenBitOptions wish{.type = options_.precision == "bf16" ? tensor::DType::bf16 : tensor::DType::f16,
                                .opset = opset_};
    for (const std::string& name : options_.keep) wish.keep[name] = "asked for";
    const auto progress = output_.progress(ProgressUnit::steps);
    const calibrate::Samples samples = find_samples(source);
    const auto cost = calibrate::find_sixteen_bits(written, wish, calibrate::sixteen_bit_bounds(wish.type), samples,
                                                   run_, progress);
    ir::Graph rounded = written;
    opt::round_to_sixteen_bits(rounded, cost.options);
    const auto outputs = calibrate::cost_of_outputs(source, rounded, samples, run_, progress);
    output_.end_progress();
    opt::to_sixteen_bits(written, cost.options);
    print_sixteen_bits(cost, output_);
    print_outputs("against the same graph in f32", cost.outputs, output_);
    print_outputs("against the source, approximations of -O3 included", outputs, output_);
    json["precision"] = sixteen_bits_as_json(cost);
    json["rounding"] = outputs_as_json(cost.outputs);
    json["outputs"] = outputs_as_json(outputs);
  }

  void report_work(const ir::Graph& source, const ir::Graph& written, Json& json) const {
    const std::map<std::string, tensor::Tensor> inputs = tensors_of(samples_quietly(source).load(0));
    opt::Lengths lengths;
    for (const auto& [name, tensor] : inputs) lengths.emplace(name, tensor.dims());
    const GraphWork before = work_of(source, lengths), after = work_of(written, lengths);
    print_work(before, after, ir::bind_symbols(source, inputs), output_);
    json["work"] = {{"before", work_as_json(before)}, {"after", work_as_json(after)}};
  }

  calibrate::Samples samples_quietly(const ir::Graph& graph) const {
    return options_.calibration.empty() ? made_up_samples(1, graph) : read_samples(options_.calibration, 1, graph);
  }

  const Options& options_;
  const Output& output_;
  std::shared_ptr<const io::OnnxFile> file_;
  ir::Graph graph_;
  int opset_ = 0;
  runtime::GraphOptions run_;
};

std::function<Exit(Output&)> add(CLI::App& command) {
  auto options = std::make_shared<Options>();
  command.add_option("source", options->source, "an .onnx file")->required();
  command.add_option("destination", options->destination, "the .onnx file to write")->required();
  command
      .add_option("-O", options->level,
                  "-O0: nothing but what else is asked for; -O1: same operations, fewer of them; -O2: norms, "
                  "activations, rotary embedding and attention fused; -O3: Gelu by its tanh approximation, too; -O4: "
                  "and weights, values and operations in 16 bits, but for nodes that samples show not to bear it. -O3 "
                  "and -O4 say what that costs")
      ->capture_default_str();
  command.add_flag("--report", options->report,
                   "nodes before and after each pass, which rule fired how often and at which nodes, where one nearly "
                   "did and why not, and predicted cost before and after");
  command.add_option("--precision", options->precision,
                     "of -O4: fp16 (default) or bf16; inputs and outputs keep their types");
  command.add_option(
      "--calibration", options->calibration,
      "inputs on which -O3 and -O4 measure: a folder with a folder for each sample, each with NAME.npy (or "
      ".pb) for each input (default: made-up inputs)");
  command.add_option("--samples", options->samples, "so many of them");
  command.add_option("--keep", options->keep, "nodes that -O4 leaves in f32, by their name or that of their result")
      ->delimiter(',');
  command.add_option("-t,--threads", options->threads,
                     "threads to measure on (default: as many as the process may use)");
  command.add_option("--opset", options->opset, "opset to write (default: the source's)");
  command.add_flag("--contrib", options->contrib,
                   "also write operators of com.microsoft that ONNX Runtime has kernels for on CPUs, where ONNX wants "
                   "several (with -O2: attention, norms of sums, activations with their bias, convolutions with what "
                   "follows); other programs may refuse such a file");
  command.add_option("--extract-inputs", options->extract_inputs,
                     "write the part that begins at these values, separated by commas (default: the graph's inputs)")
      ->delimiter(',');
  command.add_option("--extract-outputs", options->extract_outputs,
                     "write the part that ends at these values (default: the graph's outputs)")
      ->delimiter(',');
  command.add_option("--static", options->statics,
                     "fixed lengths: NAME=1x3x224x224 of an input, batch=1,sequence=128 of symbols");
  add_pass_flags(command, options->passes);
  return [options](Output& output) { return Optimisation(*options, output).run(); };
}

}  // namespace

const Verb& optimize_verb() {
  static const Verb verb{.name = "optimize",
                         .description = "ONNX to ONNX: fewer operations, same results",
                         .example = "lathe optimize model.onnx smaller.onnx -O1 --report",
                         .add = add};
  return verb;
}

}  // namespace lathe::cli
