// lathe export: a checkpoint as an ONNX model that other tools load.
#include <chrono>

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "cli/export_pictures.h"
#include "cli/model.h"
#include "cli/picture_flags.h"
#include "cli/verb.h"
#include "frontend/lowering.h"
#include "frontend/onnx_export.h"
#include "io/onnx_write.h"

namespace lathe::cli {
namespace {

struct Options {
  std::string source;
  std::string destination;
  std::string precision;
  std::string statics;
  frontend::OnnxExportOptions onnx;
  bool overwrite = false;
  frontend::PictureOptions pictures;
};

// "batch=1,sequence=128"
std::map<std::string, int64_t> parse_statics(const std::string& text) {
  std::map<std::string, int64_t> result;
  for (const std::string& pair : CLI::detail::split(text, ',')) {
    if (pair.empty()) continue;
    const size_t equals = pair.find('=');
    int64_t size = 0;
    if (equals == std::string::npos || !CLI::detail::lexical_cast(pair.substr(equals + 1), size)) {
      fail(ErrorCode::usage, "--static: expected NAME=NUMBER, found \"{}\"", pair);
    }
    result[pair.substr(0, equals)] = size;
  }
  return result;
}

// Files that make the folder loadable by name; the model's own config says which class it is.
void write_assets(const std::filesystem::path& folder, const ir::Model& model) {
  for (const auto& [name, asset] : model.assets) write_text_file(folder / name, asset.bytes);
}

void note_quantized(const Output& output, const frontend::QuantizedReport& report, bool keep) {
  if (report.kept > 0) output.note(fmt::format("{} tensors keep their quantisation", report.kept));
  for (const auto& [encoding, count] : report.widened) {
    output.note(fmt::format("{} {} tensors are written as floats{}", count, encoding,
                            keep ? ": no lossless blocked form in ONNX" : ""));
  }
}

Exit run_pictures(const Options& options, const Output& output) {
  if (!options.statics.empty()) fail(ErrorCode::unsupported, "--static is for language models");
  if (options.onnx.keep_quantized) fail(ErrorCode::unsupported, "--keep-quantized is for GGUF files");
  frontend::PictureOptions pictures = options.pictures;
  pictures.safety_checker = false;  // Optimum's layout has none
  const auto checkpoint = frontend::PictureCheckpoint::open(options.source, pictures);
  for (const std::string& note : checkpoint.notes()) output.note(note);
  if (checkpoint.is_onnx()) fail(ErrorCode::unsupported, "\"{}\" is ONNX already", options.source);
  return export_pictures(checkpoint,
                         {.destination = options.destination,
                          .precision = options.precision,
                          .onnx = options.onnx,
                          .overwrite = options.overwrite},
                         output);
}

Exit run(const Options& options, Output& output) {
  const auto start = std::chrono::steady_clock::now();
  if (frontend::PictureCheckpoint::recognises(options.source)) return run_pictures(options, output);
  if (options.pictures != frontend::PictureOptions{}) {
    fail(ErrorCode::usage,
         "\"{}\" is no picture pipeline: --variant, --vae, --lora, --embedding and the like are for those",
         options.source);
  }
  const frontend::Checkpoint checkpoint = frontend::Checkpoint::open(options.source);
  note_tokenizer(checkpoint, output);
  if (checkpoint.is_onnx()) {
    fail(ErrorCode::unsupported, "\"{}\" is ONNX already; lathe optimize changes its level and opset", options.source);
  }
  const ir::Model model = frontend::build_decoder(checkpoint, export_dtype(checkpoint, options.precision));
  frontend::QuantizedReport quantized;
  const io::OnnxModel onnx = frontend::export_decoder(model, options.onnx, parse_statics(options.statics), &quantized);
  note_quantized(output, quantized, options.onnx.keep_quantized);

  const std::filesystem::path destination = options.destination;
  const bool as_file = destination.extension() == ".onnx";
  io::OnnxWriteOptions write;
  write.progress = output.progress();
  const std::filesystem::path file = as_file ? destination : destination / "model.onnx";
  const uint64_t predicted = io::predict_onnx_size(file, onnx, write).total_bytes();
  const uint64_t free = available_disk_bytes(destination);
  output.note(fmt::format("will write {:.1f} MB to \"{}\" ({:.1f} MB free)", double(predicted) / 1e6,
                          destination.string(), double(free) / 1e6));
  if (predicted > free) {
    fail(ErrorCode::resource, "\"{}\" needs {} bytes of disk, {} are free", destination.string(), predicted, free);
  }
  if (as_file) {
    io::write_onnx(destination, onnx, write);
  } else {
    AtomicFolder folder(destination, options.overwrite);
    io::write_onnx(folder.path() / "model.onnx", onnx, write);
    write_assets(folder.path(), model);
    folder.commit();
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const MemoryUse memory = memory_use();
  output.print(fmt::format("wrote {} in {:.2f} s: opset {}, {} nodes, {:.1f} MB; peak RSS {:.0f} MB",
                           options.destination, seconds, options.onnx.opset, onnx.graph.nodes.size(),
                           double(predicted) / 1e6, double(memory.peak_rss_bytes) / 1e6));
  output.result({{"destination", options.destination},
                 {"opset", options.onnx.opset},
                 {"nodes", onnx.graph.nodes.size()},
                 {"bytes", predicted},
                 {"kept_quantized", quantized.kept},
                 {"seconds", seconds},
                 {"memory", memory_json(memory)}});
  return Exit::good;
}

std::function<Exit(Output&)> add(CLI::App& command) {
  auto options = std::make_shared<Options>();
  command.add_option("source", options->source, "Hugging Face or diffusers folder, .gguf, .safetensors or .ckpt file")
      ->required();
  command.add_option("destination", options->destination, "folder, or a file ending in .onnx")->required();
  command.add_option("--opset", options->onnx.opset, "13 to 24")->capture_default_str();
  command.add_option("--precision", options->precision, "fp32, fp16 or bf16 (default: the checkpoint's own)");
  command.add_option("--static", options->statics, "fixed sizes: batch=1,sequence=128,past=0");
  command.add_flag("--keep-quantized", options->onnx.keep_quantized,
                   "write 4-bit and 8-bit GGUF weights without loss (opset 21 or higher)");
  add_pipeline_flags(command, options->pictures);
  command.add_flag("--overwrite", options->overwrite, "replace an existing folder");
  return [options](Output& output) { return run(*options, output); };
}

}  // namespace

const Verb& export_onnx_verb() {
  static const Verb verb{.name = "export",
                         .description = "write a checkpoint as an ONNX model that ONNX Runtime and Optimum load",
                         .example = "lathe export SmolLM2-135M-Instruct out-onnx --opset 18",
                         .add = add};
  return verb;
}

}  // namespace lathe::cli
