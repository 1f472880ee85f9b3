#include "calibrate/sixteen_bit.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "base/error.h"

namespace lathe::calibrate {
namespace {

using tensor::DType;
using tensor::Tensor;

Samples samples_of(int64_t width) {
  return {3, [width](size_t index) -> GraphData {
            std::mt19937 random(static_cast<unsigned>(index));
            std::normal_distribution<float> normal;
            Tensor x(DType::f32, {2, width});
            for (float& number : x.data<float>()) number = normal(random);
            return {{"x", std::move(x)}};
          }};
}

SixteenBitCost find(const char* text, DType type, double output_db = 0) {
  const ir::Graph graph = ir::parse(text, {});
  SixteenBitBounds bounds = sixteen_bit_bounds(type);
  if (output_db != 0) bounds.output_db = output_db;
  runtime::GraphOptions run;
  run.threads = 1;
  return find_sixteen_bits(graph, {.type = type, .opset = 23}, bounds, samples_of(8), run);
}

// Numbers beyond 65504 stay, with what reads them; the rest of the graph does not.
TEST(SixteenBitCalibration, NumbersBeyondTheRangeAreIslands) {
  constexpr const char* kGraph = R"(graph main {
  input %x: f32[n, 8]
  const %k: f32[] = {60000.0}
  %a = Tanh(%x)
  %big = Mul(%x, %k)
  %small = Div(%big, %k)
  %y = Add(%a, %small)
  output %y
})";
  const SixteenBitCost cost = find(kGraph, DType::f16);
  ASSERT_TRUE(cost.options.keep.contains("big"));
  EXPECT_NE(cost.options.keep.at("big").find("beyond 65504"), std::string::npos) << cost.options.keep.at("big");
  EXPECT_TRUE(cost.options.keep.contains("small"));
  EXPECT_FALSE(cost.options.keep.contains("a"));
  EXPECT_FALSE(cost.options.keep.contains("y"));
  EXPECT_TRUE(find(kGraph, DType::bf16).options.keep.empty());
}

// The difference of nearly equal numbers is mostly rounding.
TEST(SixteenBitCalibration, ANodeThatCancelsIsAnIsland) {
  const SixteenBitCost cost = find(R"(graph main {
  input %x: f32[n, 8]
  const %k: f32[] = {1000.0}
  %a = Add(%x, %k)
  %d = Sub(%a, %k)
  %y = Tanh(%x)
  output %d
  output %y
})",
                                   DType::f16);
  EXPECT_TRUE(cost.options.keep.contains("d"));
  EXPECT_FALSE(cost.options.keep.contains("y"));
  for (const OutputCost& output : cost.outputs) EXPECT_GE(output.noise.psnr(), 50) << output.name;
}

// Each node bears it, all together do not: the bound of the outputs asks for more islands, the noisiest first.
TEST(SixteenBitCalibration, IslandsAreAddedUntilTheOutputsHold) {
  constexpr const char* kGraph = R"(graph main {
  input %x: f32[n, 8]
  const %k: f32[] = {1.1}
  %a = Mul(%x, %k)
  %b = Mul(%a, %k)
  %c = Mul(%b, %k)
  %y = Mul(%c, %k)
  output %y
})";
  const SixteenBitCost all = find(kGraph, DType::bf16);
  EXPECT_TRUE(all.options.keep.empty());
  const double db = all.outputs.at(0).noise.psnr();
  const SixteenBitCost some = find(kGraph, DType::bf16, db + 3);
  EXPECT_FALSE(some.options.keep.empty());
  EXPECT_LT(some.options.keep.size(), 4u);
  EXPECT_GE(some.outputs.at(0).noise.psnr(), db + 3);
  EXPECT_EQ(some.nodes.size() + some.options.keep.size(), some.places.size());
  const SixteenBitCost none = find(kGraph, DType::bf16, 190);
  EXPECT_EQ(none.options.keep.size(), 4u);
  EXPECT_GE(none.outputs.at(0).noise.psnr(), 190);
}

TEST(SixteenBitCalibration, AGraphWithoutNodesOfTheTypeIsUnsupported) {
  const ir::Graph graph = ir::parse(R"(graph main {
  input %x: f32[n, 8]
  %y = Cast(%x) {to = 7}
  output %y
})",
                                    {});
  EXPECT_THROW(find_sixteen_bits(graph, {}, {}, samples_of(8), {}), Error);
  EXPECT_THROW(find_sixteen_bits(graph, {}, {}, Samples{}, {}), Error);
}

// Masks of -infinity are no noise, a number that becomes one is.
TEST(Noise, InfinitiesThatAreEqualDoNotCount) {
  Noise noise;
  const std::vector<float> expected = {-INFINITY, 1, NAN}, same = expected, wrong = {-INFINITY, INFINITY, NAN};
  noise.add(expected, same);
  EXPECT_EQ(noise.db(), 200);
  EXPECT_EQ(noise.count, 1u);
  noise.add(expected, wrong);
  EXPECT_EQ(noise.db(), -200);
  Noise other;
  other.add(expected, std::vector<float>{0, 1, NAN});
  EXPECT_EQ(other.psnr(), -200);
}

}  // namespace
}  // namespace lathe::calibrate
