#include "verify/conformance.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "frontend/onnx_import.h"
#include "io/onnx.h"
#include "verify/tensor_difference.h"

namespace lathe::verify {
namespace {

namespace fs = std::filesystem;

op::Datum load_sequence(const io::OnnxSequence& sequence) {
  std::vector<tensor::Tensor> items;
  for (const io::OnnxTensor& tensor : sequence.tensors) items.push_back(io::load_onnx_tensor(tensor));
  return op::Datum::sequence(std::move(items));
}

// What kind of message a file holds follows from the type that the model declares.
op::Datum load_value(const fs::path& path, const io::OnnxValueInfo& info) {
  using Kind = io::OnnxType::Kind;
  const auto file = MappedFile::open(path);
  const Kind kind = info.type ? info.type->kind : Kind::tensor;
  return with_context(path.filename().string(), [&]() -> op::Datum {
    if (kind == Kind::sequence) return load_sequence(io::parse_onnx_sequence(file->bytes()));
    if (kind != Kind::optional) return io::load_onnx_tensor(io::parse_onnx_tensor(file->bytes()));
    const io::OnnxOptional optional = io::parse_onnx_optional(file->bytes());
    if (optional.sequence) return load_sequence(*optional.sequence);
    return optional.tensor ? io::load_onnx_tensor(*optional.tensor) : op::Datum();
  });
}

std::string describe(const op::Datum& datum) {
  if (datum.is_sequence()) return fmt::format("a sequence of {}", datum.items().size());
  return datum.is_tensor() ? "a tensor" : "nothing";
}

std::optional<std::string> difference_of(const op::Datum& expected, const op::Datum& found, const Tolerance& tolerance) {
  if (expected.is_tensor() && found.is_tensor()) return find_difference(expected.tensor(), found.tensor(), tolerance);
  const bool sequences = expected.is_sequence() && found.is_sequence();
  if (!expected.defined() && !found.defined()) return std::nullopt;
  if (!sequences || expected.items().size() != found.items().size()) {
    return fmt::format("expected {}, found {}", describe(expected), describe(found));
  }
  for (size_t i = 0; i < expected.items().size(); ++i) {
    const auto difference = find_difference(expected.items()[i], found.items()[i], tolerance);
    if (difference) return fmt::format("item {}: {}", i, *difference);
  }
  return std::nullopt;
}

std::vector<fs::path> data_sets(const fs::path& folder) {
  std::vector<fs::path> sets;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_directory() && entry.path().filename().string().starts_with("test_data_set")) {
      sets.push_back(entry.path());
    }
  }
  std::sort(sets.begin(), sets.end());
  if (sets.empty()) fail(ErrorCode::not_found, "{}: no test_data_set_*", folder.string());
  return sets;
}

void describe(const io::OnnxModel& model, ConformanceResult& result) {
  for (const io::OnnxOpset& opset : model.opsets) {
    if (opset.domain.empty() || opset.domain == "ai.onnx") result.opset = opset.version;
  }
  io::each_graph(model, [&](const io::OnnxGraph& graph) {
    for (const io::OnnxNode& node : graph.nodes) {
      const bool standard = node.domain.empty() || node.domain == "ai.onnx";
      result.operators.insert(standard ? node.op_type : node.domain + "." + node.op_type);
    }
  });
}

Tolerance tolerance_of(const fs::path& folder, const ConformanceOptions& options) {
  Tolerance tolerance{options.rtol, options.atol};
  if (fs::exists(folder / "data.json")) {
    const Json json = read_json_file(folder / "data.json");
    tolerance.rtol = find_number(json, "rtol").value_or(tolerance.rtol);
    tolerance.atol = find_number(json, "atol").value_or(tolerance.atol);
  }
  return tolerance;
}

void run_data_set(const ir::Graph& graph, const io::OnnxModel& model, const fs::path& set, const Tolerance& tolerance) {
  std::map<std::string, op::Datum> inputs;
  for (size_t i = 0; i < model.graph.inputs.size(); ++i) {
    const io::OnnxValueInfo& info = model.graph.inputs[i];
    const fs::path path = set / fmt::format("input_{}.pb", i);
    if (fs::exists(path) && graph.find(info.name)) inputs.emplace(info.name, load_value(path, info));
  }
  const auto outputs = ir::evaluate_data(graph, inputs);
  for (size_t i = 0; i < model.graph.outputs.size(); ++i) {
    const io::OnnxValueInfo& info = model.graph.outputs[i];
    const std::string& name = info.name;
    const op::Datum expected = load_value(set / fmt::format("output_{}.pb", i), info);
    const auto difference = difference_of(expected, outputs.at(name), tolerance);
    if (difference) fail(ErrorCode::verification, "output \"{}\": {}", name, *difference);
  }
}

}  // namespace

std::vector<fs::path> find_conformance_tests(const fs::path& folder) {
  if (!fs::is_directory(folder)) fail(ErrorCode::not_found, "{}: no such folder", folder.string());
  std::vector<fs::path> tests;
  if (fs::exists(folder / "model.onnx")) tests.push_back(folder);
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_directory() && fs::exists(entry.path() / "model.onnx")) tests.push_back(entry.path());
  }
  if (tests.empty()) fail(ErrorCode::not_found, "{}: no folder with a model.onnx below it", folder.string());
  std::sort(tests.begin(), tests.end());
  return tests;
}

ConformanceResult run_conformance_test(const fs::path& folder, const ConformanceOptions& options) {
  ConformanceResult result;
  result.name = folder.filename().string();
  try {
    const auto file = io::OnnxFile::open(folder / "model.onnx");
    describe(file->model(), result);
    const ir::Graph graph = frontend::import_onnx(file);
    const Tolerance tolerance = tolerance_of(folder, options);
    for (const fs::path& set : data_sets(folder)) run_data_set(graph, file->model(), set, tolerance);
    result.passed = true;
  } catch (const Error& error) {
    if (error.code() == ErrorCode::internal) throw;  // a bug in us is no result
    result.reason = error.what();
  }
  return result;
}

}  // namespace lathe::verify
