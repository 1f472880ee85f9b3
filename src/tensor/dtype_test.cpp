#include "tensor/dtype.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

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

TEST(DType, NamesAreUniqueAndFindTheirType) {
  std::set<std::string_view> names;
  for (int i = 1; i <= 26; ++i) {
    const DType dtype = DType(i);
    EXPECT_TRUE(names.insert(to_string(dtype)).second) << to_string(dtype);
    EXPECT_EQ(find_dtype(to_string(dtype)), dtype);
  }
  EXPECT_EQ(find_dtype("undefined"), std::nullopt);
  EXPECT_EQ(find_dtype("float"), std::nullopt);
  EXPECT_EQ(find_dtype(""), std::nullopt);
  EXPECT_EQ(to_string(DType::bf16), "bf16");
  EXPECT_EQ(to_string(DType::boolean), "bool");
}

// Numbers of ONNX's TensorProto.DataType, which files hold.
TEST(DType, ValuesAreOnnxNumbers) {
  EXPECT_EQ(int(DType::f32), 1);
  EXPECT_EQ(int(DType::i64), 7);
  EXPECT_EQ(int(DType::boolean), 9);
  EXPECT_EQ(int(DType::f16), 10);
  EXPECT_EQ(int(DType::f64), 11);
  EXPECT_EQ(int(DType::bf16), 16);
  EXPECT_EQ(int(DType::f8e4m3fn), 17);
  EXPECT_EQ(int(DType::u4), 21);
  EXPECT_EQ(int(DType::i4), 22);
  EXPECT_EQ(int(DType::f4e2m1), 23);
}

TEST(DType, SizesOfPackedTypesRoundUpToBytes) {
  EXPECT_EQ(byte_size(DType::f32, 3), 12u);
  EXPECT_EQ(byte_size(DType::c128, 2), 32u);
  EXPECT_EQ(byte_size(DType::boolean, 5), 5u);
  EXPECT_EQ(byte_size(DType::i4, 3), 2u);
  EXPECT_EQ(byte_size(DType::i4, 4), 2u);
  EXPECT_EQ(byte_size(DType::u2, 5), 2u);
  EXPECT_EQ(byte_size(DType::u2, 0), 0u);
}

TEST(DType, ImpossibleSizesAreRefused) {
  EXPECT_EQ(code_of([] { byte_size(DType::f64, INT64_MAX); }), ErrorCode::invalid_input);
  EXPECT_EQ(code_of([] { byte_size(DType::f32, -1); }), ErrorCode::invalid_input);
  EXPECT_EQ(code_of([] { byte_size(DType::string, 1); }), ErrorCode::internal);
  EXPECT_EQ(code_of([] { byte_size(DType::undefined, 1); }), ErrorCode::internal);
  EXPECT_EQ(code_of([] { bits(DType(27)); }), ErrorCode::internal);
}

TEST(DType, Kinds) {
  int floats = 0, integers = 0;
  for (int i = 0; i <= 26; ++i) {
    EXPECT_FALSE(is_float(DType(i)) && is_integer(DType(i)));
    floats += is_float(DType(i));
    integers += is_integer(DType(i));
  }
  EXPECT_EQ(floats, 10);    // f64, f32, f16, bf16, four f8, f4e2m1, f8e8m0
  EXPECT_EQ(integers, 12);  // 8 to 64 bits, 4 and 2 bits, each with and without sign
  EXPECT_FALSE(is_integer(DType::boolean));
  EXPECT_FALSE(is_float(DType::c64));
}

}  // namespace
}  // namespace lathe::tensor
