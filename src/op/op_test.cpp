// The registry, signatures, attributes, and shape inference with symbols.
#include "op/op.h"

#include <gtest/gtest.h>

#include <limits>
#include <variant>

#include "op/small_float.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::Dim;
using tensor::DType;
using tensor::Tensor;

const Dim kBatch = Dim::symbol("batch");
const Dim kSeq = Dim::symbol("seq");
const Dim kPast = Dim::symbol("past");

TypeInfo type(DType dtype, tensor::Shape shape) {
  return {dtype, std::move(shape), std::nullopt};
}

TypeInfo constant_type(const Tensor& tensor) {
  return type(tensor.dtype(), tensor::to_shape(tensor.dims()));
}

// Infers output 0; inputs given as tensors are constants.
TypeInfo infer(std::string_view name, const std::vector<std::variant<TypeInfo, Tensor>>& inputs,
               const Attributes& attributes = {}) {
  const OpDef& def = get_op(name);
  check_signature(def, inputs.size(), 1, attributes);
  std::vector<TypeInfo> types(inputs.size());
  InferContext context{
      .op = def.name, .attributes = attributes, .inputs = {}, .constants = {}, .outputs = {}};
  context.unique_name = "n1";
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Tensor* constant = std::get_if<Tensor>(&inputs[i]);
    types[i] = constant ? constant_type(*constant) : std::get<TypeInfo>(inputs[i]);
    context.inputs.push_back(types[i].dtype == DType::undefined ? nullptr : &types[i]);
    context.constants.push_back(constant && constant->defined() ? constant : nullptr);
  }
  context.outputs.resize(1);
  def.infer(context);
  return context.outputs[0];
}

template <class Body>
std::optional<ErrorCode> code_of(Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.code();
  }
  return std::nullopt;
}

Tensor ints(std::initializer_list<int64_t> values) {
  return Tensor::of<int64_t>({int64_t(values.size())}, values);
}

TEST(Registry, FindsByNameAndIsSorted) {
  EXPECT_NE(find_op("MatMul"), nullptr);
  EXPECT_EQ(find_op("matmul"), nullptr);
  EXPECT_EQ(get_op("lathe.Linear").name, "lathe.Linear");
  EXPECT_EQ(code_of([] { get_op("Nonsense"); }), ErrorCode::unsupported);
  const auto ops = all_ops();
  for (size_t i = 1; i < ops.size(); ++i) EXPECT_LT(ops[i - 1]->name, ops[i]->name);
  for (const OpDef* def : ops) {
    EXPECT_NE(def->infer, nullptr) << def->name;
    EXPECT_TRUE(def->evaluate || def->evaluate_data) << def->name;
  }
}

TEST(Signature, ArityAndAttributesAreChecked) {
  const OpDef& softmax = get_op("Softmax");
  EXPECT_EQ(code_of([&] { check_signature(softmax, 1, 1, {{"axis", int64_t{0}}}); }), std::nullopt);
  EXPECT_EQ(code_of([&] { check_signature(softmax, 2, 1, {}); }), ErrorCode::invalid_input);
  EXPECT_EQ(code_of([&] { check_signature(softmax, 1, 2, {}); }), ErrorCode::invalid_input);
  EXPECT_EQ(code_of([&] { check_signature(softmax, 1, 1, {{"axes", int64_t{0}}}); }),
            ErrorCode::invalid_input);
  EXPECT_EQ(code_of([&] { check_signature(softmax, 1, 1, {{"axis", 1.0}}); }), ErrorCode::invalid_input);
  EXPECT_EQ(code_of([&] { check_signature(get_op("Cast"), 1, 1, {}); }), ErrorCode::invalid_input);
  EXPECT_EQ(code_of([&] { check_signature(get_op("Gemm"), 2, 1, {{"alpha", int64_t{2}}}); }), std::nullopt);
}

