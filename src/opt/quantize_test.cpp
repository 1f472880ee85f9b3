#include "opt/quantize.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "ir/graph.h"
#include "op/values.h"

namespace lathe::opt {
namespace {

using ir::Graph;
using ir::Node;
using ir::Value;
using tensor::DType;
using tensor::Tensor;

const Node* producer_of(const Graph& graph, Value value) {
  const ir::NodeId id = graph.producer(value);
  return id ? &graph.node(id) : nullptr;
}

// The one node of that operator.
const Node& only(const Graph& graph, std::string_view op) {
  const Node* found = nullptr;
  for (const ir::NodeId id : graph.nodes()) {
    if (graph.node(id).op != op) continue;
    EXPECT_EQ(found, nullptr) << "two of " << op;
    found = &graph.node(id);
  }
  EXPECT_NE(found, nullptr) << "no " << op;
  return *found;
}

Graph read(std::string_view text) {
  return ir::parse(text, {});
}

constexpr std::string_view kPerceptron = R"(graph main {
  input %x: f32[2, 3]
  const %w: f32[3, 2] = {1.0, 0.5, -2.0, 0.25, 0.5, 0.0}
  const %b: f32[2] = {0.25, -1.0}
  %y = Gemm(%x, %w, %b) {alpha = 1, beta = 1, transA = 0, transB = 0}
  output %y
})";

TEST(Quantize, ScalesOfBytesHoldZeroAndBothEnds) {
  EXPECT_EQ(byte_scale({0, 255}).scale, 1.0f);
  EXPECT_EQ(byte_scale({0, 255}).zero, 0);
  EXPECT_EQ(byte_scale({2, 255}).zero, 0);  // 0 is among them though the values begin at 2
  EXPECT_EQ(byte_scale({-1, 0}).zero, 255);
  const ByteScale both = byte_scale({-0.5, 2});
  EXPECT_FLOAT_EQ(both.scale, float(2.5 / 255));
  EXPECT_EQ(both.zero, 51);
  EXPECT_EQ(byte_scale({0, 0}).scale, 1.0f);
}

TEST(Quantize, WeightsAreRoundedForEachFeatureAndBiasesInStepsOfTheProduct) {
  Graph graph = read(kPerceptron);
  const auto places = quantize(graph, {{"x", {-1, 1}}});
  ASSERT_EQ(places.size(), 1u);
  EXPECT_EQ(places[0].kept, "");
  ir::verify(graph);
  const Node& gemm = only(graph, "Gemm");
  const Node* w = producer_of(graph, gemm.inputs[1]);
  ASSERT_TRUE(w && w->op == "DequantizeLinear");
  EXPECT_EQ(w->attributes.get_int("axis", -9), 1);
  // Columns [1, -2, 0.5] and [0.5, 0.25, 0], largest 2 and 0.5, 127 steps each.
  const std::vector<double> codes = {64, 127, -127, 64, 32, 0};
  EXPECT_EQ(op::load<double>(*graph.small_constant(w->inputs[0])), codes);
  EXPECT_EQ(op::load<double>(*graph.small_constant(w->inputs[1])),
            (std::vector<double>{double(2.0f / 127), double(0.5f / 127)}));
  const Node* b = producer_of(graph, gemm.inputs[2]);
  ASSERT_TRUE(b && b->op == "DequantizeLinear");
  const double x_scale = double(byte_scale({-1, 1}).scale);
  EXPECT_EQ(op::load<double>(*graph.small_constant(b->inputs[0])),
            (std::vector<double>{std::nearbyint(0.25 / (x_scale * double(2.0f / 127))),
                                 std::nearbyint(-1.0 / (x_scale * double(0.5f / 127)))}));
  const Node* x = producer_of(graph, gemm.inputs[0]);
  ASSERT_TRUE(x && x->op == "DequantizeLinear");
  EXPECT_EQ(producer_of(graph, x->inputs[0])->op, "QuantizeLinear");
}

TEST(Quantize, ResultsAreNearTheFloats) {
  const Graph floats = read(kPerceptron);
  Graph graph = floats;
  quantize(graph, {{"x", {-1, 1}}});
  const std::map<std::string, Tensor> inputs = {{"x", Tensor::of<float>({2, 3}, {-1, 0.5f, 0.25f, 1, -0.75f, 0.1f})}};
  const auto expected = op::load<double>(ir::evaluate(floats, inputs).at("y"));
  const auto found = op::load<double>(ir::evaluate(graph, inputs).at("y"));
  // Three products whose factors are half a step away at the most, and half a step of the bias.
  const double x_step = 2.0 / 255, w_step = 2.0 / 127;
  const double bound = 3 * (x_step / 2 * 2 + w_step / 2 * 1 + x_step * w_step / 4) + x_step * w_step / 2;
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(found[i], expected[i], bound);
}

