// lathe quantize: ONNX to ONNX of 8 bits, from samples, with what it cost.
#include <algorithm>
#include <filesystem>

#include "base/fields.h"
#include "calibrate/cost.h"
#include "calibrate/ranges.h"
#include "cli/calibration_samples.h"
#include "cli/text_io.h"
#include "cli/verb.h"
#include "frontend/lowering.h"
#include "frontend/onnx_export.h"
#include "frontend/onnx_import.h"
#include "io/onnx_write.h"
#include "opt/quantize.h"

namespace lathe::cli {
namespace {

namespace fs = std::filesystem;

constexpr int kOldestOpset = 13;  // QuantizeLinear for each feature
constexpr size_t kShown = 8;      // nodes that cost most; --json has all

struct Options {
  std::string source;
  std::string destination;
  std::string calibration;
  size_t samples = 0;  // 0: all
  std::string method = "mse";
  double percentile = 99.99;
  double keep_below = 12;
  std::vector<std::string> keep;
  int opset = 0;
  int threads = 0;
};

struct Result {
  ir::Graph graph;
  std::vector<opt::QuantizedPlace> places;
  std::vector<calibrate::NodeCost> nodes;  // of those that are rounded, in order
};

class Quantization {
 public:
  Quantization(const Options& options, const Output& output)
      : options_(options), output_(output), file_(io::OnnxFile::open(options.source)) {
    if (options.percentile <= 50 || options.percentile > 100) {
      fail(ErrorCode::usage, "--percentile {}: expected more than 50 and at most 100", options.percentile);
    }
    floats_ = frontend::import_onnx(file_);
    opt::prepare_quantization(floats_);
    for (const std::string& name : options.keep) quantize_.keep[name] = "asked for";
    run_.threads = options.threads;
  }

  Exit run() {
    samples_ = read_samples(options_.calibration, options_.samples, floats_);
    fed_ = opt::activations_to_quantize(floats_, quantize_);
    if (fed_.empty()) {
      fail(ErrorCode::unsupported, "{}: nothing to quantise: no Conv, Gemm or MatMul of f32 with constant weights",
           options_.source);
    }
    const calibrate::RangeOptions ranges{.method = calibrate::range_method(options_.method),
                                         .share = options_.percentile / 100,
                                         .run = run_,
                                         .progress = output_.progress(ProgressUnit::steps)};
    ranges_ = calibrate::measure_ranges(floats_, fed_, samples_, ranges);
    Result result = rounded();
    const size_t poor = keep_poor(result);
    if (poor > 0) result = rounded();
    const auto outputs =
        calibrate::cost_of_outputs(floats_, result.graph, samples_, run_, output_.progress(ProgressUnit::steps));
    output_.end_progress();
    const int opset = write(result.graph);
    report(result, outputs, opset);
    return Exit::good;
  }

 private:
  Result rounded() const {
    Result result{floats_, {}, {}};
    result.places = opt::quantize(result.graph, ranges_, quantize_);
    std::vector<std::string> values;
    for (const opt::QuantizedPlace& place : result.places) {
      if (place.kept.empty()) values.push_back(place.value);
    }
    if (values.empty()) fail(ErrorCode::unsupported, "nothing is left to quantise");
    result.nodes = calibrate::cost_of_nodes(floats_, result.graph, values, fed_, samples_, run_,
                                            output_.progress(ProgressUnit::steps));
    return result;
  }

  size_t keep_poor(const Result& result) {
    size_t poor = 0;
    for (const calibrate::NodeCost& node : result.nodes) {
      if (node.noise.db() >= options_.keep_below) continue;
      quantize_.keep[node.value] = fmt::format("{:.1f} dB, below {}", node.noise.db(), options_.keep_below);
      ++poor;
    }
    return poor;
  }

  int write(const ir::Graph& graph) const {
    frontend::OnnxExportOptions onnx;
    for (const io::OnnxOpset& opset : file_->model().opsets) {
      if (opset.domain.empty() || opset.domain == "ai.onnx") onnx.opset = int(opset.version);
    }
    onnx.opset = std::clamp(onnx.opset, kOldestOpset, frontend::kNewestExportOpset);
    if (options_.opset != 0) onnx.opset = options_.opset;
    onnx.declared = frontend::declared_types(file_->model());
    io::OnnxWriteOptions write;
    write.progress = output_.progress();
    io::write_onnx(options_.destination, frontend::to_onnx(frontend::lower_to_opset(graph, onnx.opset), onnx), write);
    return onnx.opset;
  }

