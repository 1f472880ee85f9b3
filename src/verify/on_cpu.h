// An engine for another device, planned for the CPU: a file that is there as long as this is.
#pragma once

#include <filesystem>
#include <memory>

#include "plan/engine_file.h"
#include "verify/verify.h"

namespace lathe::verify {

class OnCpu {
 public:
  // Builds it in options.scratch_folder, or beside the engine. Throws resource where there is no room.
  OnCpu(const std::shared_ptr<const plan::EngineFile>& engine, const VerifyOptions& options);
  ~OnCpu();
  OnCpu(const OnCpu&) = delete;
  OnCpu& operator=(const OnCpu&) = delete;

  const std::filesystem::path& path() const { return path_; }
  // To run it as the engine was run.
  const VerifyOptions& options() const { return options_; }

 private:
  std::filesystem::path path_;
  VerifyOptions options_;
};

}  // namespace lathe::verify
