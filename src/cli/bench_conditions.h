// Figures are compared with figures that were taken under the same conditions, and with no others.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cli/verb.h"

namespace lathe::cli {

// The result of an earlier run with --json.
class EarlierRun {
 public:
  // Throws usage where the conditions of that run differ from these in anything but what is named in `vary` (and in
  // what does not decide a figure: paths, repeats, the version), naming each with both values; invalid_input for a file
  // that is no such result.
  EarlierRun(const std::filesystem::path& file, const Json& conditions, const std::vector<std::string>& vary);

  // "unet: 812.0 ms, 900.0 before, 1.11 times as fast", for each test that both have; and the same as JSON.
  Json compare(const Json& results, const Output& output) const;

 private:
  Json results_;
};

}  // namespace lathe::cli
