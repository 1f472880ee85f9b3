// Graphs inside nodes, sequences, optionals and types that only the run knows.
#include <gtest/gtest.h>

#include "base/error.h"
#include "ir/body.h"

namespace lathe::ir {
namespace {

using op::Datum;
using tensor::DType;
using tensor::Tensor;

// x times 2 to the n, where x is a sum of what is around; %scale is captured.
constexpr std::string_view kLoop = R"(graph main {
  input %x: f32[2]
  input %n: i64[]
  input %scale: f32[]
  %last: f32[2], %all: f32[Loop_last_64, 2] = Loop(%n, _, %x, %scale) {body = graph body {
    input %round: i64[]
    input %go: bool[]
    input %state: f32[2]
    input %by: f32[]
    %next: f32[2] = Mul(%state, %by)
    output %go
    output %next
    %copy: f32[2] = Identity(%next)
    output %copy
  }, num_captures = 1}
  output %last
  output %all
}
)";

ErrorCode code_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << "no error";
  return ErrorCode::internal;
}

std::map<std::string, Datum> loop_inputs(int64_t rounds) {
  return {{"x", Tensor::of<float>({2}, {1, 3})}, {"n", Tensor::scalar(rounds)}, {"scale", Tensor::scalar(2.0f)}};
}

TEST(Body, ALoopRunsStacksAndCaptures) {
  const Graph graph = parse(kLoop, {});
  EXPECT_NO_THROW(verify(graph));
  const auto results = evaluate_data(graph, loop_inputs(3));
  EXPECT_EQ(tensor::to_floats(results.at("last").tensor()), (std::vector<float>{8, 24}));
  EXPECT_EQ(tensor::to_floats(results.at("all").tensor()), (std::vector<float>{2, 6, 4, 12, 8, 24}));
  EXPECT_EQ(results.at("all").tensor().dims(), (tensor::Dims{3, 2}));
}

TEST(Body, NoRoundsGiveTheStateAndAnEmptyStack) {
  const auto results = evaluate_data(parse(kLoop, {}), loop_inputs(0));
  EXPECT_EQ(tensor::to_floats(results.at("last").tensor()), (std::vector<float>{1, 3}));
  EXPECT_EQ(results.at("all").tensor().dims(), (tensor::Dims{0, 2}));
}

TEST(Body, ALoopWithoutEndIsEnded) {
  EvaluateOptions options;
  options.limits.max_iterations = 10;
  const Graph graph = parse(kLoop, {});
  EXPECT_NO_THROW(evaluate_data(graph, loop_inputs(10), options));
  EXPECT_EQ(code_of([&] { evaluate_data(graph, loop_inputs(11), options); }), ErrorCode::resource);
}

TEST(Body, PrintsWhatItParsed) {
  const Graph graph = parse(kLoop, {});
  const std::string text = print(graph);
  EXPECT_EQ(print(parse(text, {})), text);
  EXPECT_NE(text.find("graph body {\n    input %round: i64[]"), std::string::npos) << text;
}

TEST(Body, ABrokenBodyIsFound) {
  std::string text(kLoop);
  text.replace(text.find("%next: f32[2] = Mul"), 13, "%next: f32[3]");
  EXPECT_EQ(code_of([&] { parse(text, {}); }), ErrorCode::invalid_input);
}

TEST(Body, GraphsNestToADepth) {
  std::string text = "graph g { input %c: bool[] ";
  std::string end;
  for (int i = 0; i < 100; ++i) {
    text += "%y = If(%c) {then_branch = graph t { ";
    end += "}}";
  }
  EXPECT_EQ(code_of([&] { parse(text + end, {}); }), ErrorCode::invalid_input);
}

TEST(Body, EqualBodiesAreOneNode) {
  const Graph graph = parse(kLoop, {});
  const Graph same = parse(kLoop, {});
  std::string other(kLoop);
  other.replace(other.find("Mul(%state"), 10, "Add(%state");
  const auto& body = [](const Graph& g) -> const op::Attributes& { return g.node(g.nodes()[0]).attributes; };
  EXPECT_TRUE(body(graph) == body(same));
  EXPECT_FALSE(body(graph) == body(parse(other, {})));
}