// Of a value that a product and something else read, only the product reads the rounded one; a sum does as well where
// what it makes is rounded.
TEST(Quantize, OnlyProductsAndSumsBetweenThemReadRoundedValues) {
  Graph graph = read(R"(graph main {
  input %x: f32[2, 2]
  const %w: f32[2, 2] = {1.0, 0.5, -2.0, 0.25}
  const %v: f32[2, 2] = {1.0, 0.25, -1.0, 0.5}
  %a = MatMul(%x, %w)
  %sum = Add(%a, %x)
  %r = Relu(%sum)
  %b = MatMul(%r, %v)
  %last = Add(%b, %r)
  %e = Exp(%x)
  output %last
  output %e
})");
  EXPECT_EQ(activations_to_quantize(graph), (std::vector<std::string>{"x", "r", "a"}));
  quantize(graph, {{"x", {-1, 1}}, {"r", {0, 4}}, {"a", {-3, 3}}});
  ir::verify(graph);
  const auto reads_rounded = [&](std::string_view result, size_t input) {
    const Node* node = producer_of(graph, *graph.find(result));
    const Node* from = producer_of(graph, node->inputs[input]);
    return from && from->op == "DequantizeLinear";
  };
  EXPECT_TRUE(reads_rounded("a", 0));
  EXPECT_TRUE(reads_rounded("sum", 0));
  EXPECT_TRUE(reads_rounded("sum", 1));
  EXPECT_TRUE(reads_rounded("b", 0));
  EXPECT_FALSE(reads_rounded("last", 1));  // what it makes is not rounded
  EXPECT_FALSE(reads_rounded("e", 0));
}

TEST(Quantize, SaysWhatStaysAndWhy) {
  Graph graph = read(R"(graph main {
  input %x: f32[2, 2]
  input %u: f32[2, 2]
  const %w: f32[2, 2] = {1.0, 0.5, -2.0, 0.25}
  const %c: f32[2] = {1.0, 2.0}
  %a = MatMul(%x, %u)
  %b = Gemm(%a, %w, %c) {alpha = 0.5, beta = 1, transA = 0, transB = 0}
  %y = MatMul(%b, %w)
  output %y
})");
  QuantizeOptions options;
  options.keep["y"] = "asked for";
  EXPECT_EQ(activations_to_quantize(graph, options), std::vector<std::string>{});
  const auto places = quantize(graph, {}, options);
  ASSERT_EQ(places.size(), 3u);
  EXPECT_EQ(places[0].kept, "its weights are no constant");
  EXPECT_EQ(places[1].kept, "alpha or beta is not 1");
  EXPECT_EQ(places[2].kept, "asked for");
}

ErrorCode code_of(std::string_view text, const Ranges& ranges, const QuantizeOptions& options = {}) {
  Graph graph = read(text);
  try {
    quantize(graph, ranges, options);
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << "nothing was thrown";
  return ErrorCode::internal;
}

TEST(Quantize, RefusesWhatHasNoRangeOrNoNumbers) {
  EXPECT_EQ(code_of(kPerceptron, {}), ErrorCode::invalid_input);
  EXPECT_EQ(code_of(kPerceptron, {{"x", {-1, INFINITY}}}), ErrorCode::invalid_input);
  EXPECT_EQ(code_of(kPerceptron, {{"x", {-1, 1}}}, {.keep = {{"z", "asked for"}}}), ErrorCode::usage);
  std::string text(kPerceptron);
  text.replace(text.find("-2.0"), 4, "nan");
  EXPECT_EQ(code_of(text, {{"x", {-1, 1}}}), ErrorCode::invalid_input);
}

TEST(Quantize, RoundingCanBeTakenOutAgain) {
  const Graph floats = read(kPerceptron);
  Graph graph = floats;
  quantize(graph, {{"x", {-0.1, 0.1}}});  // cuts x off
  remove_rounding(graph);
  ir::verify(graph);
  const Node& gemm = only(graph, "Gemm");
  EXPECT_EQ(graph.name(gemm.inputs[0]), "x");
  EXPECT_EQ(producer_of(graph, gemm.inputs[1])->op, "DequantizeLinear");  // weights stay what they are
  const std::map<std::string, Tensor> inputs = {{"x", Tensor::of<float>({2, 3}, {-1, 0.5f, 0.25f, 1, -0.75f, 0.1f})}};
  const auto expected = op::load<double>(ir::evaluate(floats, inputs).at("y"));
  const auto found = op::load<double>(ir::evaluate(graph, inputs).at("y"));
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(found[i], expected[i], 3 * 2.0 / 254 + 0.01);
}

// Rows, columns and parts of weights are rounded as the whole is, also where they lie transposed.
TEST(Quantize, WeightsAreRoundedWhereTheyAreRead) {
  constexpr int64_t kRows = 70, kColumns = 9;
  Tensor plain(DType::f32, {kRows, kColumns});
  for (int64_t i = 0; i < plain.size(); ++i)
    plain.data<float>()[size_t(i)] = std::sin(float(i)) * float(1 + i % kColumns);
  const auto weights = tensor::memory_source(plain, "w");
  for (const int64_t axis : {int64_t{0}, int64_t{1}}) {
    for (const bool transposed : {false, true}) {
      const auto source = transposed ? tensor::transposed_source(weights) : weights;
      const RoundedWeights rounded = round_weights("w", source, axis);
      ASSERT_EQ(int64_t(rounded.scales.size()), source->dims()[size_t(axis)]);
      const Tensor whole = tensor::load(*rounded.codes), floats = tensor::load(*source);
      const int64_t columns = source->dims()[1];
      for (int64_t i = 0; i < floats.size(); ++i) {
        const float scale = rounded.scales[size_t(axis == 0 ? i / columns : i % columns)];
        const float steps = floats.data<float>()[size_t(i)] / scale;
        ASSERT_EQ(whole.data<int8_t>()[size_t(i)], int8_t(std::nearbyint(steps))) << axis << transposed << " " << i;
      }
      std::vector<std::byte> part(3 * 2);
      rounded.codes->read_part(4, 3, 5, 2, part);
      for (int64_t i = 0; i < 6; ++i) {
        EXPECT_EQ(int8_t(part[size_t(i)]), whole.data<int8_t>()[size_t((4 + i / 2) * columns + 5 + i % 2)]);
      }
    }
  }
}

}  // namespace
}  // namespace lathe::opt
