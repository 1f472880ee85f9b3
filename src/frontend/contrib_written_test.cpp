// What `optimize --contrib` writes is read back with the same numbers: every graph that its rules make in
// tests/opt/contrib_*.ir, through a file.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "frontend/lowering.h"
#include "frontend/onnx_export.h"
#include "frontend/onnx_import.h"
#include "io/onnx_write.h"

namespace lathe::frontend {
namespace {

namespace fs = std::filesystem;
using tensor::DType;
using tensor::Tensor;

std::vector<std::string> graphs_after(const fs::path& path) {
  const std::string text = read_text_file(path);
  std::vector<std::string> graphs;
  for (size_t at = text.find("graph after {"); at != std::string::npos; at = text.find("graph after {", at + 1)) {
    graphs.push_back(text.substr(at, text.find("\n}\n", at) + 3 - at));
  }
  return graphs;
}

// Every length that is open gets a number of its own.
void fix_lengths(ir::Graph& graph) {
  std::map<std::string, int64_t, std::less<>> lengths;
  for (const ir::Value input : graph.inputs()) {
    for (const tensor::Dim& dim : graph.type(input).shape) {
      for (const std::string& symbol : dim.symbols()) lengths.emplace(symbol, int64_t(lengths.size()) + 2);
    }
  }
  for (const ir::Value input : graph.inputs()) {
    op::TypeInfo type = graph.type(input);
    for (tensor::Dim& dim : type.shape) dim = dim.bind(lengths);
    graph.set_type(input, std::move(type));
  }
  graph.infer_types();
}

// Floats in (-1, 1), zeros and ones of other types; the first row of a boolean mask sees nothing.
Tensor filled(const ir::Graph& graph, ir::Value input) {
  const op::TypeInfo& type = graph.type(input);
  Tensor tensor(type.dtype, *tensor::to_dims(type.shape));
  uint32_t state = 17 + uint32_t(input.id);
  for (int64_t i = 0; i < tensor.size(); ++i) {
    state = state * 1664525u + 1013904223u;
    const double value = double(state >> 8) / double(1 << 23) - 1;
    const bool hidden = type.dtype == DType::boolean && i < tensor.dims().back();
    set_element(tensor, i, tensor::is_float(type.dtype) ? value : double(value > 0 && !hidden));
  }
  return tensor;
}

ir::Graph through_file(const ir::Graph& graph, int opset) {
  OnnxExportOptions options;
  options.opset = opset;
  const io::OnnxModel model = to_onnx(lower_to_opset(graph, opset), options);
  EXPECT_EQ(model.opsets.size(), 2u);
  EXPECT_EQ(model.opsets.back().domain, "com.microsoft");
  const fs::path path = fs::temp_directory_path() / fmt::format("lathe_contrib_written_{}.onnx", ::getpid());
  io::write_onnx(path, model);
  const auto file = io::OnnxFile::open(path);
  fs::remove(path);  // the mapping stays
  return import_onnx(file);
}

void expect_same_numbers(const std::string& text, int opset) {
  SCOPED_TRACE(text);
  ir::Graph graph = ir::parse(text, {});
  fix_lengths(graph);
  std::map<std::string, Tensor> inputs;
  for (const ir::Value input : graph.inputs()) inputs.emplace(graph.name(input), filled(graph, input));
  const auto expected = ir::evaluate(graph, inputs);
  const auto found = ir::evaluate(through_file(graph, opset), inputs);
  ASSERT_EQ(expected.size(), found.size());
  for (const auto& [name, tensor] : expected) {
    const Tensor& other = found.at(name);
    ASSERT_EQ(tensor.dims(), other.dims()) << name;
    for (int64_t i = 0; i < tensor.size(); ++i) {
      const double e = element_as_double(tensor, i);
      ASSERT_NEAR(element_as_double(other, i), e, 1e-5 * std::max(1.0, std::abs(e))) << name << " " << i;
    }
  }
}

TEST(ContribWritten, IsReadBackWithTheSameNumbers) {
  int count = 0;
  for (const auto& entry : fs::directory_iterator(fs::path(LATHE_TESTS_DIR) / "opt")) {
    if (!entry.path().filename().string().starts_with("contrib_")) continue;
    for (const std::string& text : graphs_after(entry.path())) {
      for (const int opset : {13, 22}) expect_same_numbers(text, opset);
      ++count;
    }
  }
  EXPECT_GE(count, 30);
}

}  // namespace
}  // namespace lathe::frontend
