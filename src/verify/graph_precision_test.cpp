// Graphs in bf16 and fp16: where they round, what that costs, what has to stay in f32, and what engines keep of it.
#include <gmock/gmock.h>

#include "base/error.h"
#include "verify/graph_calibration.h"
#include "verify/graph_engine_testing.h"
#include "verify/kernel_reference.h"
#include "verify/precision_cost.h"
#include "verify/verify_graph_engine.h"

namespace lathe::verify {
namespace {

using namespace graph_engines;
using contract::Precision;
using testing::HasSubstr;

const std::string kNetwork =
    "graph g {\n  input %x: f32[n, 20, h, w]\n  const %w: f32[37, 20, 3, 3] = \"w\" plain\n"
    "  const %v: f32[70, 37, 3, 3] = \"v\" plain\n  const %d: f32[70, 1, 3, 3] = \"d\" plain\n"
    "  const %m: f32[70, 50] = \"m\" plain\n  const %b: f32[50] = \"b\" plain\n"
    "  %a = Conv(%x, %w) {pads = [1, 1, 1, 1], strides = [2, 1]}\n  %r = Relu(%a)\n  %c = Conv(%r, %v) {pads = [1, 1, "
    "1, 1]}\n"
    "  %e = Conv(%c, %d) {group = 70, pads = [1, 1, 1, 1]}\n  %p = GlobalAveragePool(%e)\n  %f = Flatten(%p)\n"
    "  %y = Gemm(%f, %m, %b)\n  output %y\n}\n";
const Bindings kLengths = {{"n", 2}, {"h", 9}, {"w", 7}};

std::map<std::string, int64_t> layouts_of(const plan::GraphModel& model) {
  std::map<std::string, int64_t> layouts;
  for (const plan::Constant& constant : model.plan.constants) ++layouts[constant.layout];
  return layouts;
}

std::shared_ptr<const plan::GraphModel> build_in(const ir::Graph& graph, Precision precision) {
  compiler::GraphBuildOptions options;
  options.precision = precision;
  return compiler::build_graph(graph, options);
}

TEST(GraphPrecision, ProductsWithWeightsRoundAndNothingElse) {
  const ir::Graph graph = parse(kNetwork);
  const auto bf16 = layouts_of(*build_in(graph, Precision::bf16));
  EXPECT_EQ(bf16.at("conv_bf16"), 2);
  EXPECT_EQ(bf16.at("linear_bf16"), 1);
  EXPECT_EQ(bf16.at("conv_depthwise"), 1);
  EXPECT_EQ(layouts_of(*build_in(graph, Precision::fp16)).at("conv_f16"), 2);
  EXPECT_FALSE(layouts_of(*build_in(graph, Precision::fp32)).contains("conv_bf16"));
}

TEST(GraphPrecision, IsHeldToTheGraphThatRoundsAtTheSamePlaces) {
  const ir::Graph graph = parse(kNetwork);
  for (const Precision precision : {Precision::bf16, Precision::fp16}) {
    GraphVerifyOptions options;
    options.threads = 2;
    options.precision = precision;
    for (const auto& [name, length] : kLengths) options.lengths[name] = {length};
    const GraphReport report = verify_graph(graph, options);
    EXPECT_TRUE(report.pass) << describe(report);
    EXPECT_EQ(report.precision, precision == Precision::bf16 ? "bf16" : "f16");
    ASSERT_FALSE(report.gates.empty());
    for (size_t i = 0; i + 1 < report.gates.size(); ++i) EXPECT_EQ(report.gates[i].bound, 1e-4);
    const plan::Gate& cost = report.gates.back();
    EXPECT_THAT(cost.name, HasSubstr("against fp32"));
    EXPECT_GT(cost.value, precision == Precision::bf16 ? 40 : 60);  // dB; not so many that nothing was rounded
    EXPECT_LT(cost.value, precision == Precision::bf16 ? 80 : 100);
  }
}

// Against the plain graph the same kernels fail the band of f32: what they are held to does round.
TEST(GraphPrecision, RoundsAtAll) {
  const ir::Graph graph = parse(kNetwork);
  const KernelReference reference = kernel_reference(graph, *build_in(graph, Precision::bf16));
  EXPECT_TRUE(reference.rounded);
  EXPECT_TRUE(reference.forced);
  EXPECT_EQ(reference.band, "f32");
  const auto inputs = make_inputs(graph, kLengths);
  const double loss = psnr(tensor::to_floats(ir::evaluate(graph, inputs).at("y")),
                           tensor::to_floats(ir::evaluate(reference.graph, inputs).at("y")));
  EXPECT_GT(loss, 40);
  EXPECT_LT(loss, 80);
  EXPECT_FALSE(kernel_reference(graph, *build_in(graph, Precision::fp32)).rounded);
}

// Small whole numbers, which 8 bits hold, and sums that f32 holds: no precision changes a bit.
TEST(GraphPrecision, WholeNumbersAreTheSameInAll) {
  ir::Graph graph =
      ir::parse(kNetwork, [](const std::string& name, tensor::DType dtype, tensor::Encoding, const tensor::Dims& dims) {
        tensor::Tensor tensor(dtype, dims);
        int next = int(name[0]);
        for (float& value : tensor.data<float>()) value = float((next = next * 31 % 127) % 5 - 2);
        return tensor::memory_source(tensor, name);
      });
  graph.replace_outputs({*graph.find("a")});  // one product: what follows sums to more than 8 bits
  auto inputs = make_inputs(graph, kLengths);
  int next = 1;
  for (float& value : inputs.at("x").data<float>()) value = float((next = next * 37 % 251) - 125);
  const Data given{inputs.begin(), inputs.end()};
  const Data expected = run_once(build_in(graph, Precision::fp32), given);
  expect_equal(expected, run_once(build_in(graph, Precision::bf16), given));
  expect_equal(expected, run_once(build_in(graph, Precision::fp16), given));
}

compiler::GraphEngineOptions options_for(Precision precision) {
  compiler::GraphEngineOptions options;
  options.build.precision = precision;
  return options;
}

TEST(GraphPrecision, AnEngineIsHalfAsLargeAndMakesItselfAgain) {
  const std::string text =
      "graph g {\n  input %x: f32[n, 400]\n  const %w: f32[400, 320] = \"w\" plain\n"
      "  const %v: f32[320, 400] = \"v\" plain\n  %a = MatMul(%x, %w)\n  %y = MatMul(%a, %v)\n  output %y\n}\n";
  const ir::Graph graph = parse(text);
  const fs::path path = scratch("half.lathe"), again = scratch("half_again.lathe");
  for (const Precision precision : {Precision::bf16, Precision::fp16}) {
    PreparedGraphEngine(request_of(graph), options_for(precision)).write(path);
    const auto engine = EngineFile::open(path);
    EXPECT_LT(engine->manifest().weight_bytes, 2 * 400 * 320 * 2 + 3 * 4096);
    EXPECT_EQ(engine->manifest().graphs[0].precision, precision);
    const plan::Receipt receipt = verify_graph_engine(path, {});
    EXPECT_TRUE(receipt.pass);
    PreparedGraphEngine(compiler::engine_request(engine), options_for(precision)).write(again);
    EXPECT_EQ(read_text_file(path), read_text_file(again));
  }
}

ir::Graph with_weights(const std::string& text, const std::map<std::string, std::function<float(int64_t)>>& weights) {
  return ir::parse(text, [&](const std::string& name, tensor::DType dtype, tensor::Encoding, const tensor::Dims& dims) {
    tensor::Tensor tensor(dtype, dims);
    opt::fill_with_noise(tensor, name);
    if (const auto it = weights.find(name); it != weights.end()) {
      for (int64_t i = 0; i < tensor.size(); ++i) tensor.data<float>()[size_t(i)] = it->second(i);
    }
    return tensor::memory_source(tensor, name);
  });
}

const std::string kTwoProducts =
    "graph g {\n  input %x: f32[n, 64]\n  const %w: f32[64, 64] = \"w\" plain\n  const %v: f32[64, 64] = \"v\" plain\n"
    "  %a = MatMul(%x, %w)\n  %t = Tanh(%a)\n  %y = MatMul(%t, %v)\n  output %y\n}\n";

Calibration calibrated(const ir::Graph& graph, Precision precision, const GraphData& inputs) {
  return calibrate(graph, precision, std::span(&inputs, 1), {.threads = 1});
}
GraphData data_of(const std::map<std::string, tensor::Tensor>& inputs) {
  return {inputs.begin(), inputs.end()};
}

TEST(Calibration, OrdinaryProductsNeedNoIslands) {
  const ir::Graph graph = parse(kTwoProducts);
  for (const Precision precision : {Precision::bf16, Precision::fp16}) {
    const Calibration found = calibrated(graph, precision, data_of(make_inputs(graph, {{"n", 5}})));
    EXPECT_EQ(found.products, 2);
    EXPECT_TRUE(found.islands.empty());
    EXPECT_GT(found.worst, 1e-5);
    EXPECT_LT(found.worst, precision == Precision::bf16 ? 6e-3 : 6e-4);
  }
}

// Inputs of about 1000 whose sum is about 1: eight bits leave nothing of it.
TEST(Calibration, ACancellingProductIsAnIsland) {
  const ir::Graph graph = with_weights(kTwoProducts, {{"w", [](int64_t i) { return i / 64 % 2 == 0 ? 1.0f : -1.0f; }}});
  auto inputs = make_inputs(graph, {{"n", 5}});
  for (float& value : inputs.at("x").data<float>()) value = 1000 + value;
  const Calibration found = calibrated(graph, Precision::bf16, data_of(inputs));
  ASSERT_EQ(found.islands.size(), 1u);
  EXPECT_EQ(found.islands[0].name, "a");
  EXPECT_THAT(found.islands[0].reason, HasSubstr("its result moves by"));
  compiler::GraphBuildOptions options;
  options.precision = Precision::bf16;
  options.islands = found.islands;
  EXPECT_EQ(layouts_of(*compiler::build_graph(graph, options)).at("f32_panel"), 1);
}

TEST(Calibration, WhatFp16DoesNotHoldStaysByItself) {
  const std::map<std::string, std::function<float(int64_t)>> weights = {
      {"w", [](int64_t i) { return i == 7 ? 1e5f : 1.0f; }}, {"v", [](int64_t i) { return float(i % 7) * 1e-7f; }}};
  const ir::Graph graph = with_weights(kTwoProducts, weights);
  PreparedGraphEngine engine(request_of(graph), options_for(Precision::fp16));
  const auto islands = engine.islands();
  ASSERT_EQ(islands.at("main").size(), 2u);
  EXPECT_THAT(islands.at("main")[0].reason, HasSubstr("a weight of 100000 is beyond fp16"));
  EXPECT_THAT(islands.at("main")[1].reason, HasSubstr("so small that fp16 loses"));
  // They are not found twice, and bf16 holds them.
  EXPECT_TRUE(calibrated(graph, Precision::fp16, data_of(make_inputs(graph, {{"n", 3}}))).islands.empty());
  EXPECT_TRUE(PreparedGraphEngine(request_of(graph), options_for(Precision::bf16)).islands().empty());
}

// Logits in the hundreds that are nearly equal: what bf16 moves them by decides who wins. Each product for itself is
// well.
TEST(Calibration, ProductsOfLogitsAreIslandsTogether) {
  const std::string text =
      "graph g {\n  input %x: f32[1, n, 64]\n  input %z: f32[1, n, 64]\n  const %wq: f32[64, 64] = \"wq\" plain\n"
      "  const %wk: f32[64, 64] = \"wk\" plain\n  const %wv: f32[64, 64] = \"wv\" plain\n"
      "  const %heads: i64[4] = {0, 0, 2, 32}\n"
      "  %q0 = MatMul(%x, %wq)\n  %k0 = MatMul(%x, %wk)\n  %v0 = MatMul(%z, %wv)\n"
      "  %q1 = Reshape(%q0, %heads)\n  %k1 = Reshape(%k0, %heads)\n  %v1 = Reshape(%v0, %heads)\n"
      "  %q = Transpose(%q1) {perm = [0, 2, 1, 3]}\n  %k = Transpose(%k1) {perm = [0, 2, 1, 3]}\n"
      "  %v = Transpose(%v1) {perm = [0, 2, 1, 3]}\n  %y = Attention(%q, %k, %v)\n  output %y\n}\n";
  const auto scaled = [&](float scale) {
    std::map<std::string, std::function<float(int64_t)>> weights;
    for (const char* name : {"wq", "wk"}) {
      weights[name] = [scale, seed = int64_t(name[1])](int64_t i) {
        return scale * (float((i * 7919 + seed * 104729) % 1009) / 504.5f - 1);
      };
    }
    return with_weights(text, weights);
  };
  const ir::Graph tame = scaled(0.1f), wild = scaled(8);
  auto given = make_inputs(tame, {{"n", 24}});
  for (float& value : given.at("x").data<float>()) value = 1 + value / 20;
  const GraphData inputs = data_of(given);
  EXPECT_TRUE(calibrated(tame, Precision::bf16, inputs).islands.empty());
  const Calibration found = calibrated(wild, Precision::bf16, inputs);
  ASSERT_EQ(found.islands.size(), 2u);
  EXPECT_THAT(found.islands[0].reason, HasSubstr("the result of Attention"));
  EXPECT_EQ((std::set<std::string>{found.islands[0].name, found.islands[1].name}), (std::set<std::string>{"q0", "k0"}));
}

}  // namespace
}  // namespace lathe::verify
