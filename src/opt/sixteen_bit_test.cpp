#include "opt/sixteen_bit.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/error.h"
#include "opt/half_range.h"
#include "opt/numeric_check.h"

namespace lathe::opt {
namespace {

using tensor::DType;
using tensor::Tensor;

// A network with what the conversion must tell apart: products, a normalisation, what only moves numbers, a result of
// several outputs, one that is read by a wide and by a narrow node, constants that several read, and integers.
constexpr std::string_view kNetwork = R"(graph main {
  input %x: f32[n, 4]
  input %ids: i64[n]
  const %table: f32[3, 4] = {0.1, -0.2, 0.3, 0.4, 0.5, 0.6, -0.7, 0.8, 0.9, 1.0, 1.1, 1.2}
  const %w: f32[4, 4] = {1.1, 0.5, -2.0, 0.25, 0.5, 0.3, 0.2, 0.1, 0.7, -0.9, 0.11, 0.13, -0.17, 0.19, 0.23, 0.29}
  const %s: f32[4] = {1.0, 0.9, 0.8, 0.7}
  const %b: f32[4] = {0.1, 0.2, 0.3, 0.4}
  %e = Gather(%table, %ids)
  %h = Add(%x, %e)
  %m = MatMul(%h, %w)
  %norm = LayerNormalization(%m, %s, %b)
  %parts, %rest = Split(%norm) {axis = 1, num_outputs = 2}
  %p = Mul(%parts, %rest)
  %wide = Exp(%p)
  %both = Concat(%p, %wide) {axis = 1}
  %t = Transpose(%both) {perm = [1, 0]}
  %back = Transpose(%t) {perm = [1, 0]}
  %y = MatMul(%back, %w)
  %best = ArgMax(%y) {axis = 1}
  output %y
  output %best
  output %wide
})";

ir::Graph network() { return ir::parse(kNetwork, {}); }

DType type_of(const ir::Graph& graph, std::string_view name) { return graph.type(*graph.find(name)).dtype; }

const SixteenBitPlace& place_of(const std::vector<SixteenBitPlace>& places, std::string_view value) {
  for (const SixteenBitPlace& place : places) {
    if (place.value == value) return place;
  }
  fail(ErrorCode::not_found, "no place {}", value);
}

// Operators of `graph` with an output of 16 bits, Casts aside.
std::vector<std::string> narrow_ops(const ir::Graph& graph) {
  std::vector<std::string> ops;
  for (const ir::NodeId id : graph.nodes()) {
    const DType dtype = graph.type(graph.node(id).outputs[0]).dtype;
    if (graph.node(id).op != "Cast" && (dtype == DType::f16 || dtype == DType::bf16)) ops.push_back(graph.node(id).op);
  }
  return ops;
}

TEST(SixteenBit, InputsAndOutputsKeepNamesAndTypesAndNodesAreNarrow) {
  ir::Graph graph = network();
  const auto places = to_sixteen_bits(graph, {.type = DType::f16, .opset = 18});
  ir::verify(graph);
  EXPECT_EQ(type_of(graph, "x"), DType::f32);
  EXPECT_EQ(type_of(graph, "y"), DType::f32);
  EXPECT_EQ(type_of(graph, "wide"), DType::f32);
  EXPECT_EQ(type_of(graph, "best"), DType::i64);
  const std::vector<std::string> expected = {"Gather", "Add", "MatMul", "LayerNormalization", "Split", "Mul",
                                             "Exp",    "Concat", "Transpose", "Transpose", "MatMul"};
  EXPECT_EQ(narrow_ops(graph), expected);
  EXPECT_EQ(places.size(), 8u);  // those that compute, the look-up and ArgMax: not Split, Concat, Transpose
  for (const SixteenBitPlace& place : places) EXPECT_EQ(place.kept.empty(), place.op != "ArgMax") << place.value;
}

