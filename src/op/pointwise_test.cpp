#include "op/pointwise.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "op/op.h"

namespace lathe::op {
namespace {

using tensor::Tensor;
using testing::HasSubstr;

std::string error_of(std::string_view text) {
  try {
    parse_step(text, 2);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_input);
    return error.what();
  }
  return "";
}

TEST(Pointwise, StepsPrintAsTheyRead) {
  for (const char* text :
       {"Add 0 1", "Clip 1 #-0.5 #6", "LeakyRelu 0 #0.1", "Pow #2 1", "GeluTanh 0", "Clip 0 #-inf #inf"}) {
    EXPECT_EQ(to_string(parse_step(text, 2)), text);
  }
}

TEST(Pointwise, WhatIsNoStepIsRefused) {
  EXPECT_THAT(error_of(""), HasSubstr("no operator"));
  EXPECT_THAT(error_of("Conv 0 1"), HasSubstr("no operator"));
  EXPECT_THAT(error_of("Add 0"), HasSubstr("expected 2 arguments"));
  EXPECT_THAT(error_of("Add 0 2"), HasSubstr("2 values"));
  EXPECT_THAT(error_of("Add 0 -1"), HasSubstr("2 values"));
  EXPECT_THAT(error_of("Relu x"), HasSubstr("no number"));
  EXPECT_THAT(error_of("Clip 0 1 #2"), HasSubstr("argument 1"));  // bounds are numbers
  EXPECT_THAT(error_of("Relu #1e"), HasSubstr("no number"));
}

TEST(Pointwise, NodesBecomeSteps) {
  EXPECT_EQ(to_string(*pointwise_of("Gelu", {{"approximate", std::string("tanh")}}, 1)), "GeluTanh 0");
  EXPECT_EQ(to_string(*pointwise_of("LeakyRelu", {}, 1)), "LeakyRelu 0 #0.01");
  EXPECT_FALSE(pointwise_of("Max", {}, 3));  // of three
  EXPECT_FALSE(pointwise_of("MatMul", {}, 2));
}

TEST(Pointwise, AProgramIsItsOperatorsOneByOne) {
  const auto x = Tensor::of<float>({2, 2}, {-1, 0.5f, 2, -3});
  const auto y = Tensor::of<float>({2}, {10, 100});
  const Attributes attributes{{"steps", std::vector<std::string>{"Relu 0", "Mul 2 1", "Sub #1 3", "Clip 4 #-60 #0.5"}}};
  const Tensor z = evaluate(get_op("lathe.Pointwise"), {x, y}, attributes)[0];
  // 1 - relu(x) y, within [-60, 0.5]
  EXPECT_THAT(std::vector<float>(z.data<float>().begin(), z.data<float>().end()),
              testing::ElementsAre(0.5f, -49, -19, 0.5f));
}

TEST(Pointwise, TheResultIsAsLargeAsAllInputsTogether) {
  const auto x = Tensor::of<float>({1, 2}, {1, 2});
  const auto y = Tensor::of<float>({2, 1}, {3, 4});
  const Tensor z =
      evaluate(get_op("lathe.Pointwise"), {x, y}, {{"steps", std::vector<std::string>{"Add 0 1", "Neg 0"}}})[0];
  EXPECT_EQ(z.dims(), (tensor::Dims{2, 2}));
  EXPECT_EQ(z.data<float>()[2], -1);
}

}  // namespace
}  // namespace lathe::op
