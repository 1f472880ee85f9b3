#include "verify/verify_graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "opt/numeric_check.h"

namespace lathe::verify {
namespace {

using tensor::Tensor;
using testing::HasSubstr;

// Constants by name are noise; the name decides which.
ir::Graph parse(const std::string& text) {
  return ir::parse(text, [](const std::string& name, tensor::DType dtype, tensor::Encoding, const tensor::Dims& dims) {
    Tensor tensor(dtype, dims);
    opt::fill_with_noise(tensor, name);
    return tensor::memory_source(tensor, name);
  });
}

const std::string kNetwork =
    "graph g {\n  input %x: f32[n, 16]\n  const %w1: f32[16, 8] = \"w1\" plain\n  const %w2: f32[8, 4] = \"w2\" plain\n"
    "  %h = MatMul(%x, %w1) \"first\"\n  %a = Relu(%h) \"act\"\n  %y = MatMul(%a, %w2) \"second\"\n  output %y\n}\n";

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

ErrorCode code_of(const std::function<void()>& body, std::string* message = nullptr) {
  try {
    body();
  } catch (const Error& error) {
    if (message) *message = error.what();
    return error.code();
  }
  ADD_FAILURE() << "nothing was thrown";
  return ErrorCode::internal;
}

TEST(VerifyGraph, TheCompiledGraphIsTheGraph) {
  GraphVerifyOptions options;
  options.threads = 2;
  options.seeds = 2;
  const GraphReport report = verify_graph(parse(kNetwork), options);
  EXPECT_TRUE(report.pass) << describe(report);
  EXPECT_EQ(report.runs, 2);
  ASSERT_FALSE(report.gates.empty());
  for (const plan::Gate& gate : report.gates) EXPECT_EQ(gate.bound, 1e-4);
  ASSERT_EQ(report.outputs.size(), 1u);
  EXPECT_EQ(report.outputs[0].type, "f32[2, 4]");
  EXPECT_FALSE(report.first_difference);
}

TEST(VerifyGraph, GivenInputsAreOneRun) {
  GraphVerifyOptions options;
  options.inputs.emplace("x", Tensor(tensor::DType::f32, {3, 16}));
  options.seeds = 5;
  const GraphReport report = verify_graph(parse(kNetwork), options);
  EXPECT_EQ(report.runs, 1);
  EXPECT_EQ(report.outputs[0].type, "f32[3, 4]");
  EXPECT_THAT(report.inputs[0], HasSubstr("given"));
}

TEST(CompareGraphs, TheSameWrittenOtherwise) {
  const std::string other = replaced(kNetwork, "%a = Relu(%h) \"act\"", "%b = Identity(%h)\n  %a = Relu(%b) \"clamp\"");
  const GraphReport report = compare_graphs(parse(kNetwork), parse(other), {.seeds = 3});
  EXPECT_TRUE(report.pass) << describe(report);
  EXPECT_EQ(report.runs, 3);
}

TEST(CompareGraphs, TheFirstDifferenceIsNamed) {
  for (const bool reference : {false, true}) {
    const std::string other = replaced(kNetwork, "%a = Relu(%h) \"act\"", "%a = LeakyRelu(%h) {alpha = 0.01} \"soft\"");
    const GraphReport report = compare_graphs(parse(kNetwork), parse(other), {.reference = reference});
    EXPECT_FALSE(report.pass);
    ASSERT_TRUE(report.first_difference) << describe(report);
    EXPECT_EQ(report.first_difference->tensor, "a");  // not h, which is the same, and not y, which comes later
    EXPECT_EQ(report.first_difference->expected.node, "act");
    EXPECT_EQ(report.first_difference->expected.op, "Relu");
    EXPECT_EQ(report.first_difference->found.op, "LeakyRelu");
    EXPECT_THAT(describe(report), HasSubstr("first difference: \"a\""));
    EXPECT_TRUE(compare_graphs(parse(kNetwork), parse(other), {.tolerance = 1, .reference = reference}).pass);
  }
}

TEST(CompareGraphs, AnotherWeightDiffersWhereItIsUsed) {
  const std::string other = replaced(kNetwork, "\"w2\"", "\"w3\"");
  const GraphReport report = compare_graphs(parse(kNetwork), parse(other), {});
  ASSERT_TRUE(report.first_difference);
  EXPECT_EQ(report.first_difference->tensor, "y");
  EXPECT_EQ(report.first_difference->expected.node, "second");
}

TEST(CompareGraphs, FixedLengthsMeetSymbols) {
  const std::string fixed = replaced(kNetwork, "f32[n, 16]", "f32[7, 16]");
  const GraphReport report = compare_graphs(parse(kNetwork), parse(fixed), {});
  EXPECT_TRUE(report.pass);
  EXPECT_EQ(report.outputs[0].type, "f32[7, 4]");
}

TEST(CompareGraphs, NarrowInputsAreTheSameNumbers) {
  const std::string wide = "graph g {\n  input %x: f32[8]\n  %y = Neg(%x)\n  output %y\n}\n";
  const std::string narrow = "graph g {\n  input %x: f16[8]\n  %y = Neg(%x)\n  output %y\n}\n";
  const GraphReport report = compare_graphs(parse(wide), parse(narrow), {});
  EXPECT_TRUE(report.pass) << describe(report);
  EXPECT_EQ(report.precision, "f16");
  EXPECT_EQ(report.outputs[0].error.max_abs, 0);
}

TEST(CompareGraphs, OtherInterfacesCannotBeCompared) {
  std::string message;
  const ir::Graph graph = parse(kNetwork);
  const auto other_input = replaced(replaced(kNetwork, "input %x", "input %z"), "MatMul(%x", "MatMul(%z");
  EXPECT_EQ(code_of([&] { compare_graphs(graph, parse(other_input), {}); }, &message), ErrorCode::invalid_input);
  EXPECT_THAT(message, testing::AllOf(HasSubstr("A has input \"x\""), HasSubstr("B has input \"z\"")));
  const auto other_output = replaced(kNetwork, "output %y", "output %a");
  EXPECT_EQ(code_of([&] { compare_graphs(graph, parse(other_output), {}); }, &message), ErrorCode::invalid_input);
  EXPECT_THAT(message, HasSubstr("output \"a\""));
  const auto other_length = replaced(kNetwork, "f32[n, 16]", "f32[n, m, 16]");
  EXPECT_EQ(code_of([&] { compare_graphs(graph, parse(other_length), {}); }, &message), ErrorCode::invalid_input);
  EXPECT_THAT(message, HasSubstr("f32[n, m, 16]"));
}

TEST(CompareGraphs, RandomNumbersCannotBeCompared) {
  const ir::Graph graph = parse("graph g {\n  input %x: f32[4]\n  %r = RandomNormalLike(%x)\n  output %r\n}\n");
  EXPECT_EQ(code_of([&] { verify_graph(graph, {}); }), ErrorCode::unsupported);
}

// A run that has a wrong value in the middle, whatever memory there is.
TEST(CompareValues, InPortions) {
  const ir::Graph graph = parse(kNetwork);
  const GraphRun reference = reference_run(graph);
  int calls = 0;
  const GraphRun wrong = {"wrong", [&](const GraphData& inputs, const Observe& observe) {
                            ++calls;
                            return reference.call(inputs, [&](const std::string& name, const Tensor& value) {
                              if (name != "a") return observe(name, value);
                              Tensor changed(value.dtype(), value.dims());
                              return observe(name, changed);
                            });
                          }};
  const auto names = result_names(graph);
  EXPECT_EQ(names, (std::vector<std::string>{"h", "a", "y"}));
  std::map<std::string, op::TypeInfo> types;
  for (const ir::Value input : graph.inputs()) types.emplace(graph.name(input), graph.type(input));
  const GraphData inputs = make_graph_inputs(types, {}, 0);
  for (const size_t memory : {size_t{1}, size_t{130}, size_t{1} << 20}) {
    calls = 0;
    const auto result =
        compare_values(reference, std::span(&wrong, 1), inputs, names, {.bound = 1e-4, .memory_bytes = memory});
    ASSERT_EQ(result.size(), 1u);
    ASSERT_TRUE(result[0].first) << memory;
    EXPECT_EQ(result[0].first->name, "a");
    EXPECT_EQ(result[0].compared, 2);  // h and a
    EXPECT_EQ(calls, memory == 1 ? 3 : 2) << memory;
  }
  const auto same = compare_values(reference, std::span(&reference, 1), inputs, names, {.bound = 0, .memory_bytes = 1});
  EXPECT_FALSE(same[0].first);
  EXPECT_EQ(same[0].compared, 3);
}

TEST(GraphInputs, DependOnNameAndSeedOnly) {
  const ir::Graph graph = parse(kNetwork);
  const std::map<std::string, op::TypeInfo> types = {{"x", graph.type(graph.inputs()[0])}};
  const auto bytes = [&](int seed) {
    const Tensor tensor = make_graph_inputs(types, {}, seed).at("x").tensor();
    return std::vector<std::byte>(tensor.bytes().begin(), tensor.bytes().end());
  };
  EXPECT_EQ(bytes(0), bytes(0));
  EXPECT_NE(bytes(0), bytes(1));
  const std::map<std::string, op::TypeInfo> open = {{"x", op::TypeInfo::unranked(tensor::DType::f32)}};
  EXPECT_EQ(code_of([&] { make_graph_inputs(open, {}, 0); }), ErrorCode::unsupported);
}

}  // namespace
}  // namespace lathe::verify
