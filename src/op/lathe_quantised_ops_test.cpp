// Our own operators on small integers against compositions of the standard ones.
#include <gtest/gtest.h>

#include <random>

#include "base/error.h"
#include "op/op.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::DType;
using tensor::Tensor;

Tensor random_tensor(tensor::Dims dims, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  std::vector<double> values(size_t(tensor::element_count(std::span<const int64_t>(dims))));
  for (double& value : values) value = normal(random);
  return store(DType::f32, std::move(dims), values);
}

Tensor run(std::string_view op, std::vector<Tensor> inputs, const Attributes& attributes = {}) {
  return evaluate(get_op(op), std::move(inputs), attributes)[0];
}

Tensor transposed(const Tensor& x) {
  return run("Transpose", {x});
}

Tensor random_bytes(tensor::Dims dims, unsigned seed, DType dtype) {
  std::mt19937 random(seed);
  std::vector<int64_t> values(size_t(tensor::element_count(std::span<const int64_t>(dims))));
  for (int64_t& value : values) value = int64_t(random() % 256) - (dtype == DType::i8 ? 128 : 0);
  return store(dtype, std::move(dims), values);
}

Tensor byte(int64_t value, DType dtype) {
  return store(dtype, {}, std::vector<int64_t>{value});
}

void expect_equal(const Tensor& found, const Tensor& expected) {
  ASSERT_EQ(found.dtype(), expected.dtype());
  ASSERT_EQ(found.dims(), expected.dims());
  EXPECT_EQ(load<double>(found), load<double>(expected));
}

// Scales are powers of two, so that nothing but ties is left to rounding.
TEST(LatheQConv, IsAConvolutionBetweenDequantisedValues) {
  const Tensor x = random_bytes({2, 3, 5, 6}, 1, DType::u8), w = random_bytes({4, 3, 2, 3}, 2, DType::i8);
  const Tensor x_zero = byte(131, DType::u8), y_zero = byte(-5, DType::i8);
  const Tensor scales = Tensor::of<float>({4}, {0x1p-7f, 0x1p-9f, 0x1p-8f, 0x1p-6f});
  const Tensor one = Tensor::scalar(1.0f), bias = Tensor::of<int32_t>({4}, {100, -200, 3, 0});
  const Attributes pads = {{"pads", std::vector<int64_t>{1, 0, 1, 2}}};
  const Tensor sums = run("lathe.QConv", {x, w, x_zero}, pads);
  expect_equal(sums, run("ConvInteger", {x, w, x_zero}, pads));
  const Tensor xf = run("DequantizeLinear", {x, one, x_zero});
  const Tensor wf = run("DequantizeLinear", {w, scales}, {{"axis", int64_t{0}}});
  const Tensor bf = run("DequantizeLinear", {bias, scales}, {{"axis", int64_t{0}}});
  const Tensor v = run("Conv", {xf, wf, bf}, pads);
  expect_equal(run("lathe.QConv", {x, w, x_zero, {}, scales, {}, bias}, pads), v);
  Attributes relu = pads;
  relu.set("activation", "Relu 0");
  const Tensor bytes = run("QuantizeLinear", {run("Relu", {v}), one, y_zero});
  expect_equal(run("lathe.QConv", {x, w, x_zero, {}, scales, {}, bias, {}, y_zero}, relu), bytes);
}

TEST(LatheQConv, AResidualOfBytesIsAddedBetweenTwoRoundings) {
  const Tensor x = random_bytes({1, 2, 4, 4}, 3, DType::i8), w = random_bytes({3, 2, 1, 1}, 4, DType::u8);
  const Tensor r = random_bytes({1, 3, 4, 4}, 5, DType::u8);
  const Tensor w_zero = byte(128, DType::u8), middle_zero = byte(120, DType::u8), y_zero = byte(7, DType::u8);
  const Tensor scale = Tensor::scalar(0x1p-6f), two = Tensor::scalar(2.0f), one = Tensor::scalar(1.0f);
  const Tensor v = run("Mul", {run("Cast", {run("ConvInteger", {x, w, {}, w_zero})}, {{"to", int64_t{1}}}), scale});
  const Tensor middle = run("DequantizeLinear", {run("QuantizeLinear", {v, one, middle_zero}), one, middle_zero});
  const Tensor sum = run("Add", {middle, run("DequantizeLinear", {r, two, byte(9, DType::u8)})});
  const Tensor y = run("QuantizeLinear", {run("Relu", {sum}), two, y_zero});
  expect_equal(run("lathe.QConv", {x, w, {}, w_zero, scale, {}, {}, r, y_zero},
                   {{"middle_low", int64_t{-120}},
                    {"middle_high", int64_t{135}},
                    {"middle_scale", 0.5},
                    {"residual_zero", int64_t{9}},
                    {"residual_scale", 1.0},
                    {"sum_activation", "Relu 0"}}),
               y);
}

