#include "plan/precision.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace lathe::plan {
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

TEST(Precision, EveryNameGoesThereAndBack) {
  for (const std::string_view name : {"fp32", "fp16", "bf16", "int16", "int8"}) {
    EXPECT_EQ(precision_of(compute_of(name)), name);
  }
  EXPECT_EQ(compute_of("fp32"), "f32");
  EXPECT_EQ(compute_of("int8"), "i8");
  EXPECT_EQ(precision_of("of a later version"), "of a later version");
}

TEST(Precision, UnknownNamesAreUsage) {
  for (const std::string_view name : {"", "f32", "banana", "FP32", "int4"}) {
    EXPECT_EQ(code_of([&] { compute_of(name); }), ErrorCode::usage) << name;
    EXPECT_EQ(code_of([&] { cache_type(name); }), ErrorCode::usage) << name;
    EXPECT_EQ(code_of([&] { float_type(name); }), ErrorCode::usage) << name;
  }
}

TEST(Precision, CachesAndExportsAreFloats) {
  EXPECT_EQ(cache_type("bf16"), "bf16");
  EXPECT_EQ(float_type("fp16"), tensor::DType::f16);
  EXPECT_EQ(code_of([] { cache_type("int8"); }), ErrorCode::unsupported);
  EXPECT_EQ(code_of([] { float_type("int8"); }), ErrorCode::usage);
}

}  // namespace
}  // namespace lathe::plan
