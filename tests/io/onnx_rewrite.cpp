// onnx_rewrite IN.onnx OUT.onnx [THRESHOLD]: reads a model and writes it again, for check_onnx_write.py and
// for timing. Prints one JSON object: sizes, predicted sizes, milliseconds, peak memory.
#include <chrono>
#include <cstdio>
#include <string>

#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "io/onnx.h"
#include "io/onnx_write.h"

int main(int argc, char** argv) {
  using namespace lathe;
  if (argc < 3) return 2;
  const auto now = [] { return std::chrono::steady_clock::now(); };
  const auto ms = [](auto from, auto to) {
    return std::chrono::duration<double, std::milli>(to - from).count();
  };
  try {
    io::OnnxWriteOptions options;
    if (argc > 3) options.external_threshold_bytes = std::stoull(argv[3]);
    const auto start = now();
    const auto file = io::OnnxFile::open(argv[1]);
    const auto opened = now();
    const uint64_t open_rss = memory_use().peak_rss_bytes;
    const io::OnnxModel model = file->model_with_sources();
    const io::OnnxWriteSize predicted = io::predict_onnx_size(argv[2], model, options);
    const auto planned = now();
    const io::OnnxWriteSize size = io::write_onnx(argv[2], model, options);
    const auto written = now();
    const Json report = {{"nodes", model.graph.nodes.size()},
                         {"model_bytes", size.model_bytes},
                         {"data_bytes", size.data_bytes},
                         {"predicted_model_bytes", predicted.model_bytes},
                         {"predicted_data_bytes", predicted.data_bytes},
                         {"open_ms", ms(start, opened)},
                         {"plan_ms", ms(opened, planned)},
                         {"write_ms", ms(planned, written)},
                         {"open_rss_bytes", open_rss},
                         {"peak_rss_bytes", memory_use().peak_rss_bytes}};
    std::printf("%s\n", report.dump().c_str());
    return 0;
  } catch (const Error& error) {
    std::fprintf(stderr, "%s: %s\n", std::string(to_string(error.code())).c_str(), error.what());
    return 1;
  }
}
