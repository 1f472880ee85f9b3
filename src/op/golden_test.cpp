// Every operator against the goldens of tools/make_op_goldens.py, and shape inference with symbols on each.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "base/file.h"
#include "base/json.h"
#include "op/op.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::Dim;
using tensor::DType;
using tensor::Tensor;

int hex_digit(char c) {
  return c <= '9' ? c - '0' : c - 'a' + 10;
}

Tensor read_tensor(const Json& json) {
  if (json.is_null()) return {};
  const DType dtype = *tensor::find_dtype(get_string(json, "dtype"));
  const auto dims = json.at("dims").get<tensor::Dims>();
  if (dtype == DType::string)
    return Tensor::of_strings(dims, json.at("data").get<std::vector<std::string>>());
  Tensor result(dtype, dims);
  const std::string hex = get_string(json, "data");
  const auto bytes = result.mutable_bytes();
  EXPECT_EQ(hex.size(), bytes.size() * 2);
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = std::byte(hex_digit(hex[2 * i]) * 16 + hex_digit(hex[2 * i + 1]));
  }
  return result;
}

// The same tensor as weights in a mapped file appear: read-only.
Tensor as_view(const Tensor& x) {
  if (!x.defined() || x.dtype() == DType::string) return x;
  return Tensor::view(x.dtype(), x.dims(), x.bytes(), std::make_shared<Tensor>(x));
}

AttributeValue read_attribute(const Json& json) {
  if (json.is_number_integer()) return json.get<int64_t>();
  if (json.is_number()) return json.get<double>();
  if (json.is_string()) return json.get<std::string>();
  if (json.is_object()) return read_tensor(json);
  if (!json.empty() && json.front().is_string()) return json.get<std::vector<std::string>>();
  if (!json.empty() && json.front().is_number_float()) return json.get<std::vector<double>>();
  return json.get<std::vector<int64_t>>();
}

struct Case {
  std::string name;
  std::string op;
  Attributes attributes;
  std::vector<Tensor> inputs;
  std::vector<Tensor> outputs;  // undefined where the golden does not tell
  double rtol;
  double atol;
};

std::vector<Case> read_cases(const std::string& file) {
  const std::string path = std::string(LATHE_TESTS_DIR) + "/op/goldens/" + file;
  std::ifstream stream(path);
  std::vector<Case> cases;
  std::string line;
  while (std::getline(stream, line)) {
    const Json json = parse_json(line, path);
    Case c{get_string(json, "name"), get_string(json, "op"),  {}, {}, {},
           get_number(json, "rtol"), get_number(json, "atol")};
    for (const auto& [name, value] : json.at("attributes").items())
      c.attributes.set(name, read_attribute(value));
    for (const Json& input : json.at("inputs")) c.inputs.push_back(as_view(read_tensor(input)));
    for (const Json& output : json.at("outputs")) c.outputs.push_back(read_tensor(output));
    cases.push_back(std::move(c));
  }
  return cases;
}

bool close(double found, double expected, const Case& c) {
  if (std::isnan(expected)) return std::isnan(found);
  if (std::isinf(expected)) return found == expected;
  return std::fabs(found - expected) <= c.atol + c.rtol * std::fabs(expected);
}

std::string difference(const Tensor& found, const Tensor& expected, const Case& c) {
  if (found.dtype() != expected.dtype() || found.dims() != expected.dims()) {
    return fmt::format("expected {}{}, found {}{}", tensor::to_string(expected.dtype()),
                       tensor::to_string(std::span(expected.dims())), tensor::to_string(found.dtype()),
                       tensor::to_string(std::span(found.dims())));
  }
  if (found.dtype() == DType::string) return found.strings() == expected.strings() ? "" : "strings differ";
  if (!tensor::is_float(found.dtype())) {
    const auto a = load<int64_t>(found);
    const auto b = load<int64_t>(expected);
    for (size_t i = 0; i < a.size(); ++i) {
      if (a[i] != b[i]) return fmt::format("[{}]: expected {}, found {}", i, b[i], a[i]);
    }
    return "";
  }
  const auto a = load<double>(found);
  const auto b = load<double>(expected);
  for (size_t i = 0; i < a.size(); ++i) {
    if (!close(a[i], b[i], c)) return fmt::format("[{}]: expected {}, found {}", i, b[i], a[i]);
    // Signs of zeros count where nothing is rounded.
    if (b[i] == 0 && c.rtol == 0 && std::signbit(a[i]) != std::signbit(b[i]))
      return fmt::format("[{}]: sign of 0", i);
  }
  return "";
}