TEST(LatheQLinear, IsAProductWithScalesBiasAndResidual) {
  const Tensor x = random_bytes({3, 2, 9}, 6, DType::u8), w = random_bytes({5, 9}, 7, DType::i8);
  const Tensor x_zero = byte(100, DType::u8), w_zero = random_bytes({5}, 8, DType::i8);
  const Tensor scales = random_tensor({5}, 9), x_scale = Tensor::scalar(0.37f), bias = random_tensor({5}, 10);
  const Tensor residual = random_tensor({3, 2, 5}, 11);
  const Tensor sums = run("MatMulInteger", {x, transposed(w), x_zero, w_zero});
  expect_equal(run("lathe.QLinear", {x, w, x_zero, w_zero}), sums);
  const Tensor floats = run("Mul", {run("Cast", {sums}, {{"to", int64_t{1}}}), run("Mul", {x_scale, scales})});
  const Tensor y = run("Add", {run("Tanh", {run("Add", {floats, bias})}), residual});
  expect_equal(run("lathe.QLinear", {x, w, x_zero, w_zero, scales, x_scale, bias, residual},
                   {{"activation", "Tanh 0"}, {"residual_last", int64_t{1}}}),
               y);
}

TEST(LatheTable, TakesTheBitsOfAByte) {
  const Tensor x = random_bytes({3, 7}, 12, DType::i8);
  Tensor table(DType::u8, {256});
  for (size_t i = 0; i < 256; ++i) table.data<uint8_t>()[i] = uint8_t(255 - uint8_t(i + 128));
  expect_equal(run("lathe.Table", {x, table}),
               run("Cast", {run("Sub", {Tensor::of<int32_t>({}, {127}), run("Cast", {x}, {{"to", int64_t{6}}})})},
                   {{"to", int64_t{2}}}));
}

TEST(LatheQPointwise, IsItsOperatorsBetweenBytes) {
  const Tensor a = random_bytes({2, 6}, 13, DType::u8), b = random_bytes({6}, 14, DType::i8),
               c = random_tensor({2, 1}, 15);
  const Tensor as = Tensor::scalar(0.013f), bs = Tensor::scalar(0.4f), ys = Tensor::scalar(0.11f);
  const Tensor az = byte(3, DType::u8), bz = byte(-9, DType::i8), yz = byte(70, DType::u8);
  const Tensor sum = run("Add", {run("DequantizeLinear", {a, as, az}), run("DequantizeLinear", {b, bs, bz})});
  const Tensor y = run("QuantizeLinear", {run("Mul", {sum, c}), ys, yz});
  expect_equal(run("lathe.QPointwise", {a, b, c},
                   {{"steps", std::vector<std::string>{"Add 0 1", "Mul 3 2"}},
                    {"x_scales", std::vector<double>{double(0.013f), double(0.4f), 1.0}},
                    {"x_zeros", std::vector<int64_t>{3, -9, 0}},
                    {"y_dtype", int64_t{2}},
                    {"y_scale", double(0.11f)},
                    {"y_zero", int64_t{70}}}),
               y);
}

TEST(LatheBlockLinear, IsAProductWithDequantisedWeights) {
  const Tensor x = random_tensor({4, 12}, 16), codes = random_bytes({5, 12}, 17, DType::i8);
  const Tensor scales = random_tensor({5, 3}, 18), zeros = random_bytes({5, 3}, 19, DType::i8);
  const Tensor w = run("DequantizeLinear", {codes, scales, zeros}, {{"axis", int64_t{1}}, {"block_size", int64_t{4}}});
  const Tensor found = run("lathe.BlockLinear", {x, codes, scales, run("Cast", {zeros}, {{"to", int64_t{1}}})},
                           {{"block_size", int64_t{4}}});
  expect_equal(found, run("MatMul", {x, transposed(w)}));
}

TEST(LatheQuantised, RefusesWhatDoesNotGoTogether) {
  const Tensor x = random_bytes({2, 4}, 20, DType::u8), w = random_bytes({3, 4}, 21, DType::i8);
  const Tensor scale = Tensor::scalar(0.5f), f = random_tensor({2, 4}, 22), zero = byte(0, DType::u8);
  EXPECT_THROW(run("lathe.QLinear", {f, w}), Error);
  EXPECT_THROW(run("lathe.QLinear", {x, w, byte(0, DType::i8)}), Error);
  EXPECT_THROW(run("lathe.QLinear", {x, w, {}, {}, {}, {}, {}, {}, zero}), Error);
  EXPECT_THROW(run("lathe.QLinear", {x, w, {}, {}, random_tensor({4}, 23)}), Error);
  EXPECT_THROW(run("lathe.QLinear", {x, w, {}, {}, scale, {}, {}, {}, zero}, {{"activation", "Tanh 0"}}), Error);
  EXPECT_THROW(run("lathe.QLinear", {x, random_bytes({3, 5}, 24, DType::i8)}), Error);
  EXPECT_THROW(run("lathe.Table", {x, w}), Error);
  const Attributes block = {{"block_size", int64_t{3}}};
  EXPECT_THROW(run("lathe.BlockLinear", {f, w, random_tensor({3, 1}, 25)}, block), Error);
}

}  // namespace
}  // namespace lathe::op