TEST(AttributesTest, TypedAccess) {
  const Attributes a{{"i", int64_t{3}}, {"f", 0.5}, {"s", "x"}, {"l", std::vector<int64_t>{1, 2}}};
  EXPECT_EQ(a.find_int("i"), 3);
  EXPECT_EQ(a.find_float("i"), 3.0);
  EXPECT_EQ(a.get_float("f", 0), 0.5);
  EXPECT_EQ(a.get_string("s", ""), "x");
  EXPECT_EQ(a.find_ints("l"), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(a.find_int("none"), std::nullopt);
  EXPECT_EQ(code_of([&] { a.find_int("f"); }), ErrorCode::invalid_input);
  EXPECT_EQ(code_of([&] { a.find_tensor("s"); }), ErrorCode::invalid_input);
}

TEST(AttributesTest, EqualityIsByContentAndBits) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ((Attributes{{"x", nan}}), (Attributes{{"x", nan}}));
  EXPECT_FALSE((Attributes{{"x", 0.0}}) == (Attributes{{"x", -0.0}}));
  EXPECT_FALSE((Attributes{{"x", 1.0}}) == (Attributes{{"x", int64_t{1}}}));
  EXPECT_EQ((Attributes{{"t", ints({1, 2})}}), (Attributes{{"t", ints({1, 2})}}));
  EXPECT_FALSE((Attributes{{"t", ints({1, 2})}}) == (Attributes{{"t", ints({1, 3})}}));
  Attributes a{{"x", int64_t{1}}, {"y", int64_t{1}}};
  a.erase("y");
  EXPECT_EQ(a, (Attributes{{"x", int64_t{1}}}));
}

// Shape -> Gather -> Unsqueeze -> Concat -> Reshape, as exporters split heads.
TEST(Infer, ShapeChainsReachReshape) {
  const TypeInfo hidden = type(DType::f32, {kBatch, kSeq, Dim(576)});
  const TypeInfo shape = infer("Shape", {hidden});
  const TypeInfo batch = infer("Gather", {shape, Tensor::scalar<int64_t>(0)});
  ASSERT_TRUE(batch.shape.empty());
  EXPECT_EQ(batch.elements, std::vector{kBatch});
  const TypeInfo length = infer("Slice", {shape, ints({1}), ints({2})});
  const TypeInfo target = infer("Concat", {infer("Unsqueeze", {batch, ints({0})}), length, ints({9, -1})},
                                {{"axis", int64_t{0}}});
  EXPECT_EQ(infer("Reshape", {hidden, target}).shape, (tensor::Shape{kBatch, kSeq, Dim(9), Dim(64)}));
  EXPECT_EQ(infer("Reshape", {hidden, ints({0, -1, 64})}).shape,
            (tensor::Shape{kBatch, kSeq * Dim(9), Dim(64)}));
}

// Where(Equal(shape, -1), ones, shape) -> Expand, as torch writes expand(-1, n).
TEST(Infer, ExpandChainsKeepSymbols) {
  const TypeInfo shape = infer("Shape", {type(DType::f32, {kBatch, kSeq})});
  const TypeInfo target = infer("Concat", {ints({-1}), shape}, {{"axis", int64_t{0}}});
  const TypeInfo ones =
      infer("ConstantOfShape", {infer("Shape", {target})}, {{"value", Tensor::of<int64_t>({1}, {1})}});
  const TypeInfo minus = infer("Mul", {ones, Tensor::scalar<int64_t>(-1)});
  const TypeInfo equal = infer("Equal", {target, minus});
  const TypeInfo chosen = infer("Where", {equal, ones, target});
  EXPECT_EQ(chosen.elements, (std::vector{Dim(1), kBatch, kSeq}));
  const TypeInfo x = type(DType::f32, {Dim(7), Dim(1), Dim(1)});
  EXPECT_EQ(infer("Expand", {x, chosen}).shape, (tensor::Shape{Dim(7), kBatch, kSeq}));
}

