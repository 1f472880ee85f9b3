#include "tensor/tensor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"

namespace lathe::tensor {
namespace {

template <class Body>
ErrorCode code_of(Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << "nothing thrown";
  return ErrorCode::internal;
}

TEST(Tensor, IsZeroFilledAndAligned) {
  const Tensor tensor(DType::f32, {3, 5});
  EXPECT_TRUE(tensor.defined());
  EXPECT_EQ(tensor.rank(), 2);
  EXPECT_EQ(tensor.size(), 15);
  EXPECT_EQ(tensor.bytes().size(), 60u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.bytes().data()) % 64, 0u);
  for (const float value : tensor.data<float>()) EXPECT_EQ(value, 0.0f);
  EXPECT_FALSE(Tensor().defined());
}

TEST(Tensor, ScalarsAndEmptyTensors) {
  const Tensor scalar = Tensor::scalar<int64_t>(7);
  EXPECT_EQ(scalar.rank(), 0);
  EXPECT_EQ(scalar.size(), 1);
  EXPECT_EQ(scalar.data<int64_t>()[0], 7);
  const Tensor empty(DType::f16, {4, 0});
  EXPECT_EQ(empty.size(), 0);
  EXPECT_TRUE(empty.bytes().empty());
  EXPECT_TRUE(to_floats(empty).empty());
}

TEST(Tensor, ImpossibleSizesAreRefused) {
  EXPECT_EQ(code_of([] { Tensor(DType::f32, {INT64_MAX, 2}); }), ErrorCode::invalid_input);
  EXPECT_EQ(code_of([] { Tensor(DType::f32, {-1}); }), ErrorCode::invalid_input);
  EXPECT_EQ(code_of([] { Tensor(DType::f64, {INT64_MAX / 4}); }), ErrorCode::invalid_input);
}

TEST(Tensor, CopiesShareStorage) {
  Tensor a = Tensor::of<float>({2}, {1, 2});
  const Tensor b = a;
  a.data<float>()[0] = 9;
  EXPECT_EQ(b.data<float>()[0], 9.0f);
}

TEST(Tensor, ViewsKeepTheirOwnerAndAreReadOnly) {
  auto owner = std::make_shared<std::vector<float>>(std::vector<float>{1, 2, 3, 4});
  const std::weak_ptr<std::vector<float>> watch = owner;
  Tensor view = Tensor::view(DType::f32, {2, 2}, std::as_bytes(std::span(*owner)), owner);
  owner.reset();
  EXPECT_FALSE(watch.expired());
  EXPECT_EQ(std::as_const(view).data<float>()[3], 4.0f);
  EXPECT_EQ(code_of([&] { view.mutable_bytes(); }), ErrorCode::internal);
  view = Tensor();
  EXPECT_TRUE(watch.expired());
}

TEST(Tensor, ViewsOfTheWrongSizeAreRefused) {
  const std::vector<float> values(4);
  const auto bytes = std::as_bytes(std::span(values));
  EXPECT_EQ(code_of([&] { Tensor::view(DType::f32, {5}, bytes, nullptr); }), ErrorCode::invalid_input);
  EXPECT_EQ(code_of([&] { Tensor::view(DType::f32, {3}, bytes, nullptr); }), ErrorCode::invalid_input);
}

TEST(Tensor, ReshapedIsTheSameMemory) {
  const Tensor a = Tensor::of<int32_t>({2, 3}, {1, 2, 3, 4, 5, 6});
  const Tensor b = a.reshaped({3, 2});
  EXPECT_EQ(b.dims(), (Dims{3, 2}));
  EXPECT_EQ(b.bytes().data(), a.bytes().data());
  EXPECT_EQ(code_of([&] { a.reshaped({4}); }), ErrorCode::invalid_input);
}

TEST(Tensor, Strings) {
  const Tensor tensor = Tensor::of_strings({2}, {"a", "b"});
  EXPECT_EQ(tensor.strings(), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(code_of([] { Tensor::of_strings({3}, {"a"}); }), ErrorCode::internal);
  EXPECT_EQ(code_of([] { Tensor(DType::f32, {1}).strings(); }), ErrorCode::internal);
}

// Writing any whole number a type holds and reading it back.
TEST(Tensor, ElementsRoundTripInEveryIntegerType) {
  const struct {
    DType dtype;
    int64_t low, high;
  } ranges[] = {{DType::i8, -128, 127},
                {DType::u8, 0, 255},
                {DType::i16, -32768, 32767},
                {DType::u16, 0, 65535},
                {DType::i32, INT32_MIN, INT32_MAX},
                {DType::u32, 0, UINT32_MAX},
                {DType::i64, -(int64_t{1} << 53), int64_t{1} << 53},
                {DType::u64, 0, int64_t{1} << 53},
                {DType::i4, -8, 7},
                {DType::u4, 0, 15},
                {DType::i2, -2, 1},
                {DType::u2, 0, 3},
                {DType::boolean, 0, 1}};
  for (const auto& [dtype, low, high] : ranges) {
    SCOPED_TRACE(to_string(dtype));
    Tensor tensor(dtype, {7});  // not a whole number of bytes for the packed types
    for (const int64_t value : {low, low + 1, int64_t{0}, int64_t{1}, high - 1, high}) {
      if (value < low || value > high) continue;
      for (int64_t i = 0; i < 7; ++i) {
        set_element(tensor, i, double(value));
        ASSERT_EQ(element_as_double(tensor, i), double(value));
      }
      set_element(tensor, 3, 0);  // neighbours stay
      ASSERT_EQ(element_as_double(tensor, 2), double(value));
      ASSERT_EQ(element_as_double(tensor, 4), double(value));
    }
  }
}

TEST(Tensor, PackedElementsStartInTheLowBits) {
  Tensor four(DType::u4, {3});
  set_element(four, 0, 1);
  set_element(four, 1, 2);
  set_element(four, 2, 3);
  EXPECT_EQ(four.bytes()[0], std::byte{0x21});
  EXPECT_EQ(four.bytes()[1], std::byte{0x03});
  Tensor two(DType::u2, {4});
  for (int i = 0; i < 4; ++i) set_element(two, i, i);
  EXPECT_EQ(two.bytes()[0], std::byte{0b11100100});
}

TEST(Tensor, IndicesOutsideAreBugs) {
  Tensor tensor(DType::f32, {2});
  EXPECT_EQ(code_of([&] { element_as_double(tensor, 2); }), ErrorCode::internal);
  EXPECT_EQ(code_of([&] { element_as_double(tensor, -1); }), ErrorCode::internal);
  EXPECT_EQ(code_of([&] { set_element(tensor, 2, 0); }), ErrorCode::internal);
}

TEST(Tensor, CastRoundsFloatsToNearestEvenAndTruncatesToIntegers) {
  const Tensor floats = Tensor::of<float>({8}, {1.5f, -2.7f, 2049.0f, 2051.0f, 65520.0f, 0.0f, -0.0f, 1e-8f});
  const Tensor halves = cast(floats, DType::f16);
  EXPECT_EQ(to_floats(halves),
            (std::vector<float>{1.5f, -2.69921875f, 2048.0f, 2052.0f, INFINITY, 0.0f, -0.0f, 0.0f}));
  const Tensor brains = cast(Tensor::of<float>({2}, {257.0f, 259.0f}), DType::bf16);
  EXPECT_EQ(to_floats(brains), (std::vector<float>{256.0f, 260.0f}));
  const Tensor integers = cast(floats, DType::i32);
  const auto values = integers.data<int32_t>();
  EXPECT_EQ(values[0], 1);
  EXPECT_EQ(values[1], -2);
  EXPECT_EQ(values[2], 2049);
  EXPECT_EQ(cast(Tensor::of<float>({3}, {0.0f, 0.5f, NAN}), DType::boolean).data<bool>()[1], true);
  EXPECT_EQ(cast(Tensor::of<int32_t>({1}, {300}), DType::u8).data<uint8_t>()[0], 44);  // wraps
  EXPECT_EQ(cast(Tensor::of<int32_t>({1}, {-1}), DType::u8).data<uint8_t>()[0], 255);
}

TEST(Tensor, CastBetween64BitIntegersIsExact) {
  const int64_t large = (int64_t{1} << 62) + 1;  // a double cannot hold it
  EXPECT_EQ(cast(Tensor::scalar(large), DType::u64).data<uint64_t>()[0], uint64_t(large));
  EXPECT_EQ(cast(Tensor::scalar(UINT64_MAX), DType::i64).data<int64_t>()[0], -1);
}

TEST(Tensor, CastToTheSameTypeCopiesNothing) {
  const Tensor a = Tensor::of<float>({1}, {1});
  EXPECT_EQ(cast(a, DType::f32).bytes().data(), a.bytes().data());
}

TEST(Tensor, ArithmeticOnTypesWithoutItIsRefused) {
  const Tensor complex(DType::c64, {1});
  EXPECT_EQ(code_of([&] { element_as_double(complex, 0); }), ErrorCode::unsupported);
  EXPECT_EQ(code_of([&] { cast(complex, DType::f32); }), ErrorCode::unsupported);
}

}  // namespace
}  // namespace lathe::tensor