TEST(Body, BranchesOfDifferentLengthsJoin) {
  const Graph graph = parse(R"(graph g {
  input %c: bool[]
  input %x: f32[2]
  %y = If(%c, %x, %x) {
    else_branch = graph e { input %a: f32[2] output %a },
    then_branch = graph t { input %a: f32[2] %b = Concat(%a, %a) {axis = 0} output %b }}
  output %y
})",
                            {});
  const op::TypeInfo& type = graph.type(graph.outputs()[0]);
  EXPECT_TRUE(type.is_plain() && type.shape.size() == 1 && !type.shape[0].is_constant()) << op::to_string(type);
  for (const bool condition : {false, true}) {
    const auto results =
        evaluate_data(graph, {{"c", Tensor::scalar(condition)}, {"x", Tensor::of<float>({2}, {1, 2})}});
    EXPECT_EQ(results.at("y").tensor().size(), condition ? 4 : 2);
  }
}

TEST(Body, WhatFollowsASequenceHasNoKnownTypeButRuns) {
  constexpr std::string_view kText = R"(graph g {
  input %s: sequence(f32)
  input %maybe: optional(f32)
  input %any: f32[...]
  const %first: i64[] = {0}
  %x: f32[...] = SequenceAt(%s, %first)
  %y: ? = Add(%x, %any)
  %has: bool[] = OptionalHasElement(%maybe)
  output %y
  output %has
}
)";
  const Graph graph = parse(kText, {});
  EXPECT_EQ(print(graph), kText);
  const Tensor item = Tensor::of<float>({2}, {1, 2});
  const auto results =
      evaluate_data(graph, {{"s", Datum::sequence({item, item})}, {"any", Tensor::of<float>({2, 1}, {10, 20})}});
  EXPECT_EQ(results.at("y").tensor().dims(), (tensor::Dims{2, 2}));
  EXPECT_FALSE(results.at("has").tensor().data<bool>()[0]);
  // A dtype that the declared type excludes is found before the run, one that no operator takes in it.
  EXPECT_EQ(code_of([&] { evaluate_data(graph, {{"s", item}, {"any", item}}); }), ErrorCode::invalid_input);
  const Tensor whole = Tensor::of<int64_t>({1}, {1});
  EXPECT_EQ(code_of([&] { evaluate_data(graph, {{"s", Datum::sequence({whole})}, {"any", item}}); }),
            ErrorCode::invalid_input);
}

TEST(Body, AnOptionalHoldsSomethingOrNothing) {
  const Graph graph = parse(R"G(graph g {
  input %x: f32[2]
  %some: optional(f32) = Optional(%x)
  %none: optional(sequence(i64)) = Optional() {type = "sequence(i64[...])"}
  %a: bool[] = OptionalHasElement(%some)
  %b: bool[] = OptionalHasElement(%none)
  %y: f32[...] = OptionalGetElement(%some)
  %z: sequence(i64) = OptionalGetElement(%none)
  output %a
  output %b
  output %y
  output %z
})G",
                            {});
  const std::map<std::string, Datum> inputs = {{"x", Tensor::of<float>({2}, {1, 2})}};
  EvaluateOptions options;
  for (const char* name : {"a", "b", "y"}) options.results.push_back(*graph.find(name));
  const auto results = evaluate_data(graph, inputs, options);
  EXPECT_TRUE(results.at("a").tensor().data<bool>()[0]);
  EXPECT_FALSE(results.at("b").tensor().data<bool>()[0]);
  EXPECT_EQ(tensor::to_floats(results.at("y").tensor()), (std::vector<float>{1, 2}));
  EXPECT_EQ(code_of([&] { evaluate_data(graph, inputs); }), ErrorCode::invalid_input);  // nothing to get from %none
}

}  // namespace
}  // namespace lathe::ir