// Positions: Range(past, past + seq).
TEST(Infer, RangeOfSymbols) {
  const TypeInfo past{DType::i64, {}, std::vector{kPast}};
  const TypeInfo seq{DType::i64, {}, std::vector{kSeq}};
  const TypeInfo end = infer("Add", {past, seq});
  EXPECT_EQ(infer("Range", {past, end, Tensor::scalar<int64_t>(1)}).shape, tensor::Shape{kSeq});
}

TEST(Infer, SlicesAreExactOnlyWhereCertain) {
  const TypeInfo x = type(DType::f32, {kPast + kSeq, Dim(8)});
  const TypeInfo past{DType::i64, {Dim(1)}, std::vector{kPast}};
  const int64_t to_end = std::numeric_limits<int64_t>::max();
  EXPECT_EQ(infer("Slice", {x, past, ints({to_end})}).shape[0], kSeq);
  EXPECT_EQ(infer("Slice", {x, ints({0}), past}).shape[0], kPast);
  EXPECT_EQ(infer("Slice", {x, ints({0}), ints({to_end})}).shape[0], kPast + kSeq);
  // past + seq may be below 3: the length is a symbol of its own, not past + seq - 3.
  const Dim unsure = infer("Slice", {x, ints({3}), ints({to_end})}).shape[0];
  EXPECT_FALSE(unsure.is_constant());
  EXPECT_FALSE(unsure == kPast + kSeq - Dim(3));
  EXPECT_EQ(infer("Slice", {x, ints({-1}), ints({-9}), ints({1}), ints({-2})}).shape[1], Dim(4));
}

TEST(Infer, SplitConcatAndReduceFollowSymbols) {
  const TypeInfo x = type(DType::f32, {kBatch, kSeq * Dim(2)});
  EXPECT_EQ(infer("Concat", {x, x}, {{"axis", int64_t{1}}}).shape, (tensor::Shape{kBatch, kSeq * Dim(4)}));
  EXPECT_EQ(infer("ReduceSum", {x, ints({-1})}, {{"keepdims", int64_t{0}}}).shape, tensor::Shape{kBatch});
  EXPECT_EQ(infer("Flatten", {type(DType::f32, {kBatch, kSeq, Dim(3)})}, {{"axis", int64_t{2}}}).shape,
            (tensor::Shape{kBatch * kSeq, Dim(3)}));
  const TypeInfo count = infer("ReduceProd", {infer("Shape", {x})}, {{"keepdims", int64_t{0}}});
  EXPECT_EQ(count.elements, std::vector{kBatch * kSeq * Dim(2)});
}

TEST(Infer, AttentionJoinsPastAndPresent) {
  const OpDef& def = get_op("Attention");
  const TypeInfo q = type(DType::f32, {kBatch, kSeq, Dim(64)});
  const TypeInfo kv = type(DType::f32, {kBatch, kSeq, Dim(32)});
  const TypeInfo past = type(DType::f32, {kBatch, Dim(2), kPast, Dim(16)});
  const Attributes attributes{{"q_num_heads", int64_t{4}}, {"kv_num_heads", int64_t{2}}};
  InferContext context{.op = def.name,
                       .attributes = attributes,
                       .inputs = {&q, &kv, &kv, nullptr, &past, &past},
                       .constants = std::vector<const Tensor*>(6, nullptr),
                       .outputs = std::vector<TypeInfo>(4)};
  def.infer(context);
  EXPECT_EQ(context.outputs[0].shape, q.shape);
  EXPECT_EQ(context.outputs[1].shape, (tensor::Shape{kBatch, Dim(2), kPast + kSeq, Dim(16)}));
  EXPECT_EQ(context.outputs[3].shape, (tensor::Shape{kBatch, Dim(4), kSeq, kPast + kSeq}));
}

