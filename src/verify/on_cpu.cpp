#include "verify/on_cpu.h"

#include <unistd.h>

#include "base/file.h"
#include "compiler/build.h"
#include "compiler/engine_graph.h"
#include "plan/precision.h"

namespace lathe::verify {

OnCpu::OnCpu(const std::shared_ptr<const plan::EngineFile>& engine, const VerifyOptions& options) : options_(options) {
  options_.accelerator = nullptr;
  options_.fp32 = options.fp32 || engine->manifest().plan.compute == "f32";
  const std::filesystem::path folder =
      options.scratch_folder.empty() ? engine->path().parent_path() : options.scratch_folder;
  if (!folder.empty()) make_folder(folder);
  path_ = folder / fmt::format("{}-on-cpu-{}.lathe", engine->path().stem().string(), ::getpid());
  ir::Model model = compiler::engine_model(engine);
  model.assets.erase("tokenizer.compiled");  // made of the other one again
  compiler::BuildOptions build;
  build.threads = options.threads;
  build.kv = plan::precision_of(engine->manifest().plan.kv);
  compiler::PreparedBuild(model, build).write(path_);
}

OnCpu::~OnCpu() {
  std::error_code ignored;  // a file that stays behind harms nobody
  std::filesystem::remove(path_, ignored);
}

}  // namespace lathe::verify
