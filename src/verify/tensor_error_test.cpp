#include "verify/tensor_error.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace lathe::verify {
namespace {

using tensor::DType;
using tensor::Tensor;

TEST(TensorError, IsAShareOfTheLargest) {
  const auto error = error_of(Tensor::of<float>({2, 2}, {1, -200, 3, 4}), Tensor::of<float>({2, 2}, {1, -200, 3, 5}));
  EXPECT_DOUBLE_EQ(error.max_abs, 1);
  EXPECT_DOUBLE_EQ(error.scale, 200);
  EXPECT_DOUBLE_EQ(error.relative(), 1.0 / 200);
  EXPECT_EQ(error.index, (std::vector<int64_t>{1, 1}));
  EXPECT_EQ(error.differing, 1);
  EXPECT_TRUE(error.within(0.005));
  EXPECT_FALSE(error.within(0.0049));
}

TEST(TensorError, NaNIsNaNAndInfinityItself) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  const auto masked = Tensor::of<float>({3}, {nan, -inf, 1});
  const auto same = error_of(masked, masked);
  EXPECT_TRUE(same.within(0));
  EXPECT_EQ(same.not_finite, 2);
  EXPECT_DOUBLE_EQ(same.scale, 1);
  EXPECT_FALSE(error_of(masked, Tensor::of<float>({3}, {nan, inf, 1})).within(1e9));
  EXPECT_FALSE(error_of(masked, Tensor::of<float>({3}, {0, -inf, 1})).within(1e9));
  EXPECT_FALSE(error_of(Tensor::of<float>({1}, {1}), Tensor::of<float>({1}, {nan})).within(1e9));
}

TEST(TensorError, IntegersAreTheSameOrNot) {
  const auto error = error_of(Tensor::of<int64_t>({2}, {1000000, 7}), Tensor::of<int64_t>({2}, {1000001, 7}));
  EXPECT_TRUE(error.exact);
  EXPECT_FALSE(error.within(1));
  constexpr int64_t kLarge = int64_t{1} << 62;  // a double does not hold the next
  EXPECT_FALSE(error_of(Tensor::scalar<int64_t>(kLarge), Tensor::scalar<int64_t>(kLarge + 1)).within(1));
  EXPECT_TRUE(error_of(Tensor::scalar<bool>(true), Tensor::scalar<bool>(true)).within(0));
}

TEST(TensorError, FormsAreNamed) {
  EXPECT_EQ(error_of(Tensor(DType::f32, {2}), Tensor(DType::f32, {3})).form, "expected f32[2], found f32[3]");
  EXPECT_EQ(error_of(Tensor(DType::i64, {2}), Tensor(DType::i32, {2})).form, "expected i64[2], found i32[2]");
  EXPECT_FALSE(error_of(Tensor(DType::i64, {2}), Tensor(DType::i32, {2})).within(1));
  EXPECT_NE(error_of(op::Datum(Tensor(DType::f32, {1})), op::Datum()).form, "");
}

TEST(TensorError, FloatsOfTwoTypesAreNumbers) {
  const auto wide = Tensor::of<float>({2}, {1, 0.1f});
  const auto narrow = tensor::cast(wide, DType::f16);
  EXPECT_TRUE(error_of(wide, narrow).within(1e-3));
  EXPECT_FALSE(error_of(wide, narrow).within(1e-6));
}

TEST(TensorError, OfSequencesTheWorstItem) {
  const auto one = Tensor::scalar<float>(1), two = Tensor::scalar<float>(2);
  const auto error = error_of(op::Datum::sequence({one, one}), op::Datum::sequence({one, two}));
  EXPECT_DOUBLE_EQ(error.max_abs, 1);
  EXPECT_NE(error_of(op::Datum::sequence({one}), op::Datum::sequence({one, two})).form, "");
}

TEST(TensorError, EmptyIsTheSame) {
  EXPECT_TRUE(error_of(Tensor(DType::f32, {0, 4}), Tensor(DType::f32, {0, 4})).within(0));
}

}  // namespace
}  // namespace lathe::verify