// Infers with every dimension above 1 replaced by a symbol (equal lengths by equal symbols), constants known;
// what comes out must bind to the true dims.
std::string symbolic_difference(const OpDef& def, const Case& c, const std::vector<Tensor>& outputs) {
  std::map<std::string, int64_t, std::less<>> bindings;
  std::vector<TypeInfo> types(c.inputs.size());
  InferContext context{
      .op = def.name, .attributes = c.attributes, .inputs = {}, .constants = {}, .outputs = {}};
  for (size_t i = 0; i < c.inputs.size(); ++i) {
    const Tensor& input = c.inputs[i];
    // Small integer vectors (shapes, axes, pads) stay constants, as in real graphs.
    const bool constant = input.defined() && input.rank() <= 1 && input.dtype() == DType::i64;
    types[i].dtype = input.dtype();
    for (const int64_t dim : input.dims()) {
      const std::string symbol = fmt::format("s{}", dim);
      types[i].shape.push_back(dim > 1 && !constant ? Dim::symbol(symbol) : Dim(dim));
      bindings[symbol] = dim;
    }
    context.inputs.push_back(input.defined() ? &types[i] : nullptr);
    context.constants.push_back(constant ? &input : nullptr);
  }
  context.outputs.resize(outputs.size());
  def.infer(context);
  for (size_t i = 0; i < outputs.size(); ++i) {
    const TypeInfo& type = context.outputs[i];
    if (type.dtype != outputs[i].dtype() || type.shape.size() != outputs[i].dims().size()) {
      return fmt::format("inferred {}", to_string(type));
    }
    for (size_t d = 0; d < type.shape.size(); ++d) {
      const auto bound = type.shape[d].bind(bindings).constant();
      if (bound && *bound != outputs[i].dims()[d]) {
        return fmt::format("inferred {}, computed {}", to_string(type),
                           tensor::to_string(std::span(outputs[i].dims())));
      }
    }
  }
  return "";
}

// Shapes that only hold because two lengths happen to be equal or to divide are no fair symbolic problem.
bool fair_with_symbols(const Case& c) {
  static const std::set<std::string> kUnfair = {
      "ScatterND",  // the depth of the indices must be a number
      "GatherND",
  };
  if (c.op == "Squeeze" && c.inputs.size() == 1) return false;  // which lengths are 1 decides the rank
  return kUnfair.count(c.op) == 0;
}

void check_file(const std::string& file, size_t at_least) {
  const std::vector<Case> cases = read_cases(file);
  ASSERT_GE(cases.size(), at_least);
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    try {
      const OpDef& def = get_op(c.op);
      const std::vector<Tensor> outputs = evaluate(def, c.inputs, c.attributes, c.outputs.size());
      for (size_t i = 0; i < outputs.size(); ++i) {
        if (!c.outputs[i].defined()) continue;
        EXPECT_EQ(difference(outputs[i], c.outputs[i], c), "") << "output " << i;
      }
      if (fair_with_symbols(c)) {
        EXPECT_EQ(symbolic_difference(def, c, outputs), "");
      }
    } catch (const Error& error) {
      ADD_FAILURE() << error.what();
    }
  }
}

TEST(Golden, NodeTestsOfOnnx) {
  check_file("node.jsonl", 700);
}
TEST(Golden, CasesOfOurOwn) {
  check_file("cases.jsonl", 400);
}

TEST(Golden, CasesByOnnxRuntime) {
  check_file("ml.jsonl", 100);
}

// Operators of the ONNX node tests, which `lathe conformance` runs.
std::set<std::string, std::less<>> conformance_operators() {
  std::set<std::string, std::less<>> names;
  std::istringstream lines(read_text_file(std::filesystem::path(LATHE_TESTS_DIR) / "op/conformance_operators.txt"));
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with('#')) names.insert(line);
  }
  return names;
}

TEST(Golden, EveryStandardOperatorHasAGoldenOrAConformanceTest) {
  std::set<std::string, std::less<>> covered = conformance_operators();
  for (const char* file : {"node.jsonl", "cases.jsonl", "ml.jsonl"}) {
    for (const Case& c : read_cases(file)) covered.insert(c.op);
  }
  for (const OpDef* def : all_ops()) {
    if (def->name.starts_with("lathe.") || def->name == "Optional") continue;  // optionals: ir/body_test.cpp
    EXPECT_TRUE(covered.count(def->name)) << def->name;
  }
}

}  // namespace
}  // namespace lathe::op