  void report(const Result& result, const std::vector<calibrate::OutputCost>& outputs, int opset) const {
    std::vector<calibrate::NodeCost> worst = result.nodes;
    std::stable_sort(worst.begin(), worst.end(),
                     [](const auto& a, const auto& b) { return a.noise.db() < b.noise.db(); });
    const size_t kept = result.places.size() - result.nodes.size();
    output_.print(fmt::format("{} of {} products in 8 bits; {} sample{}, ranges by {}; opset {}", result.nodes.size(),
                              result.places.size(), samples_.count, samples_.count == 1 ? "" : "s", options_.method,
                              opset));
    for (const opt::QuantizedPlace& place : result.places) {
      if (!place.kept.empty())
        output_.print(fmt::format("  in floats: {} \"{}\": {}", place.op, place.node, place.kept));
    }
    output_.print("signal to noise of single nodes, from right inputs; the worst:");
    for (size_t i = 0; i < std::min(kShown, worst.size()); ++i) {
      output_.print(fmt::format("  {:>6.1f} dB  {}", worst[i].noise.db(), worst[i].value));
    }
    output_.print("outputs:");
    for (const calibrate::OutputCost& cost : outputs) {
      if (cost.same_elements) {
        output_.print(
            fmt::format("  {:>6.1f} %   {}: elements that are the same", 100 * *cost.same_elements, cost.name));
        continue;
      }
      const double share = cost.noise.worst / std::max(cost.noise.largest, 1e-30);
      std::string line =
          fmt::format("  {:>6.1f} dB  {}: largest error {:.3g} of the largest", cost.noise.db(), cost.name, share);
      if (cost.same_largest) line += fmt::format(", same largest element in {:.1f} %", 100 * *cost.same_largest);
      output_.print(line);
    }
    const auto size = [](const std::string& path) {  // with what it keeps beside it
      double bytes = double(fs::file_size(path));
      for (const char* beside : {"_data", ".data"}) {
        if (fs::exists(path + beside)) bytes += double(fs::file_size(path + beside));
      }
      return bytes;
    };
    output_.print(fmt::format("{}: {:.1f} MB, {:.2f} of the source's", options_.destination,
                              size(options_.destination) / 1e6, size(options_.destination) / size(options_.source)));
    output_.result(as_json(result, outputs, kept, opset));
  }

  Json as_json(const Result& result, const std::vector<calibrate::OutputCost>& outputs, size_t kept, int opset) const {
    Json json = {{"quantized", result.nodes.size()},
                 {"kept", kept},
                 {"samples", samples_.count},
                 {"method", options_.method},
                 {"opset", opset},
                 {"nodes", Json::array()},
                 {"outputs", Json::array()},
                 {"ranges", Json::object()}};
    size_t next = 0;
    for (const opt::QuantizedPlace& place : result.places) {
      Json node = {{"node", place.node}, {"op", place.op}, {"value", place.value}};
      if (place.kept.empty())
        node["db"] = result.nodes[next++].noise.db();
      else
        node["kept"] = place.kept;
      json["nodes"].push_back(std::move(node));
    }
    for (const calibrate::OutputCost& cost : outputs) {
      if (cost.same_elements) {
        json["outputs"].push_back({{"name", cost.name}, {"same_elements", *cost.same_elements}});
        continue;
      }
      Json entry = {
          {"name", cost.name}, {"db", cost.noise.db()}, {"max_abs", cost.noise.worst}, {"largest", cost.noise.largest}};
      if (cost.same_largest) entry["same_largest"] = *cost.same_largest;
      json["outputs"].push_back(std::move(entry));
    }
    for (const auto& [name, range] : ranges_) json["ranges"][name] = {range.low, range.high};
    return json;
  }

  const Options& options_;
  const Output& output_;
  std::shared_ptr<const io::OnnxFile> file_;
  ir::Graph floats_;
  opt::QuantizeOptions quantize_;
  runtime::GraphOptions run_;
  calibrate::Samples samples_;
  std::vector<std::string> fed_;
  opt::Ranges ranges_;
};

std::function<Exit(Output&)> add(CLI::App& command) {
  auto options = std::make_shared<Options>();
  command.add_option("source", options->source, "an .onnx file of floats")->required();
  command.add_option("destination", options->destination, "the .onnx file to write")->required();
  command
      .add_option("--calibration", options->calibration,
                  "inputs that the model will see: a folder with a folder for each sample, each with NAME.npy (or .pb) "
                  "for each input; what `lathe run --output-dir` writes fits")
      ->required();
  command.add_option("--samples", options->samples, "read only so many of them");
  command
      .add_option("--method", options->method,
                  "how ranges are found: minmax, percentile, or mse (least mean square error)")
      ->capture_default_str();
  command.add_option("--percentile", options->percentile, "of the elements, for that method")->capture_default_str();
  command.add_option("--keep", options->keep, "nodes that stay in floats, by their name or that of their result")
      ->delimiter(',');
  command
      .add_option("--keep-below", options->keep_below,
                  "nodes whose own signal to noise is below so many dB stay in floats")
      ->capture_default_str();
  command.add_option("--opset", options->opset, "opset to write (default: the source's, at least 13)");
  command.add_option("-t,--threads", options->threads, "threads (default: as many as the process may use)");
  return [options](Output& output) { return Quantization(*options, output).run(); };
}

}  // namespace

const Verb& quantize_verb() {
  static const Verb verb{.name = "quantize",
                         .description = "ONNX of floats to ONNX of 8 bits (QDQ), from samples, with what it cost",
                         .example = "lathe quantize model.onnx model.int8.onnx --calibration samples/",
                         .add = add};
  return verb;
}

}  // namespace lathe::cli