// What is simulated in f32 is what the graph gives, to the bit: numbers that were measured on one hold for the other.
TEST(SixteenBit, TheSimulationGivesTheSameNumbers) {
  for (const DType type : {DType::f16, DType::bf16}) {
    for (const std::map<std::string, std::string, std::less<>>& keep :
         {std::map<std::string, std::string, std::less<>>{},
          {{"p", "a test"}},
          {{"norm", "a test"}, {"wide", "a test"}}}) {
      ir::Graph real = network(), simulated = network();
      const SixteenBitOptions options{.type = type, .opset = 23, .keep = keep};
      to_sixteen_bits(real, options);
      round_to_sixteen_bits(simulated, options);
      ir::verify(simulated);
      const auto inputs = generate_inputs(network());
      const auto expected = ir::evaluate(real, inputs), found = ir::evaluate(simulated, inputs);
      const auto wide = ir::evaluate(network(), inputs);
      for (const auto& [name, tensor] : expected) {
        const auto a = tensor.bytes(), b = found.at(name).bytes();
        EXPECT_TRUE(a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0) << name;
      }
      EXPECT_NE(wide.at("y").data<float>()[0], found.at("y").data<float>()[0]) << "nothing was rounded";
      EXPECT_NEAR(wide.at("y").data<float>()[0], found.at("y").data<float>()[0], 0.05);
    }
  }
}

TEST(SixteenBit, AnIslandReadsAndGivesF32) {
  ir::Graph graph = network();
  const auto places = to_sixteen_bits(graph, {.type = DType::f16, .opset = 18, .keep = {{"norm", "because"}}});
  EXPECT_EQ(place_of(places, "norm").kept, "because");
  EXPECT_EQ(type_of(graph, "norm"), DType::f32);
  const ir::Node& norm = graph.node(graph.producer(*graph.find("norm")));
  for (const ir::Value input : norm.inputs) EXPECT_EQ(graph.type(input).dtype, DType::f32);
  EXPECT_EQ(graph.node(graph.producer(norm.inputs[0])).op, "Cast");
}

TEST(SixteenBit, WhatMovesNumbersFollowsThem) {
  ir::Graph graph = ir::parse(R"(graph main {
  input %x: f32[2, 3]
  %t = Transpose(%x) {perm = [1, 0]}
  %e = Exp(%t)
  %u = Transpose(%e) {perm = [1, 0]}
  output %u
  output %t
})",
                              {});
  to_sixteen_bits(graph, {.type = DType::f16, .opset = 18});
  EXPECT_EQ(narrow_ops(graph),
            (std::vector<std::string>{"Exp", "Transpose"}));  // x is f32 and needs no rounding to be moved
}

TEST(SixteenBit, NumbersThatTheTypeDoesNotHoldKeepTheirNode) {
  const auto kept = [](float number, DType type) {
    ir::Graph graph;
    const ir::Value x = graph.add_input("x", {.dtype = DType::f32, .shape = {tensor::Dim(2)}});
    const ir::Value c = graph.add_constant("c", Tensor::of<float>({2}, {0.5f, number}));
    graph.add_output(
        graph.node(graph.add_node("Where", {graph.node(graph.add_node("Greater", {x, c})).outputs[0], x, c}))
            .outputs[0],
        "y");
    return place_of(to_sixteen_bits(graph, {.type = type, .opset = 18}), "y").kept;
  };
  EXPECT_NE(kept(-3.4028235e38f, DType::f16).find("beyond fp16"), std::string::npos);
  EXPECT_NE(kept(-3.4028235e38f, DType::bf16).find("beyond bf16"), std::string::npos);
  EXPECT_NE(kept(70000, DType::f16).find("70000"), std::string::npos);
  EXPECT_EQ(kept(70000, DType::bf16), "");
  EXPECT_EQ(kept(-INFINITY, DType::f16), "");
  EXPECT_EQ(kept(0.25f, DType::f16), "");
}

TEST(SixteenBit, SmallWeightsAreLostInF16) {
  const auto source = [](float number) {
    return tensor::memory_source(Tensor::of<float>({3}, {number, -number, number / 3}), "w");
  };
  EXPECT_TRUE(refusal_of(*source(1e-7f), DType::f16));
  EXPECT_FALSE(refusal_of(*source(1e-7f), DType::bf16));
  EXPECT_FALSE(refusal_of(*source(1e-2f), DType::f16));
}

TEST(SixteenBit, AnOpsetWithoutTheOperatorInThatTypeKeepsIt) {
  const auto kept = [](std::string_view op, DType type, int opset) {
    ir::Graph graph;
    const ir::Value x =
        graph.add_input("x", {.dtype = DType::f32, .shape = {tensor::Dim(1), tensor::Dim(1), tensor::Dim(4)}});
    const ir::Value w = graph.add_constant("w", Tensor::of<float>({1, 1, 2}, {0.5f, 1.5f}));
    const std::vector<ir::Value> inputs = op == "Conv" ? std::vector{x, w} : std::vector{x};
    graph.add_output(graph.node(graph.add_node(op, inputs)).outputs[0], "y");
    return place_of(to_sixteen_bits(graph, {.type = type, .opset = opset}), "y").kept;
  };
  EXPECT_EQ(kept("Conv", DType::bf16, 21), "opset 21 has no Conv of bf16");
  EXPECT_EQ(kept("Conv", DType::bf16, 22), "");
  EXPECT_EQ(kept("Conv", DType::f16, 13), "");
  EXPECT_EQ(kept("Exp", DType::f16, 18), "");
}

