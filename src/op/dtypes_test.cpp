// Operators that only move elements take every element type.
#include <gtest/gtest.h>

#include <cstring>

#include "op/op.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::DType;
using tensor::Tensor;

// Four elements, no two alike where the type can tell them apart.
Tensor sample(DType dtype, tensor::Dims dims) {
  if (dtype == DType::string) return Tensor::of_strings(std::move(dims), {"a", "", "ccc", "dd"});
  Tensor x(dtype, std::move(dims));
  const auto bytes = x.mutable_bytes();
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = std::byte(dtype == DType::boolean ? i % 2 : 27 * i + 228);
  return x;
}

bool same(const Tensor& a, const Tensor& b) {
  if (a.dtype() != b.dtype() || a.dims() != b.dims()) return false;
  if (a.dtype() == DType::string) return a.strings() == b.strings();
  return std::memcmp(a.bytes().data(), b.bytes().data(), a.bytes().size()) == 0;
}

TEST(DTypes, OperatorsThatMoveElementsTakeAllOfThem) {
  const auto ints = [](std::initializer_list<int64_t> values) {
    return Tensor::of<int64_t>({int64_t(values.size())}, values);
  };
  const auto run = [](const char* name, std::vector<Tensor> inputs, const Attributes& attributes = {}) {
    return evaluate(get_op(name), std::move(inputs), attributes)[0];
  };
  for (int i = 1; i <= int(DType::i2); ++i) {
    const DType dtype = DType(i);
    SCOPED_TRACE(tensor::to_string(dtype));
    const Tensor x = sample(dtype, {2, 2});
    const Tensor flat = sample(dtype, {4});
    EXPECT_TRUE(same(run("Identity", {x}), x));
    EXPECT_TRUE(same(run("Reshape", {x, ints({4})}), flat));
    EXPECT_TRUE(same(run("Flatten", {x}, {{"axis", int64_t{1}}}), x));
    EXPECT_TRUE(same(run("Squeeze", {run("Unsqueeze", {x, ints({0})}), ints({0})}), x));
    const Tensor turned = run("Transpose", {x});
    EXPECT_TRUE(same(run("Transpose", {turned}), x));
    const Tensor top = run("Slice", {x, ints({0}), ints({1})}), bottom = run("Gather", {x, ints({1})});
    EXPECT_TRUE(same(run("Concat", {top, bottom}, {{"axis", int64_t{0}}}), x));
    EXPECT_TRUE(same(run("Gather", {run("Tile", {x, ints({2, 1})}), ints({2, 3})}), x));
    EXPECT_TRUE(same(run("Slice", {run("Pad", {x, ints({1, 1, 0, 2})}), ints({1, 1}), ints({3, 3})}), x));
    EXPECT_TRUE(same(run("Slice", {run("Expand", {x, ints({3, 2, 2})}), ints({2}), ints({3})}),
                     run("Unsqueeze", {x, ints({0})})));
    EXPECT_TRUE(same(run("GatherElements", {flat, ints({0, 1, 2, 3})}), flat));
    EXPECT_TRUE(same(
        run("ScatterND", {run("Gather", {flat, ints({3, 2, 1, 0})}), Tensor::of<int64_t>({4, 1}, {0, 1, 2, 3}), flat}),
        flat));
    EXPECT_TRUE(same(run("Where", {Tensor::scalar(true), x, turned}), x));
    EXPECT_TRUE(same(run("Trilu", {x, Tensor::scalar(int64_t{-1})}), x));
    EXPECT_TRUE(same(run("ReverseSequence", {turned, ints({1, 1})}), turned));
    EXPECT_EQ(run("Shape", {x}).size(), 2);
    EXPECT_EQ(load_int(run("Size", {x})), 4);
    EXPECT_EQ(run("Split", {x}, {{"num_outputs", int64_t{1}}}).dims(), x.dims());
  }
}

TEST(DTypes, NonZeroTakesStringsAndComplexNumbers) {
  const auto found = [](const Tensor& x) { return load<int64_t>(evaluate(get_op("NonZero"), {x}, {})[0]); };
  EXPECT_EQ(found(sample(DType::string, {4})), (std::vector<int64_t>{0, 2, 3}));
  Tensor complex(DType::c64, {3});
  complex.data<float>()[3] = -1;  // the imaginary part of element 1
  EXPECT_EQ(found(complex), (std::vector<int64_t>{1}));
}

}  // namespace
}  // namespace lathe::op