TEST(Infer, WhatCannotBeIsRefused) {
  const auto f32 = [](tensor::Shape shape) { return type(DType::f32, std::move(shape)); };
  const auto refuses = [](std::string_view op, const std::vector<std::variant<TypeInfo, Tensor>>& inputs,
                          const Attributes& attributes = {}) {
    return code_of([&] { infer(op, inputs, attributes); }) == ErrorCode::invalid_input;
  };
  EXPECT_TRUE(refuses("MatMul", {f32({Dim(2), Dim(3)}), f32({Dim(4), Dim(5)})}));
  EXPECT_TRUE(refuses("Add", {f32({Dim(2)}), f32({Dim(3)})}));
  EXPECT_TRUE(refuses("Add", {f32({Dim(2)}), type(DType::f16, {Dim(2)})}));
  EXPECT_TRUE(refuses("Sqrt", {type(DType::i32, {Dim(2)})}));
  EXPECT_TRUE(refuses("Softmax", {f32({Dim(2)})}, {{"axis", int64_t{1}}}));
  EXPECT_TRUE(refuses("Reshape", {f32({Dim(2), Dim(3)}), ints({4, -1})}));
  EXPECT_TRUE(refuses("Reshape", {f32({Dim(2), Dim(3)}), ints({-1, -1})}));
  EXPECT_TRUE(refuses("Transpose", {f32({Dim(2), Dim(3)})}, {{"perm", std::vector<int64_t>{0, 0}}}));
  EXPECT_TRUE(refuses("Concat", {f32({Dim(2), Dim(3)}), f32({Dim(3), Dim(3)})}, {{"axis", int64_t{1}}}));
  EXPECT_TRUE(refuses("Squeeze", {f32({Dim(2)}), ints({0})}));
  EXPECT_TRUE(refuses("Gather", {f32({Dim(2)}), f32({Dim(2)})}));
  EXPECT_TRUE(refuses("Slice", {f32({Dim(2)}), ints({0}), ints({1}), ints({0}), ints({0})}));
  EXPECT_TRUE(refuses("Cast", {f32({Dim(2)})}, {{"to", int64_t{99}}}));
  EXPECT_TRUE(refuses("Einsum", {f32({Dim(2)})}, {{"equation", "ij->i"}}));
}

TEST(Evaluate, WhatOnlyTheValuesShowIsRefusedToo) {
  const Tensor x = Tensor::of<float>({2}, {1, 2});
  const Tensor i = Tensor::of<int32_t>({1}, {5});
  const Tensor zero = Tensor::of<int32_t>({1}, {0});
  EXPECT_EQ(code_of([&] { evaluate(get_op("Gather"), {x, i}, {}); }), ErrorCode::invalid_input);
  EXPECT_EQ(code_of([&] { evaluate(get_op("GatherElements"), {x, i}, {}); }), ErrorCode::invalid_input);
  EXPECT_EQ(code_of([&] { evaluate(get_op("Div"), {i, zero}, {}); }), ErrorCode::invalid_input);
  EXPECT_EQ(code_of([&] { evaluate(get_op("Mod"), {i, zero}, {}); }), ErrorCode::invalid_input);
  EXPECT_EQ(code_of([&] { evaluate(get_op("TopK"), {x, ints({3})}, {}); }), ErrorCode::invalid_input);
}

// Every pattern of every small float comes back from its own value.
TEST(SmallFloat, PatternsRoundTrip) {
  for (const DType dtype :
       {DType::f8e4m3fn, DType::f8e4m3fnuz, DType::f8e5m2, DType::f8e5m2fnuz, DType::f8e8m0, DType::f4e2m1}) {
    const int patterns = 1 << tensor::bits(dtype);
    for (int bits = 0; bits < patterns; ++bits) {
      const double value = decode_small_float(dtype, uint8_t(bits));
      if (value != value) continue;
      EXPECT_EQ(int(encode_small_float(dtype, value, Overflow::natural)), bits) << tensor::to_string(dtype);
    }
  }
}

}  // namespace
}  // namespace lathe::op
