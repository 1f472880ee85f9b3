#include "calibrate/ranges.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "base/error.h"
#include "calibrate/cost.h"

namespace lathe::calibrate {
namespace {

using opt::Range;
using tensor::Tensor;

std::vector<float> normal_numbers(size_t count) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<float> numbers(count);
  for (float& number : numbers) number = normal(random);
  return numbers;
}

double square_error(const std::vector<float>& numbers, const Range& range) {
  const opt::ByteScale scale = opt::byte_scale(range);
  double sum = 0;
  for (const float number : numbers) {
    const double code = std::clamp(std::nearbyint(double(number) / double(scale.scale)) + scale.zero, 0.0, 255.0);
    sum += std::pow(double(scale.scale) * (code - scale.zero) - double(number), 2);
  }
  return sum;
}

TEST(Ranges, PercentileCutsTheSamePartAtBothEnds) {
  Histogram histogram({-4, 4});
  const std::vector<float> numbers = normal_numbers(200000);
  histogram.add(numbers);
  const Range range = histogram.percentile(0.95);  // 1.96 standard deviations
  EXPECT_NEAR(range.low, -1.96, 0.03);
  EXPECT_NEAR(range.high, 1.96, 0.03);
  const Range all = histogram.percentile(1);
  EXPECT_LT(all.low, -3.5);
  EXPECT_GT(all.high, 3.5);
}

// With one element far away the range that is found rounds better than all, measured on the numbers themselves.
TEST(Ranges, LeastErrorCutsOffWhatCostsMoreThanItBrings) {
  std::vector<float> numbers = normal_numbers(100000);
  numbers[17] = 60;
  const auto [low, high] = std::minmax_element(numbers.begin(), numbers.end());
  const Range whole = {*low, *high};
  Histogram histogram(whole);
  histogram.add(numbers);
  const Range found = histogram.least_error();
  EXPECT_LT(found.high, 60);
  EXPECT_LT(square_error(numbers, found), square_error(numbers, whole));
}

TEST(Ranges, OfRunsOnSamples) {
  const ir::Graph graph = ir::parse(R"(graph main {
  input %x: f32[n]
  %a = Mul(%x, %x)
  %y = Exp(%a)
  output %y
})",
                                    {});
  const Samples samples{2, [](size_t i) -> GraphData {
                          return {{"x", Tensor::of<float>({2}, i == 0 ? std::initializer_list<float>{-3, 1}
                                                                      : std::initializer_list<float>{0.5f, 2})}};
                        }};
  const std::vector<std::string> names = {"x", "a"};
  const auto ranges = measure_ranges(graph, names, samples, {.method = RangeMethod::minmax});
  EXPECT_EQ(ranges.at("x").low, -3);
  EXPECT_EQ(ranges.at("x").high, 2);
  EXPECT_EQ(ranges.at("a").low, 0);  // every range holds it
  EXPECT_EQ(ranges.at("a").high, 9);
  const Samples bad{1, [](size_t) -> GraphData { return {{"x", Tensor::of<float>({1}, {NAN})}}; }};
  EXPECT_THROW(measure_ranges(graph, names, bad, {}), Error);
  EXPECT_THROW(measure_ranges(graph, names, Samples{}, {}), Error);
}

TEST(Cost, NoiseIsInDecibels) {
  Noise noise;
  const std::vector<float> right = {3, 4}, found = {3, 4.5f};
  noise.add(right, found);
  EXPECT_NEAR(noise.db(), 20, 1e-9);  // 25 against 0.25
  EXPECT_EQ(noise.worst, 0.5);
  Noise none;
  none.add(right, right);
  EXPECT_EQ(none.db(), 200);
}

// A node that is fed right inputs answers for its own rounding, whatever is in front of it.
TEST(Cost, OfANodeIsItsOwn) {
  const std::string text = R"(graph main {
  input %x: f32[1, 2]
  const %w: f32[2, 2] = {1.0, 0.5, -2.0, 0.25}
  %a = MatMul(%x, %w)
  %b = MatMul(%a, %w)
  output %b
})";
  const ir::Graph floats = ir::parse(text, {});
  ir::Graph rounded = floats;
  opt::quantize(rounded, {{"x", {-0.01, 0.01}}, {"a", {-8, 8}}});  // x is cut off
  const Samples samples{1, [](size_t) -> GraphData { return {{"x", Tensor::of<float>({1, 2}, {1, -1})}}; }};
  const std::vector<std::string> values = {"a", "b"}, fed = {"x", "a"};
  const auto costs = cost_of_nodes(floats, rounded, values, fed, samples, {});
  EXPECT_LT(costs[0].noise.db(), 1);
  EXPECT_GT(costs[1].noise.db(), 30);
  const auto outputs = cost_of_outputs(floats, rounded, samples, {});
  ASSERT_EQ(outputs.size(), 1u);
  EXPECT_LT(outputs[0].noise.db(), 1);
}

}  // namespace
}  // namespace lathe::calibrate
