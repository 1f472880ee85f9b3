// The files of graphs in text that tests run.
#pragma once

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <vector>

namespace lathe::opt {

// The .ir files of a folder of tests/, sorted.
inline std::vector<std::filesystem::path> case_files(std::string_view folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(LATHE_TESTS_DIR) / folder)) {
    if (entry.path().extension() == ".ir") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace lathe::opt
