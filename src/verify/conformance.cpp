#include "verify/conformance.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "backend/graph_load.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "compiler/graph_build.h"
#include "compiler/graph_engine.h"
#include "frontend/onnx_import.h"
#include "io/onnx.h"
#include "runtime/graph_session.h"
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

std::optional<std::string> difference_of(const op::Datum& expected, const op::Datum& found,
                                         const Tolerance& tolerance) {
  if (expected.is_tensor() && found.is_tensor()) return find_difference(expected.tensor(), found.tensor(), tolerance);
  const bool sequences = expected.is_sequence() && found.is_sequence();
  if (!expected.defined() && !found.defined()) return std::nullopt;
  if (!sequences || expected.items().size() != found.items().size()) {
    return fmt::format("expected {}, found {}", verify::describe(expected), verify::describe(found));
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

using Inputs = std::map<std::string, op::Datum>;

Inputs read_inputs(const ir::Graph& graph, const io::OnnxModel& model, const fs::path& set) {
  Inputs inputs;
  for (size_t i = 0; i < model.graph.inputs.size(); ++i) {
    const io::OnnxValueInfo& info = model.graph.inputs[i];
    const fs::path path = set / fmt::format("input_{}.pb", i);
    if (fs::exists(path) && graph.find(info.name)) inputs.emplace(info.name, load_value(path, info));
  }
  return inputs;
}

// 0, 1/n, 2/n ... for every input, as the suite's runner makes them for models that come without data.
Inputs ramps(const ir::Graph& graph) {
  Inputs inputs;
  for (const ir::Value input : graph.inputs()) {
    const op::TypeInfo& type = graph.type(input);
    const auto dims = tensor::to_dims(type.shape);
    if (!type.is_plain() || type.dtype != tensor::DType::f32 || !dims) {
      fail(ErrorCode::unsupported, "input \"{}\": no data for {}", graph.name(input), op::to_string(type));
    }
    tensor::Tensor tensor(tensor::DType::f32, *dims);
    const auto values = tensor.data<float>();
    for (size_t i = 0; i < values.size(); ++i) values[i] = float(double(i) / double(values.size()));
    inputs.emplace(graph.name(input), std::move(tensor));
  }
  return inputs;
}

// `expected_path(i)` holds output i.
using Run = std::function<Inputs(const Inputs&)>;  // inputs to outputs
void check_outputs(const Run& run, const io::OnnxModel& model, const Inputs& inputs, const Tolerance& tolerance,
                   const std::function<fs::path(size_t)>& expected_path) {
  const auto outputs = run(inputs);
  for (size_t i = 0; i < model.graph.outputs.size(); ++i) {
    const io::OnnxValueInfo& info = model.graph.outputs[i];
    const auto difference = difference_of(load_value(expected_path(i), info), outputs.at(info.name), tolerance);
    if (difference) fail(ErrorCode::verification, "output \"{}\": {}", info.name, *difference);
  }
}

// The graph in an engine that was built from an engine of the graph.
std::shared_ptr<const plan::GraphModel> through_engine(const ir::Graph& graph, const fs::path& folder) {
  const fs::path first = folder / "first.lathe", second = folder / "second.lathe";
  compiler::GraphEngineRequest request;
  request.graphs.push_back({.name = "main", .graph = graph});
  compiler::PreparedGraphEngine(std::move(request), {}).write(first);
  const auto engine = plan::EngineFile::open(first);
  engine->check_weights();
  compiler::PreparedGraphEngine(compiler::engine_request(engine), {}).write(second);
  const auto again = plan::EngineFile::open(second);
  return backend::load_graph(*again, again->manifest().graphs[0]);
}

Run make_run(const ir::Graph& graph, const ConformanceOptions& options) {
  if (!options.compiled && options.engines.empty())
    return [&graph](const Inputs& inputs) { return ir::evaluate_data(graph, inputs); };
  // One thread: the problems are small.
  const auto model = options.engines.empty() ? compiler::build_graph(graph) : through_engine(graph, options.engines);
  const auto session =
      std::make_shared<runtime::GraphSession>(model, runtime::GraphOptions{.threads = 1, .isa = {}, .limits = {}});
  return [session](const Inputs& inputs) { return session->run(inputs); };
}

// X_output_0.pb beside X.onnx.
fs::path output_beside(const fs::path& model, size_t output) {
  return model.parent_path() / fmt::format("{}_output_{}.pb", model.stem().string(), output);
}

}  // namespace

std::vector<fs::path> find_conformance_tests(const fs::path& folder) {
  if (!fs::is_directory(folder)) fail(ErrorCode::not_found, "{}: no such folder", folder.string());
  std::vector<fs::path> tests;
  if (fs::exists(folder / "model.onnx")) tests.push_back(folder);
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_directory() && fs::exists(entry.path() / "model.onnx")) tests.push_back(entry.path());
    const bool alone = entry.path().extension() == ".onnx" && fs::exists(output_beside(entry.path(), 0));
    if (alone) tests.push_back(entry.path());
  }
  if (tests.empty()) fail(ErrorCode::not_found, "{}: no model.onnx with data sets below it", folder.string());
  std::sort(tests.begin(), tests.end());
  return tests;
}

ConformanceResult run_conformance_test(const fs::path& test, const ConformanceOptions& options) {
  ConformanceResult result;
  const bool alone = test.extension() == ".onnx";
  result.name = (alone ? test.stem() : test.filename()).string();
  try {
    const auto file = io::OnnxFile::open(alone ? test : test / "model.onnx");
    const io::OnnxModel& model = file->model();
    describe(model, result);
    const ir::Graph graph = frontend::import_onnx(file);
    const Run run = make_run(graph, options);
    if (alone) {
      check_outputs(run, model, ramps(graph), {options.rtol, options.atol},
                    [&](size_t i) { return output_beside(test, i); });
    } else {
      const Tolerance tolerance = tolerance_of(test, options);
      for (const fs::path& set : data_sets(test)) {
        check_outputs(run, model, read_inputs(graph, model, set), tolerance,
                      [&](size_t i) { return set / fmt::format("output_{}.pb", i); });
      }
    }
    result.passed = true;
  } catch (const Error& error) {
    if (error.code() == ErrorCode::internal) throw;  // a bug in us is no result
    result.reason = error.what();
  }
  return result;
}

}  // namespace lathe::verify
