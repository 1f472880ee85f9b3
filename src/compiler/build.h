// From a model to an engine file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "ir/model.h"
#include "opt/pass_manager.h"
#include "plan/engine_file.h"

namespace lathe::compiler {

struct BuildOptions {
  // Empty: the checkpoint's own precision. "fp32" forbids all rounding beyond the weights' own; "fp16" and
  // "bf16" must be the model's own so far; "int8" rounds activations (block-quantised weights only).
  std::string precision;
  std::string device = "cpu";  // name of backend/device.h
  std::string arch;            // of the GPU that it is for: "sm_90"; empty on CPUs
  std::string kv;              // cache type "fp32", "fp16", "bf16"; empty: as the precision says
  int threads = 0;             // for packing; 0: all
  opt::PassOptions passes;     // names to disable, checked mode, dumps
  LogSink log = null_log();
  ProgressSink progress = null_progress();
};

// What the build will take, known before it starts. Upper bounds, not means.
struct BuildPrediction {
  uint64_t disk_bytes = 0;
  uint64_t pack_memory_bytes = 0;    // peak of anonymous memory while weights are packed
  uint64_t verify_memory_bytes = 0;  // while the engine is verified, as verify_engine does it by default
  // The larger of the two. Pages of mapped files come on top while there is room; the system takes them back.
  uint64_t memory_bytes = 0;
  double seconds = 0;  // at the rates of a machine like this one, without verification
};

// A model made ready: plan and weights known, nothing written yet.
class PreparedBuild {
 public:
  // Optimises the graph, brings it into packed form and plans it. Throws unsupported naming the node or
  // weight that stands in the way.
  PreparedBuild(const ir::Model& model, const BuildOptions& options);
  ~PreparedBuild();

  BuildPrediction predict() const;
  const plan::Plan& plan() const;
  const std::vector<opt::PassReport>& reports() const;

  // Called with the finished engine under its temporary name; the receipt it returns goes into the file. A
  // throw leaves no engine behind.
  using Verify = std::function<plan::Receipt(const std::filesystem::path& engine)>;
  // Packs the weights into `destination`, which appears only when all is done (an old engine of that name stays
  // until then). Peak memory is bounded by a few chunks per thread. Throws resource before any work when disk or
  // memory cannot hold it, naming what it needs and what there is.
  void write(const std::filesystem::path& destination, const Verify& verify = {});

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lathe::compiler
