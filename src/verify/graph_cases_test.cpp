// Runs tests/graph/*.ir: graphs, compiled, against the reference executor, for several lengths, on every instruction
// set this machine has, on one thread and on two, fused and as they are. graph_cases.h says how they are written.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "backend/device.h"
#include "base/error.h"
#include "compiler/graph_build.h"
#include "op/values.h"
#include "runtime/graph_session.h"
#include "verify/graph_cases.h"
#include "verify/tensor_difference.h"

namespace lathe::verify {
namespace {

using namespace graph_cases;
using Data = runtime::GraphSession::Data;

double largest_of(const tensor::Tensor& tensor) {
  double largest = 0;
  for (const float value : tensor::to_floats(tensor)) {
    if (std::isfinite(value)) largest = std::max(largest, double(std::abs(value)));
  }
  return largest;
}

// Gate 2's band: 1e-4 of the tensor's largest, at least 1e-6.
void expect_same(const std::string& name, const tensor::Tensor& expected, const op::Datum& found) {
  ASSERT_TRUE(found.is_tensor()) << name;
  const bool real = tensor::is_float(expected.dtype());
  const double bound = real ? std::max(1e-6, 1e-4 * largest_of(expected)) : 0;
  const auto difference = find_difference(expected, found.tensor(), {0, bound});
  EXPECT_FALSE(difference) << name << ": " << difference.value_or("");
}

// Those of this machine; kernels that multiply in tiles run on emulated ones, too (docs/adr/0018).
std::vector<std::string> isas_for(const Case& c) {
  std::vector<std::string> isas;
  for (const backend::Capability& capability : backend::get_device("cpu").capabilities()) {
    if (capability.found) isas.push_back(capability.isa);
  }
  const bool tiles = std::any_of(c.kernels.begin(), c.kernels.end(), [](const std::string& kernel) {
    return kernel.starts_with("cpu.half_") || kernel == "cpu.q_linear" || kernel == "cpu.q_conv";
  });
  const bool has_avx512 = isas.size() > 1;
  if (tiles && has_avx512) isas.emplace_back("amx_emulated");
  return isas;
}

class GraphCase : public testing::TestWithParam<Case> {};

TEST_P(GraphCase, IsTheReference) {
  const Case& c = GetParam();
  SCOPED_TRACE(fmt::format("{}.ir:{}: {}", c.file, c.line, c.name));
  const ir::Graph graph = parse(c.graph);
  const std::vector<Bindings> calls = c.calls.empty() ? std::vector<Bindings>{{}} : c.calls;
  std::vector<std::map<std::string, tensor::Tensor>> inputs, expected;
  for (const Bindings& bindings : calls) {
    inputs.push_back(make_inputs(graph, bindings));
    expected.push_back(ir::evaluate(graph, inputs.back()));
  }
  for (const bool fuse : {true, false}) {
    const auto model = compiler::build_graph(graph, {.device = "cpu", .fuse = fuse});
    for (const std::string& isa : isas_for(c)) {
      for (const int threads : {1, 2, 3}) {
        SCOPED_TRACE(fmt::format("{}, {}, {} threads", fuse ? "fused" : "as it is", isa, threads));
        runtime::GraphSession session(model, {.threads = threads, .isa = isa, .limits = {}, .alone_below = 0});
        // Twice each: lengths that come back find what was bound before.
        for (size_t i = 0; i < 2 * calls.size(); ++i) {
          const size_t call = i % calls.size();
          const auto found = session.run({inputs[call].begin(), inputs[call].end()});
          for (const auto& [name, tensor] : expected[call]) expect_same(name, tensor, found.at(name));
        }
        if (!fuse) continue;
        std::set<std::string> used;
        for (const auto& time : session.profile({inputs[0].begin(), inputs[0].end()})) used.insert(time.kernel);
        for (const std::string& kernel : c.kernels) EXPECT_TRUE(used.contains(kernel)) << kernel << " was not used";
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Files, GraphCase, testing::ValuesIn(all_cases()), [](const auto& test) {
  return fmt::format("{}_{}", test.param.file, test.param.line);
});

// What a call with wrong inputs says.
std::string error_of(const std::string& text, const Data& inputs) {
  runtime::GraphSession session(compiler::build_graph(parse(text)), {.threads = 1, .isa = {}, .limits = {}});
  try {
    session.run(inputs);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_input) << error.what();
    return error.what();
  }
  return "";
}

TEST(GraphSession, WrongInputsAreNamed) {
  const std::string text =
      "graph g {\n  input %x: f32[n, 3]\n  input %i: i64[n]\n  %y = Gather(%x, %i)\n  output %y\n}\n";
  const auto x = tensor::Tensor::of<float>({2, 3}, {1, 2, 3, 4, 5, 6});
  const auto i = tensor::Tensor::of<int64_t>({2}, {0, 1});
  using testing::HasSubstr;
  EXPECT_EQ(error_of(text, {{"x", x}, {"i", i}}), "");
  EXPECT_THAT(error_of(text, {{"x", x}}), HasSubstr("input \"i\" is missing"));
  EXPECT_THAT(error_of(text, {{"x", x}, {"i", i}, {"z", i}}), HasSubstr("no input \"z\""));
  EXPECT_THAT(error_of(text, {{"x", i}, {"i", i}}), HasSubstr("expected f32[n, 3], found i64[2]"));
  EXPECT_THAT(error_of(text, {{"x", x}, {"i", tensor::Tensor::of<int64_t>({3}, {0, 1, 0})}}), HasSubstr("found"));
  // The kernel refuses, the reference says where.
  EXPECT_THAT(error_of(text, {{"x", x}, {"i", tensor::Tensor::of<int64_t>({2}, {0, 2})}}), HasSubstr("2"));
}

TEST(GraphSession, TapShowsValuesAsTheGraphMeansThem) {
  const std::string text =
      "graph g {\n  input %x: f32[1, 3, 5, 4]\n  const %w: f32[7, 3, 3, 3] = \"w\" plain\n"
      "  %a = Conv(%x, %w)\n  %b = MaxPool(%a) {kernel_shape = [2, 2]}\n  output %b\n}\n";
  const ir::Graph graph = parse(text);
  const auto inputs = make_inputs(graph, {});
  runtime::GraphSession session(compiler::build_graph(graph), {.threads = 2, .isa = {}, .limits = {}});
  std::map<std::string, tensor::Tensor> seen;
  session.set_tap([&](const std::string& name, const tensor::Tensor& value) {
    seen.emplace(name, op::clone(value));
  });
  session.run({inputs.begin(), inputs.end()});
  ir::EvaluateOptions options;
  options.results = {*graph.find("a"), *graph.find("b")};
  for (const auto& [name, tensor] : ir::evaluate(graph, inputs, options)) {
    ASSERT_TRUE(seen.contains(name)) << name;
    expect_same(name, tensor, seen.at(name));
  }
}

TEST(GraphSession, ASecondCallOfTheSameLengthsKeepsItsMemory) {
  const std::string text =
      "graph g {\n  input %x: f32[n, 64]\n  const %w: f32[64, 64] = \"w\" plain\n  %a = MatMul(%x, %w)\n"
      "  %b = Relu(%a)\n  %c = MatMul(%b, %w)\n  output %c\n}\n";
  const ir::Graph graph = parse(text);
  runtime::GraphSession session(compiler::build_graph(graph), {.threads = 1, .isa = {}, .limits = {}});
  const auto inputs = make_inputs(graph, {{"n", 8}});
  session.run({inputs.begin(), inputs.end()});
  const size_t bytes = session.arena_bytes();
  session.run({inputs.begin(), inputs.end()});
  EXPECT_EQ(session.arena_bytes(), bytes);
  EXPECT_LT(bytes, 8 * 64 * 4 * 3 + 65536);  // two values live at a time, and scratch
}

}  // namespace
}  // namespace lathe::verify
