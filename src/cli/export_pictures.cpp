#include "cli/export_pictures.h"

#include <chrono>

#include "base/file.h"
#include "base/memory.h"
#include "cli/model.h"
#include "frontend/lowering.h"
#include "io/onnx_write.h"

namespace lathe::cli {
namespace {

namespace fs = std::filesystem;

tensor::DType dtype_of_wish(const std::string& precision) {
  if (precision.empty() || precision == "fp32") return tensor::DType::f32;
  if (precision == "fp16") return tensor::DType::f16;
  if (precision == "bf16") return tensor::DType::bf16;
  fail(ErrorCode::usage, "--precision {}: expected fp32, fp16 or bf16", precision);
}

const std::string& config_of(const frontend::PictureCheckpoint& checkpoint, const std::string& graph) {
  return checkpoint.assets().at((graph.starts_with("vae_") ? "vae" : graph) + "/config.json");
}

void write_file(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  write_text_file(path, text);
}

void write_assets(const frontend::PictureCheckpoint& checkpoint, const fs::path& folder) {
  for (const auto& [name, text] : checkpoint.assets()) {
    if (name.starts_with("tokenizer") || name.starts_with("scheduler/")) write_file(folder / name, text);
  }
  write_file(folder / "model_index.json", checkpoint.assets().at("model_index.json"));
}

}  // namespace

Exit export_pictures(const frontend::PictureCheckpoint& checkpoint, const PictureExport& request,
                     const Output& output) {
  const auto start = std::chrono::steady_clock::now();
  if (request.destination.extension() == ".onnx") {
    fail(ErrorCode::usage, "\"{}\": a picture pipeline becomes a folder, not one .onnx file",
         request.destination.string());
  }
  const frontend::ComponentOptions options{.dtype = dtype_of_wish(request.precision)};
  const uint64_t free = available_disk_bytes(request.destination);
  AtomicFolder folder(request.destination, request.overwrite);
  io::OnnxWriteOptions write;
  write.progress = output.progress();
  Json graphs = Json::array();
  uint64_t total = 0;
  for (const std::string& name : checkpoint.graph_names()) {
    const ir::Graph graph = checkpoint.build(name, options);
    const io::OnnxModel onnx = frontend::to_onnx(frontend::lower_to_opset(graph, request.onnx.opset), request.onnx);
    const fs::path file = folder.path() / name / "model.onnx";
    const uint64_t bytes = io::predict_onnx_size(file, onnx, write).total_bytes();
    total += bytes;
    if (total > free) {
      fail(ErrorCode::resource, "\"{}\" needs more than {} bytes of disk, {} are free", request.destination.string(),
           total, free);
    }
    fs::create_directories(file.parent_path());
    io::write_onnx(file, onnx, write);
    write_file(folder.path() / name / "config.json", config_of(checkpoint, name));
    output.print(fmt::format("{}: {} nodes, {:.1f} MB", name, onnx.graph.nodes.size(), double(bytes) / 1e6));
    graphs.push_back({{"name", name}, {"nodes", onnx.graph.nodes.size()}, {"bytes", bytes}});
  }
  write_assets(checkpoint, folder.path());
  folder.commit();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const MemoryUse memory = memory_use();
  output.print(fmt::format("wrote {} in {:.2f} s: opset {}, {:.1f} MB; peak RSS {:.0f} MB",
                           request.destination.string(), seconds, request.onnx.opset, double(total) / 1e6,
                           double(memory.peak_rss_bytes) / 1e6));
  output.result({{"destination", request.destination.string()},
                 {"opset", request.onnx.opset},
                 {"graphs", graphs},
                 {"bytes", total},
                 {"seconds", seconds},
                 {"memory", memory_json(memory)}});
  return Exit::good;
}

}  // namespace lathe::cli
