// lathe verify: is this engine, or this graph, the same model?
#include "verify/verify.h"
#include "base/error.h"
#include "base/fields.h"
#include "base/file.h"
#include "cli/device.h"
#include "cli/engine_cache.h"
#include "cli/graph_source.h"
#include "cli/model.h"
#include "cli/run_graph.h"
#include "cli/verb.h"
#include "cli/verify_graph.h"

namespace lathe::cli {
namespace {

struct Options {
  std::string a;
  std::string b;
  std::string precision;
  std::string text_file;
  std::string device;
  bool write = false;
  verify::VerifyOptions verify;
  GraphVerifyFlags graph;
};

// An engine for whatever MODEL is; its device is opened.
std::filesystem::path engine_path(const std::string& model, Options& options, const Output& output) {
  EngineOptions engine;
  engine.model = model;
  engine.precision = options.precision;
  engine.device = options.device;
  engine.accelerator = options.verify.accelerator;
  const std::filesystem::path path = open_engine(engine, output)->path();
  if (engine.accelerator) options.verify.accelerator = engine.accelerator;
  return path;
}

Exit run_graphs(const Options& options, const Output& output) {
  if (!options.b.empty() && !is_graph_model(options.b)) {
    fail(ErrorCode::usage, "\"{}\" is a graph, \"{}\" is none: they cannot be compared", options.a, options.b);
  }
  if (!options.text_file.empty()) fail(ErrorCode::usage, "--text is not for graphs");
  if (options.verify.max_kl) fail(ErrorCode::usage, "--max-kl is for language models");
  GraphVerifyFlags flags = options.graph;
  flags.precision = options.precision;
  if (options.b.empty() && !is_graph_file(options.a)) {
    return verify_graph_engine(options.a, flags, options.verify.threads, options.verify.isa,
                               options.verify.full, options.write, output);
  }
  if (options.write || options.verify.full) fail(ErrorCode::usage, "--write and --full are for one engine");
  return verify_graphs(options.a, options.b, flags, options.verify.threads, options.verify.isa, output);
}

Exit run(Options& options, Output& output) {
  if (is_graph_model(options.a)) {
    require_cpu(options.device, "graphs");
    return run_graphs(options, output);
  }
  if (options.graph.used()) {
    fail(ErrorCode::usage, "--input, --shape, --seeds, --tolerance and --reference are for graphs");
  }
  if (options.write && !options.b.empty()) {
    fail(ErrorCode::usage, "--write goes with one engine: a comparison with another is no receipt");
  }
  if (options.verify.max_kl && options.b.empty()) fail(ErrorCode::usage, "--max-kl compares A with an original B");
  if (options.verify.max_kl && !(*options.verify.max_kl >= 0)) {
    fail(ErrorCode::usage, "--max-kl {}: expected 0 or more", *options.verify.max_kl);
  }
  if (!options.text_file.empty()) {
    options.verify.text = read_text_file(options.text_file);
    if (options.verify.text.empty()) fail(ErrorCode::invalid_input, "--text {}: the file is empty", options.text_file);
    options.verify.text_name = std::filesystem::path(options.text_file).filename().string();
  }
  options.verify.fp32 = options.precision == "fp32";
  options.verify.progress = output.progress(ProgressUnit::steps);
  options.verify.scratch_folder = cache_folder();
  const std::filesystem::path a = engine_path(options.a, options, output);
  plan::Receipt receipt;
  if (options.b.empty()) {
    if (options.write) verify::check_storable(*plan::EngineFile::open(a), options.verify);
    receipt = verify::verify_engine(a, options.verify);
    if (options.write && !verify::store_receipt(a, receipt)) {
      output.note(fmt::format("\"{}\" keeps the receipt it had: verification failed", a.string()));
    }
  } else {
    receipt = verify::compare_engines(a, engine_path(options.b, options, output), options.verify);
  }
  output.print(verify::describe(receipt));
  output.result(to_json(receipt));
  return receipt.pass ? Exit::good : Exit::failed;
}

std::function<Exit(Output&)> add(CLI::App& command) {
  auto options = std::make_shared<Options>();
  command.add_option("a", options->a, "engine, folder, .gguf or .onnx file")->required();
  command.add_option("b", options->b, "another one to compare with (default: the reference executor of A's graph)");
  command.add_option("--precision", options->precision,
                     "fp32 runs without rounding (default: the engine's own); of an .onnx file: fp32, bf16 or fp16 to "
                     "compile it in; an engine of pictures is verified in its own, int8 as well");
  command.add_option("--text", options->text_file,
                     "file whose first 64 tokens (--full: 512) KL divergence and perplexity are measured on");
  command.add_option("--max-kl", options->verify.max_kl,
                     "A holds the weights of B quantised: the mean KL divergence in nats that A may be from B, instead "
                     "of the band of its precision");
  command.add_option("-t,--threads", options->verify.threads, "default: all CPUs");
  command.add_option("--isa", options->verify.isa, "kernels to use: avx2, avx512, amx (default: the best here)");
  command.add_option("--device", options->device, kDeviceHelp);
  command.add_flag("--full", options->verify.full, "real sizes instead of reduced ones");
  command.add_flag("--write", options->write,
                   "write the receipt into engine A, if it passes and A has no stronger one");
  add_graph_verify_flags(command, options->graph);
  return [options](Output& output) { return run(*options, output); };
}

}  // namespace

const Verb& verify_verb() {
  static const Verb verb{.name = "verify",
                         .description =
                             "prove that an engine or an .onnx graph is the same model, or say where it differs",
                         .example = "lathe verify smollm2.lathe --full",
                         .add = add};
  return verb;
}

}  // namespace lathe::cli