TEST(SixteenBit, NodesThatHoldGraphsOrQuantiseStay) {
  ir::Graph graph = ir::parse(R"(graph main {
  input %x: f32[4]
  const %s: f32[] = {0.1}
  const %z: u8[] = {3}
  %q = QuantizeLinear(%x, %s, %z)
  %d = DequantizeLinear(%q, %s, %z)
  %y = Exp(%d)
  output %y
})",
                              {});
  const auto places = to_sixteen_bits(graph, {.type = DType::f16, .opset = 21});
  EXPECT_EQ(place_of(places, "q").kept, "it quantises");
  EXPECT_EQ(place_of(places, "d").kept, "it quantises");
  EXPECT_EQ(place_of(places, "y").kept, "");
}

// Positions and angles: samples of a few tokens do not show what f16 makes of the thousandth.
TEST(SixteenBit, WholeNumbersAndAnglesStay) {
  ir::Graph graph = ir::parse(R"(graph main {
  input %positions: i64[n]
  input %time: f32[1]
  input %x: f32[n, 2]
  const %axis: i64[1] = {1}
  const %f: f32[1, 2] = {1.0, 0.01}
  const %g: f32[1] = {0.5}
  %p = Cast(%positions) {to = 1}
  %column = Unsqueeze(%p, %axis)
  %angles = MatMul(%column, %f)
  %cos = Cos(%angles)
  %turned = Mul(%cos, %x)
  %phase = Mul(%time, %g)
  %wave = Sin(%phase)
  %hidden = Exp(%x)
  %sine = Sin(%hidden)
  %most = ArgMax(%hidden) {axis = 1}
  output %turned
  output %wave
  output %sine
  output %most
})",
                              {});
  const auto places = to_sixteen_bits(graph, {.type = DType::f16, .opset = 18});
  EXPECT_NE(place_of(places, "angles").kept.find("whole numbers"), std::string::npos);
  for (const char* name : {"cos", "phase", "wave"}) {
    EXPECT_NE(place_of(places, name).kept.find("sine"), std::string::npos) << name;
  }
  EXPECT_NE(place_of(places, "most").kept.find("its result is i64"), std::string::npos);
  for (const char* name : {"turned", "hidden", "sine"}) EXPECT_EQ(place_of(places, name).kept, "") << name;
}

// A look-up of constants can be an island; what only moves results is as narrow as they are; lengths cost no Cast.
TEST(SixteenBit, ConstantsThatAreMovedCanStay) {
  const auto graph_of = [] {
    return ir::parse(R"(graph main {
  input %ids: i64[n]
  input %x: f32[n, 2]
  const %table: f32[3, 2] = {1000.0, 1000.1, 1000.2, 1000.3, 1000.4, 1000.5}
  const %base: f32[] = {1000.0}
  %rows = Gather(%table, %ids)
  %y = Sub(%rows, %base)
  %e = Exp(%x)
  %s = Shape(%e)
  %both = Concat(%x, %e) {axis = 1}
  output %y
  output %s
  output %both
})",
                     {});
  };
  ir::Graph graph = graph_of();
  const auto places =
      to_sixteen_bits(graph, {.type = DType::f16, .opset = 18, .keep = {{"rows", "a test"}, {"y", "a test"}}});
  EXPECT_EQ(place_of(places, "rows").kept, "a test");
  const auto inputs = generate_inputs(graph);
  EXPECT_EQ(ir::evaluate(graph, inputs).at("y").data<float>()[1],
            ir::evaluate(graph_of(), inputs).at("y").data<float>()[1]);
  const ir::Value measured = graph.node(graph.producer(*graph.find("s"))).inputs[0];
  EXPECT_EQ(graph.type(measured).dtype, DType::f16);
  EXPECT_EQ(narrow_ops(graph), std::vector<std::string>{"Exp"});  // x of the Concat was never narrow
}

TEST(SixteenBit, ANameToKeepMustBeOneOfANode) {
  ir::Graph graph = network();
  EXPECT_THROW(to_sixteen_bits(graph, {.keep = {{"nothing", "asked for"}}}), Error);
}

}  // namespace
}  // namespace lathe::opt
