// lathe build: a checkpoint as a verified engine.
#include <cctype>
#include <chrono>

#include "backend/gpu.h"
#include "base/error.h"
#include "base/fields.h"
#include "cli/build_graph.h"
#include "cli/device.h"
#include "cli/graph_source.h"
#include "cli/model.h"
#include "cli/pass_flags.h"
#include "cli/picture_flags.h"
#include "cli/verb.h"
#include "verify/verify.h"

namespace lathe::cli {
namespace {

struct Options {
  std::string source;
  std::string destination;
  std::string device = "cpu";
  PassFlags passes;
  bool no_verify = false;
  bool timings = false;
  BuildRequest request;
  GraphBuildFlags graph;
  frontend::PictureOptions pictures;
};

void print_reports(const Output& output, const std::vector<opt::PassReport>& reports) {
  for (const opt::PassReport& report : reports) {
    output.note(fmt::format("{:<32} {:>8.2f} ms  {:>5} -> {:<5} nodes{}", report.name, report.ms, report.nodes_before,
                            report.nodes_after, report.changed ? "" : "  (no change)"));
  }
}

Exit run_graph_build(const Options& options, const Output& output) {
  const BuildRequest& request = options.request;
  if (!request.options.kv.empty() || options.timings) {
    fail(ErrorCode::usage, "--kv and --timings are for language models");
  }
  return build_graph_engine({.source = options.source,
                             .pictures = options.pictures,
                             .destination = options.destination,
                             .flags = options.graph,
                             .passes = pass_options(options.passes),
                             .precision = request.options.precision,
                             .threads = request.options.threads,
                             .verify = !options.no_verify,
                             .full_verify = request.full_verify},
                            output);
}

// The GPU here that is of this architecture; null where there is none.
std::shared_ptr<backend::Accelerator> find_gpu(const std::string& arch) {
  for (const backend::Gpu& gpu : backend::look_at_gpus(gpu_places(), false).devices) {
    if (!gpu.usable) continue;
    auto accelerator = open_device(fmt::format("cuda:{}", gpu.index));
    if (accelerator->arch() == arch) return accelerator;
  }
  return nullptr;
}

// What the plan is made for, and what verifies it.
void settle_device(Options& options, const Output& output) {
  BuildRequest& request = options.request;
  compiler::BuildOptions& build = request.options;
  build.device = plan_device(options.device);
  if (build.device == "cpu") {
    if (!build.arch.empty()) fail(ErrorCode::usage, "--arch {}: it goes with --device cuda", build.arch);
    return;
  }
  if (build.arch.empty()) {
    try {
      request.accelerator = open_device(options.device);
    } catch (const Error& error) {
      fail(error.code(), "{}; to build for a GPU that is not here: --arch sm_80, sm_86, sm_89 or sm_90", error.what());
    }
    build.arch = request.accelerator->arch();
    return;
  }
  const bool known = build.arch.size() == 5 && build.arch.starts_with("sm_") && build.arch >= "sm_80" &&
                     std::isdigit(static_cast<unsigned char>(build.arch[4]));
  if (!known) fail(ErrorCode::usage, "--arch {}: expected sm_80, sm_86, sm_89, sm_90 or a later one", build.arch);
  if (!request.verify) return;
  request.accelerator = find_gpu(build.arch);
  request.verify = request.accelerator != nullptr;
  if (!request.verify) {
    output.note(
        fmt::format("no GPU of {} is here, so the engine is not verified; where one is: lathe verify {} "
                    "--write",
                    build.arch, options.destination));
  }
}

Exit run(Options& options, Output& output) {
  if (is_graph_model(options.source) || frontend::PictureCheckpoint::recognises(options.source)) {
    require_cpu(options.device, "graphs and pictures");
    return run_graph_build(options, output);
  }
  if (options.pictures != frontend::PictureOptions{}) {
    fail(ErrorCode::usage,
         "\"{}\" is no picture pipeline: --variant, --vae, --lora, --embedding and the like are for those",
         options.source);
  }
  if (options.graph.used()) {
    fail(ErrorCode::usage,
         "--input, --shape, --seeds, --tolerance, --allow-nonfinite and profiles are for .onnx models");
  }
  const auto start = std::chrono::steady_clock::now();
  BuildRequest& request = options.request;
  request.source = options.source;
  request.destination = options.destination;
  request.verify = !options.no_verify;
  settle_device(options, output);
  request.options.passes = pass_options(options.passes);
  if (options.timings) {
    request.on_reports = [&](const std::vector<opt::PassReport>& reports) { print_reports(output, reports); };
  }
  const plan::Receipt receipt = build_engine(request, output);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const MemoryUse memory = memory_use();
  const uint64_t bytes = std::filesystem::file_size(options.destination);
  if (request.verify) output.print(verify::describe(receipt));
  output.print(fmt::format("built {} in {:.2f} s: {:.1f} MB{}; peak RSS {:.0f} MB ({:.0f} MB without file pages)",
                           options.destination, seconds, double(bytes) / 1e6,
                           request.verify ? ", verified" : ", NOT verified", double(memory.peak_rss_bytes) / 1e6,
                           double(memory.peak_anon_bytes) / 1e6));
  Json json = {{"engine", options.destination}, {"bytes", bytes}, {"seconds", seconds}, {"verified", request.verify}};
  if (request.verify) json["receipt"] = to_json(receipt);
  json["memory"] = memory_json(memory);
  output.result(json);
  return Exit::good;
}

std::function<Exit(Output&)> add(CLI::App& command) {
  auto options = std::make_shared<Options>();
  command
      .add_option("source", options->source,
                  "Hugging Face or diffusers folder, .gguf, .onnx, .safetensors or .ckpt file, or an engine to rebuild")
      ->required();
  command.add_option("-o,--output", options->destination, "the engine to write (.lathe)")->required();
  command.add_option(
      "--precision", options->request.options.precision,
      "fp32, fp16, bf16, int16 or int8 (default: the checkpoint's own); of graphs and pictures fp32 "
      "(default), bf16 (weights, and what they are multiplied with, rounded to bf16) or fp16 (weights "
      "stored in fp16); of pictures also int8 (the UNet in 8 bits where it bears that, steps within 25 dB "
      "of fp32; calibrated on a picture first)");
  command.add_option("--kv", options->request.options.kv, "element type of the cache: fp32, fp16, bf16");
  command.add_option("-t,--threads", options->request.options.threads, "default: all CPUs");
  command.add_option("--device", options->device, "cpu, cuda or cuda:N: what to build a language model for")
      ->capture_default_str();
  command.add_option("--arch", options->request.options.arch,
                     "with --device cuda: sm_80, sm_86, sm_89, sm_90 ..., of a GPU that need not be here (default: "
                     "that of the GPU)");
  command.add_flag("--no-verify", options->no_verify, "write the engine without a receipt");
  command.add_flag("--full", options->request.full_verify, "verify on full-size input");
  add_pass_flags(command, options->passes);
  add_graph_build_flags(command, options->graph);
  add_pipeline_flags(command, options->pictures);
  command.add_flag("--timings", options->timings, "time of each pass");
  return [options](Output& output) { return run(*options, output); };
}

}  // namespace

const Verb& build_verb() {
  static const Verb verb{
      .name = "build",
      .description = "compile a checkpoint, a picture pipeline or an .onnx graph into an engine file and verify it",
      .example =
          "lathe build SmolLM2-135M-Instruct.Q4_1.gguf -o smollm2.lathe\n  "
          "lathe build encoder.onnx -o encoder.lathe --min-shapes batch=1,sequence=1 "
          "--max-shapes batch=8,sequence=512",
      .add = add};
  return verb;
}

}  // namespace lathe::cli
