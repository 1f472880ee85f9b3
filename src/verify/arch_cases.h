// The tiny checkpoints of tests/arch, for tests that run over all of them.
#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

namespace lathe::verify {

// Names of the folders that hold a golden.json, sorted; those with a graph in place of tensors only if wanted.
inline std::vector<std::string> arch_cases(bool with_onnx = false) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(LATHE_TESTS_DIR) / "arch")) {
    if (!with_onnx && std::filesystem::exists(entry.path() / "model.onnx")) continue;
    if (std::filesystem::exists(entry.path() / "golden.json")) names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace lathe::verify
