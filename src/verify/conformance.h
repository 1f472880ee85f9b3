// The ONNX backend tests: folders with a model, inputs and the outputs that the specification wants.
//
// Source of the rules: onnx.backend.test's runner (dtype and shape exact, |found - expected| <= atol + rtol *
// |expected|, NaN equal to NaN, strings exact).
#pragma once

#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

namespace lathe::verify {

struct ConformanceOptions {
  double rtol = 1e-3;  // a folder's own data.json may say otherwise
  double atol = 1e-7;
  bool compiled = false;  // as a compiled graph in a session, not on the reference executor
  // As an engine: written into this folder, built again from itself, opened and run. Empty: not so.
  std::filesystem::path engines = {};
};

struct ConformanceResult {
  std::string name;                 // of the folder, or of the file without its extension
  std::set<std::string> operators;  // of the model, with their domain where it is not ONNX's own
  int64_t opset = 0;                // of ONNX's own domain; 0: the model does not import it
  bool passed = false;
  std::string reason;  // why not
};

// The tests below `folder` (or the folder itself), sorted by path: folders with a model.onnx and test_data_set_*, and
// files X.onnx with X_output_0.pb beside them, whose inputs are the suite's ramp from 0 to 1. Throws not_found when
// there is none.
std::vector<std::filesystem::path> find_conformance_tests(const std::filesystem::path& folder);

// Imports the model as any user's and runs it on every data set. Errors become reasons.
ConformanceResult run_conformance_test(const std::filesystem::path& test, const ConformanceOptions& options = {});

}  // namespace lathe::verify
