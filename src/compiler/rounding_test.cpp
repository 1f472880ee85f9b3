#include "compiler/rounding.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace lathe::compiler {
namespace {

using contract::Precision;

// "compute cache", or the name of the error.
std::string chosen(Precision own, const std::string& precision, const std::string& kv = "") {
  contract::Contract contract;
  contract.precision = own;
  try {
    const Rounding rounding = choose_rounding(contract, precision, kv);
    return rounding.compute + " " + rounding.kv;
  } catch (const Error& error) {
    return std::string(to_string(error.code()));
  }
}

TEST(Rounding, IsTheCheckpointsOwnWithoutAWish) {
  EXPECT_EQ(chosen(Precision::fp32, ""), "f32 f32");
  EXPECT_EQ(chosen(Precision::fp16, ""), "f16 f16");
  EXPECT_EQ(chosen(Precision::bf16, ""), "bf16 bf16");
  EXPECT_EQ(chosen(Precision::q8, ""), "i16 f16");
}

TEST(Rounding, Wishes) {
  for (const Precision own : {Precision::fp32, Precision::fp16, Precision::bf16, Precision::q8}) {
    EXPECT_EQ(chosen(own, "fp32"), "f32 f32");
    EXPECT_EQ(chosen(own, "f32"), "usage");
    EXPECT_EQ(chosen(own, "", "f16"), "usage");
    EXPECT_EQ(chosen(own, "fp32", "bf16"), "f32 bf16");
    EXPECT_EQ(chosen(own, "", "int8"), "unsupported");
  }
  EXPECT_EQ(chosen(Precision::q8, "int8"), "i8 f16");
  EXPECT_EQ(chosen(Precision::q8, "int16", "fp32"), "i16 f32");
  EXPECT_EQ(chosen(Precision::q8, "fp16"), "unsupported");
  EXPECT_EQ(chosen(Precision::fp16, "fp16"), "f16 f16");
  EXPECT_EQ(chosen(Precision::fp16, "bf16"), "unsupported");
  EXPECT_EQ(chosen(Precision::bf16, "int8"), "unsupported");
}

}  // namespace
}  // namespace lathe::compiler
