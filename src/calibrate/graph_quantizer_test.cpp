// Which products of a graph are found to bear 8 bits.
#include "calibrate/graph_quantizer.h"

#include <gmock/gmock.h>

#include <cmath>
#include <functional>
#include <random>

#include "calibrate/cost.h"
#include "calibrate/parts.h"
#include "compiler/graph_build.h"
#include "opt/quantize_choice.h"

namespace lathe::calibrate {
namespace {

using tensor::Tensor;
using testing::HasSubstr;
using Weights = std::map<std::string, std::function<float(int64_t)>>;

Tensor noise(const tensor::Dims& dims, const std::string& name) {
  std::mt19937 random(uint32_t(std::hash<std::string>{}(name)));
  std::normal_distribution<float> normal;
  Tensor tensor(tensor::DType::f32, dims);
  for (float& value : tensor.data<float>()) value = normal(random);
  return tensor;
}

// Constants by name are noise, unless `given` says what they are.
ir::Graph read(const std::string& text, const Weights& given = {}) {
  return ir::parse(text, [&](const std::string& name, tensor::DType, tensor::Encoding, const tensor::Dims& dims) {
    Tensor tensor = noise(dims, name);
    if (const auto it = given.find(name); it != given.end()) {
      for (int64_t i = 0; i < tensor.size(); ++i) tensor.data<float>()[size_t(i)] = it->second(i);
    }
    return tensor::memory_source(tensor, name);
  });
}

Samples samples_of(const ir::Graph& graph, const std::map<std::string, int64_t>& symbols, size_t count = 2) {
  std::map<std::string, tensor::Dims> inputs;
  for (const ir::Value input : graph.inputs()) {
    tensor::Dims& dims = inputs[graph.name(input)];
    for (const tensor::Dim& dim : graph.type(input).shape) {
      dims.push_back(dim.is_constant() ? *dim.constant() : symbols.at(dim.to_string()));
    }
  }
  return {count, [inputs](size_t index) {
            GraphData data;
            for (const auto& [name, dims] : inputs) data.emplace(name, noise(dims, fmt::format("{} {}", name, index)));
            return data;
          }};
}

const std::string kThree =
    "graph g {\n  input %x: f32[1, n, 64]\n  const %u: f32[64, 64] = \"u\" plain\n"
    "  const %v: f32[64, 64] = \"v\" plain\n  const %w: f32[64, 8] = \"w\" plain\n"
    "  %a = MatMul(%x, %u)\n  %s = Tanh(%a)\n  %b = MatMul(%s, %v)\n  %t = Tanh(%b)\n  %y = MatMul(%t, %w)\n"
    "  output %y\n}\n";

std::vector<std::string> names_of(const std::vector<plan::Island>& islands) {
  std::vector<std::string> names;
  for (const plan::Island& island : islands) names.push_back(island.name);
  return names;
}

TEST(GraphQuantizer, OrdinaryProductsBearEightBits) {
  const ir::Graph graph = read(kThree);
  const Samples samples = samples_of(graph, {{"n", 33}});
  const GraphQuantizer quantizer(graph, samples, {});
  EXPECT_EQ(quantizer.products(), 3u);
  EXPECT_EQ(quantizer.rounded(), 3u);
  EXPECT_TRUE(quantizer.kept().empty());
  for (const ProductCost& cost : quantizer.costs()) {
    EXPECT_GT(cost.db, 30) << cost.value;
    EXPECT_LT(cost.db, 60) << cost.value;
  }
  // What single products cost is what the quantised graph says of each by itself.
  const std::vector<std::string> values = {"a", "b", "y"}, fed = {"x", "s", "t"};
  const auto costs = cost_of_nodes(graph, quantizer.graph(), values, fed, samples, {});
  for (size_t i = 0; i < 3; ++i) EXPECT_NEAR(quantizer.costs()[i].db, costs[i].noise.db(), 0.01);
}

// One weight of each feature is ten thousand times the others: nothing is left of these.
TEST(GraphQuantizer, NamesTheLayerWithOutliers) {
  const ir::Graph graph = read(kThree, {{"v",
                                         [](int64_t i) {
                                           const auto noise = float((i * 7919 + 17) % 1009) / 504.5f - 1;
                                           return i / 64 == 5 ? 1e4f : noise;
                                         }},
                                        {"u", [](int64_t i) {  // what meets the large one is next to nothing
                                           const auto noise = float((i * 6007 + 3) % 1013) / 506.5f - 1;
                                           return i % 64 == 5 ? 1e-7f * noise : noise;
                                         }}});
  const GraphQuantizer quantizer(graph, samples_of(graph, {{"n", 33}}), {});
  ASSERT_EQ(names_of(quantizer.kept()), std::vector<std::string>{"b"});
  EXPECT_THAT(quantizer.kept()[0].reason, HasSubstr("dB, below 12"));
  EXPECT_EQ(quantizer.rounded(), 2u);
}

TEST(GraphQuantizer, KeepsTheWorstUntilNoneIsLeft) {
  const ir::Graph graph = read(kThree);
  const Samples samples = samples_of(graph, {{"n", 33}});
  GraphQuantizer quantizer(graph, samples, {.keep = {{"a", "asked for"}}});
  const auto costs = quantizer.costs();
  ASSERT_EQ(costs.size(), 2u);
  const std::string worst = costs[0].db < costs[1].db ? costs[0].value : costs[1].value;
  EXPECT_EQ(quantizer.keep_worst(1, "too much"), 1u);
  ASSERT_EQ(quantizer.kept().size(), 2u);
  EXPECT_EQ(quantizer.kept()[0].reason, "asked for");
  EXPECT_EQ(quantizer.kept()[1].name, worst);
  EXPECT_THAT(quantizer.kept()[1].reason, HasSubstr("too much"));
  EXPECT_EQ(quantizer.keep_worst(5, "too much"), 1u);
  EXPECT_EQ(quantizer.rounded(), 0u);
  const auto outputs = cost_of_outputs(graph, quantizer.graph(), samples, {});
  EXPECT_GT(outputs.at(0).noise.db(), 100);
}

// Logits in the thousands that nearly agree: each product for itself is well, who wins is not.
TEST(GraphQuantizer, ProductsOfLogitsStayInFloatsTogether) {
  const std::string text =
      "graph g {\n  input %x: f32[1, n, 64]\n  input %z: f32[1, n, 64]\n  const %wq: f32[64, 64] = \"wq\" plain\n"
      "  const %wk: f32[64, 64] = \"wk\" plain\n  const %wv: f32[64, 64] = \"wv\" plain\n"
      "  %q = MatMul(%x, %wq)\n  %k = MatMul(%x, %wk)\n  %v = MatMul(%z, %wv)\n"
      "  %y = Attention(%q, %k, %v) {kv_num_heads = 2, q_num_heads = 2}\n  output %y\n}\n";
  const auto scaled = [&](float scale) {
    Weights weights;
    for (const char* name : {"wq", "wk"}) {
      weights[name] = [scale, seed = int64_t(name[1])](int64_t i) {
        return scale * (float((i * 7919 + seed * 104729) % 1009) / 504.5f - 1);
      };
    }
    return read(text, weights);
  };
  const ir::Graph tame = scaled(0.02f), wild = scaled(32);
  Samples samples = samples_of(tame, {{"n", 24}});  // of tokens that are nearly alike
  samples.load = [load = samples.load](size_t index) {
    GraphData data = load(index);
    Tensor x = data.at("x").tensor();
    for (float& value : x.data<float>()) value = 1 + value / 200;
    data.at("x") = x;
    return data;
  };
  EXPECT_TRUE(GraphQuantizer(tame, samples, {}).kept().empty());
  const GraphQuantizer quantizer(wild, samples, {});
  ASSERT_EQ(names_of(quantizer.kept()), (std::vector<std::string>{"q", "k"}));
  EXPECT_THAT(quantizer.kept()[0].reason, HasSubstr("Attention \"y\" behind it"));
}

// Taps show what was asked for though it would be fused away, and memory stays that of a run.
TEST(Observable, ShowsValuesWithoutKeepingThem) {
  const ir::Graph graph = read(kThree);
  const std::vector<std::string> names = {"a", "s", "b"};
  const auto model = build_observable(graph, names);
  EXPECT_EQ(model->plan.outputs.size(), 1u);
  runtime::GraphSession session(model);
  const GraphData inputs = samples_of(graph, {{"n", 400}}).load(0);
  std::map<std::string, Tensor> seen;
  session.set_tap([&](const std::string& name, const Tensor& value) {
    Tensor copy(value.dtype(), value.dims());
    std::copy(value.bytes().begin(), value.bytes().end(), copy.mutable_bytes().begin());
    seen.emplace(name, copy);
  });
  session.run(inputs);
  for (const std::string& name : names) {
    ASSERT_TRUE(seen.contains(name)) << name;
    EXPECT_EQ(seen.at(name).dims(), (tensor::Dims{1, 400, 64}));
  }
  const float expected = std::tanh(seen.at("a").data<float>()[7]);
  EXPECT_NEAR(seen.at("s").data<float>()[7], expected, 1e-6f);
  EXPECT_LT(session.arena_bytes(), 3u * 400 * 64 * 4 + (64u << 10));
}

TEST(Choice, WhatIsNotWorthEightBits) {
  const ir::Graph graph = read(
      "graph g {\n  input %x: f32[n, 4, h, w]\n  input %t: f32[n, 32]\n  const %i: f32[64, 4, 3, 3] = \"i\" plain\n"
      "  const %c: f32[64, 64, 3, 3] = \"c\" plain\n  const %d: f32[64, 64, 3, 3] = \"d\" plain\n"
      "  const %p: f32[32, 64, 1, 1] = \"p\" plain\n  const %o: f32[4, 32, 3, 3] = \"o\" plain\n"
      "  const %e: f32[32, 8] = \"e\" plain\n"
      "  %first = Conv(%x, %i) {pads = [1, 1, 1, 1]}\n  %whole = Conv(%first, %c) {pads = [1, 1, 1, 1]}\n"
      "  %half = Conv(%whole, %d) {pads = [1, 1, 1, 1], strides = [2, 2]}\n  %point = Conv(%half, %p)\n"
      "  %last = Conv(%point, %o) {pads = [1, 1, 1, 1]}\n  %time = MatMul(%t, %e)\n"
      "  output %last\n  output %time\n}\n");
  EXPECT_FALSE(opt::products_better_in_floats(graph, true).contains("whole"));
  const auto reasons = opt::products_better_in_floats(graph, false);
  std::vector<std::string> names;
  for (const auto& [name, reason] : reasons) names.push_back(name);
  EXPECT_EQ(names, (std::vector<std::string>{"first", "last", "time", "whole"}));
  EXPECT_THAT(reasons.at("whole"), HasSubstr("Winograd"));
}

}  // namespace
}  // namespace lathe::calibrate
