#include "verify/forced_values.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "compiler/graph_build.h"
#include "opt/numeric_check.h"
#include "verify/verify_graph.h"

namespace lathe::verify {
namespace {

using tensor::Tensor;

ir::Graph parse(const std::string& text) {
  return ir::parse(text, [](const std::string& name, tensor::DType dtype, tensor::Encoding, const tensor::Dims& dims) {
    Tensor tensor(dtype, dims);
    if (dtype == tensor::DType::i8) {
      Tensor noise(tensor::DType::f32, dims);
      opt::fill_with_noise(noise, name);
      for (int64_t i = 0; i < noise.size(); ++i) {
        tensor.data<int8_t>()[size_t(i)] = int8_t(127 * noise.data<float>()[size_t(i)]);
      }
    } else {
      opt::fill_with_noise(tensor, name);
    }
    return tensor::memory_source(tensor, name);
  });
}

// Two dynamically quantised products with a normalisation in front of each.
std::string network(const std::string& second) {
  return R"(graph g {
  input %x: f32[n, 64]
  const %s: f32[64] = "s" plain
  const %w1: i8[64, 64] = "w1" plain
  const %w2: i8[64, 64] = ")" +
         second + R"(" plain
  const %scale: f32[1] = {0.01}
  const %zero: i8[1] = {0}
  %n1 = LayerNormalization(%x, %s) {axis = -1, epsilon = 1e-05}
  %q1, %q1s, %q1z = DynamicQuantizeLinear(%n1)
  %p1 = MatMulInteger(%q1, %w1, %q1z, %zero)
  %f1 = Cast(%p1) {to = 1}
  %m1 = Mul(%q1s, %scale)
  %y1 = Mul(%f1, %m1)
  %e1 = Tanh(%y1)
  %n2 = LayerNormalization(%e1, %s) {axis = -1, epsilon = 1e-05}
  %q2, %q2s, %q2z = DynamicQuantizeLinear(%n2)
  %p2 = MatMulInteger(%q2, %w2, %q2z, %zero)
  %f2 = Cast(%p2) {to = 1}
  %m2 = Mul(%q2s, %scale)
  %y2 = Mul(%f2, %m2)
  %out = Tanh(%y2)
  output %out
})";
}

TEST(ForcedValues, AGraphThatQuantisesIsHeldToTheBoundOfItsFloats) {
  GraphVerifyOptions options;
  options.seeds = 3;
  options.lengths["n"] = {40};
  const GraphReport report = verify_graph(parse(network("w2")), options);
  EXPECT_TRUE(report.pass) << describe(report);
  EXPECT_TRUE(report.forced);
  for (const plan::Gate& gate : report.gates) EXPECT_EQ(gate.bound, 1e-4);
}

// Everything in front of the wrong weight is right, and so is what stands behind it: it is the one that is named.
TEST(ForcedValues, AWrongProductIsTheFirstDifference) {
  GraphVerifyOptions options;
  options.lengths["n"] = {8};
  const auto wrong = compiler::build_graph(parse(network("another")));
  const GraphReport report = verify_graph(parse(network("w2")), wrong, options);
  EXPECT_FALSE(report.pass);
  ASSERT_TRUE(report.first_difference) << describe(report);
  EXPECT_THAT((std::vector<std::string>{"p2", "f2", "y2", "out"}), testing::Contains(report.first_difference->tensor));
}

TEST(ForcedValues, BytesMayBeOneStepApartInFewPlaces) {
  TensorError error;
  error.size = 10000;
  error.scale = 255;
  error.differing = 200;
  error.max_abs = 1;
  const ForcedOptions options{.bound = 1e-4, .step_share = step_share_of(1e-4)};
  EXPECT_TRUE(forced_within(error, tensor::DType::u8, options));
  EXPECT_FALSE(forced_within(error, tensor::DType::i32, options));
  error.differing = 300;
  EXPECT_FALSE(forced_within(error, tensor::DType::u8, options));
  error.differing = 1;
  error.max_abs = 2;
  EXPECT_FALSE(forced_within(error, tensor::DType::i8, options));
  error.max_abs = 1;
  error.size = 1;  // a zero point
  EXPECT_FALSE(forced_within(error, tensor::DType::u8, options));
}

TEST(ForcedValues, NeedMemoryForAllOfThem) {
  const ir::Graph graph = parse(network("w2"));
  const auto session = std::make_shared<runtime::GraphSession>(compiler::build_graph(graph));
  const GraphData inputs = {{"x", Tensor(tensor::DType::f32, {40, 64})}};
  try {
    compare_forced(reference_run(graph), std::span(&session, 1), inputs, result_names(graph), {.memory_bytes = 1000});
    FAIL() << "1000 bytes were enough";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::resource);
  }
}

TEST(GraphSession, AReplacedValueIsWhatFollowsReads) {
  const ir::Graph graph = parse(R"(graph g {
  input %x: f32[1, 3, 4, 4]
  const %w: f32[5, 3, 3, 3] = "w" plain
  %c = Conv(%x, %w) {pads = [1, 1, 1, 1]}
  %m = MaxPool(%c) {kernel_shape = [2, 2], strides = [2, 2]}
  %y = Exp(%m)
  output %y
})");
  runtime::GraphSession session(compiler::build_graph(graph));
  Tensor ones(tensor::DType::f32, {1, 5, 4, 4});  // c lies channels last: the elements must still be those
  for (int64_t i = 0; i < ones.size(); ++i) ones.data<float>()[size_t(i)] = float(i % 16) / 16;
  session.set_replacement([&](const std::string& name) { return name == "c" ? &ones : nullptr; });
  Tensor x(tensor::DType::f32, {1, 3, 4, 4});
  const auto results = session.run({{"x", x}});
  const Tensor& y = results.at("y").tensor();
  ASSERT_EQ(y.size(), 20);
  const float largest[] = {5, 7, 13, 15};  // of each window
  for (int64_t i = 0; i < y.size(); ++i) {
    EXPECT_NEAR(y.data<float>()[size_t(i)], std::exp(largest[i % 4] / 16), 1e-5);
  }
}

}  // namespace
}  // namespace lathe::verify
