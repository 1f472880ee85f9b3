// Our own operators against compositions of the standard ones.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "base/numbers.h"
#include "op/op.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::DType;
using tensor::Tensor;

Tensor random_tensor(tensor::Dims dims, unsigned seed, DType dtype = DType::f32) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  std::vector<double> values(size_t(tensor::element_count(std::span<const int64_t>(dims))));
  for (double& value : values) value = normal(random);
  return store(dtype, std::move(dims), values);
}

// The same tensor as weights in a mapped file appear: read-only.
Tensor as_view(const Tensor& x) {
  if (!x.defined() || x.dtype() == DType::string) return x;
  return Tensor::view(x.dtype(), x.dims(), x.bytes(), std::make_shared<Tensor>(x));
}

Tensor run(std::string_view op, std::vector<Tensor> inputs, const Attributes& attributes = {}) {
  for (Tensor& input : inputs) input = as_view(input);
  return evaluate(get_op(op), std::move(inputs), attributes)[0];
}

void expect_close(const Tensor& found, const Tensor& expected, double tolerance) {
  ASSERT_EQ(found.dtype(), expected.dtype());
  ASSERT_EQ(found.dims(), expected.dims());
  const auto a = load<double>(found);
  const auto b = load<double>(expected);
  for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], tolerance * (1 + std::fabs(b[i]))) << i;
}

Tensor transposed(const Tensor& x) {
  return run("Transpose", {x});
}

TEST(LatheLinear, ThreePartsWithBiasAreThreeGemmsSideBySide) {
  const Tensor x = random_tensor({2, 3, 40}, 1);
  const Tensor scale = random_tensor({40}, 2);
  const Tensor w[] = {random_tensor({8, 40}, 3), random_tensor({4, 40}, 4), random_tensor({4, 40}, 5)};
  const Tensor bias = random_tensor({4}, 6);
  const Tensor y = run("lathe.Linear", {x, {}, scale, {}, w[0], w[1], w[2], {}, bias, {}},
                       {{"parts", int64_t{3}}, {"norm", "rms"}, {"epsilon", 1e-3}});
  const Tensor normal = run("RMSNormalization", {x, scale}, {{"epsilon", 1e-3}});
  const Tensor parts[] = {run("MatMul", {normal, transposed(w[0])}),
                          run("Add", {run("MatMul", {normal, transposed(w[1])}), bias}),
                          run("MatMul", {normal, transposed(w[2])})};
  expect_close(y, run("Concat", {parts[0], parts[1], parts[2]}, {{"axis", int64_t{-1}}}), 2e-6);
}

TEST(LatheLinear, GatesMultiplyThePartsAndAddTheResidual) {
  const Tensor x = random_tensor({5, 24}, 1);
  const Tensor residual = random_tensor({5, 7}, 2);
  const Tensor gate = random_tensor({7, 24}, 3);
  const Tensor up = random_tensor({7, 24}, 4);
  const auto activated = [&](std::string_view name, const Tensor& value) {
    if (name == "silu_gate") return run("Swish", {value});
    return run("Gelu", {value}, {{"approximate", name == "gelu_gate" ? "none" : "tanh"}});
  };
  for (const std::string name : {"silu_gate", "gelu_gate", "gelu_tanh_gate"}) {
    SCOPED_TRACE(name);
    const Tensor y =
        run("lathe.Linear", {x, residual, {}, {}, gate, up}, {{"parts", int64_t{2}}, {"activation", name}});
    const Tensor left = activated(name, run("MatMul", {x, transposed(gate)}));
    const Tensor product = run("Mul", {left, run("MatMul", {x, transposed(up)})});
    expect_close(y, run("Add", {product, residual}), 4e-6);
  }
}

TEST(LatheLinear, PlainActivationsAndLayerNorm) {
  const Tensor x = random_tensor({4, 16}, 1);
  const Tensor scale = random_tensor({16}, 2);
  const Tensor bias = random_tensor({16}, 3);
  const Tensor w = random_tensor({6, 16}, 4);
  const Tensor normal = run("LayerNormalization", {x, scale, bias}, {{"epsilon", 1e-5}});
  const Tensor product = run("MatMul", {normal, transposed(w)});
  const std::pair<std::string, Tensor> expected[] = {
      {"none", product},
      {"relu", run("Relu", {product})},
      {"silu", run("Swish", {product})},
      {"gelu", run("Gelu", {product})},
      {"gelu_tanh", run("Gelu", {product}, {{"approximate", "tanh"}})}};
  for (const auto& [name, value] : expected) {
    SCOPED_TRACE(name);
    const Attributes attributes{{"norm", "layer"}, {"epsilon", 1e-5}, {"activation", name}};
    expect_close(run("lathe.Linear", {x, {}, scale, bias, w}, attributes), value, 4e-6);
  }
}

TEST(LatheLinear, ComputeRoundsTheInputOfTheProducts) {
  const Tensor x = random_tensor({3, 70}, 1);
  const Tensor w = random_tensor({5, 70}, 2);
  for (const std::string name : {"bf16", "f16"}) {
    const DType dtype = name == "f16" ? DType::f16 : DType::bf16;
    const Tensor rounded = tensor::cast(tensor::cast(x, dtype), DType::f32);
    expect_close(run("lathe.Linear", {x, {}, {}, {}, w}, {{"compute", name}}),
                 run("MatMul", {rounded, transposed(w)}), 1e-6);
  }
}

// Row of 40: a block of 32 and a short one of 8, each with a scale of its own.
TEST(LatheLinear, Int8RoundsInBlocksOf32) {
  std::vector<float> row(40, 0.0f);
  row[0] = 127.0f;
  row[1] = 2.5f;    // to 2, ties to even
  row[2] = -3.5f;   // to -4
  row[32] = 12.7f;  // scale 0.1
  row[33] = 0.34f;  // 3.4 steps: 0.3
  std::vector<float> identity(40 * 40, 0.0f);
  for (size_t i = 0; i < 40; ++i) identity[i * 41] = 1.0f;
  const Tensor x = Tensor::of<float>({1, 40}, std::span<const float>(row));
  const Tensor w = Tensor::of<float>({40, 40}, std::span<const float>(identity));
  const Tensor y = run("lathe.Linear", {x, {}, {}, {}, w}, {{"compute", "i8"}});
  const auto values = y.data<float>();
  EXPECT_FLOAT_EQ(values[0], 127.0f);
  EXPECT_FLOAT_EQ(values[1], 2.0f);
  EXPECT_FLOAT_EQ(values[2], -4.0f);
  EXPECT_FLOAT_EQ(values[32], 12.7f);
  EXPECT_NEAR(values[33], 0.3f, 1e-6);
}

// 1000 beside ones: 8 bits lose the ones, 16 bits keep them to half a step of 1000 / 32767.
TEST(LatheLinear, Int16KeepsSmallNeighbours) {
  std::vector<float> row(32, 1.0f);
  row[7] = 1000.0f;
  const Tensor x = Tensor::of<float>({1, 32}, std::span<const float>(row));
  const Tensor ones = Tensor::of<float>({1, 32}, std::span<const float>(std::vector<float>(32, 1.0f)));
  const auto sum = [&](const char* compute) {
    return run("lathe.Linear", {x, {}, {}, {}, ones}, {{"compute", compute}}).data<float>()[0];
  };
  EXPECT_FLOAT_EQ(sum("i8"), 1000.0f);
  const double step = 1000.0 / 32767;
  EXPECT_NEAR(sum("i16"), 1000 + 31 * step * std::nearbyint(1 / step), 1e-3);
}

TEST(LatheLinear, RefusesWhatDoesNotFit) {
  const Tensor x = random_tensor({3, 8}, 1);
  const Tensor w = random_tensor({4, 8}, 2);
  const auto code = [&](std::vector<Tensor> inputs, const Attributes& attributes) {
    try {
      run("lathe.Linear", std::move(inputs), attributes);
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::internal;
  };
  EXPECT_EQ(code({x, {}, {}, {}, random_tensor({4, 9}, 3)}, {}), ErrorCode::invalid_input);
  EXPECT_EQ(code({x, {}, {}, {}, w}, {{"activation", "silu_gate"}}), ErrorCode::invalid_input);
  EXPECT_EQ(code({x, x, {}, {}, w}, {}), ErrorCode::invalid_input);
  EXPECT_EQ(code({x, {}, {}, {}, w}, {{"compute", "i4"}}), ErrorCode::invalid_input);
  EXPECT_EQ(code({x, {}, {}, {}, w, w, w}, {{"parts", int64_t{2}}}), ErrorCode::invalid_input);
}

TEST(LatheRotaryTable, IsCosineAndSineOfTheAngleInFloat) {
  const Tensor positions = Tensor::of<int64_t>({3}, {0, 7, 100000});
  const Tensor frequencies = Tensor::of<float>({2}, {1.0f, 0.0123f});
  const auto out = evaluate(get_op("lathe.RotaryTable"), {positions, frequencies}, {{"scale", 1.5}}, 2);
  ASSERT_EQ(out[0].dims(), (tensor::Dims{3, 2}));
  for (int64_t t = 0; t < 3; ++t) {
    for (int64_t i = 0; i < 2; ++i) {
      const float angle = float(positions.data<int64_t>()[size_t(t)]) * frequencies.data<float>()[size_t(i)];
      EXPECT_FLOAT_EQ(out[0].data<float>()[size_t(t * 2 + i)], float(1.5 * std::cos(double(angle))));
      EXPECT_FLOAT_EQ(out[1].data<float>()[size_t(t * 2 + i)], float(1.5 * std::sin(double(angle))));
    }
  }
}

// Two sequences of different age in one step, on scattered blocks of 4 positions; each must give what
// RotaryEmbedding and Attention with a past give for it alone, and leave keys and values in its blocks.
class PagedAttention : public testing::TestWithParam<std::tuple<DType, int>> {};

TEST_P(PagedAttention, IsRotaryThenAttentionWithPastPerSequence) {
  const auto [dtype, interleaved] = GetParam();
  constexpr int64_t kHeads = 4, kKv = 2, kDim = 8, kRotary = 6, kBlock = 4, kBlocks = 7;
  const int64_t width = (kHeads + 2 * kKv) * kDim;
  const int64_t past[] = {0, 6};
  const int64_t fresh[] = {5, 3};
  const Tensor qkv = random_tensor({8, width}, 1);
  const Tensor angles = random_tensor({8, kRotary / 2}, 2);
  const Tensor cos = run("Cos", {angles});
  const Tensor sin = run("Sin", {angles});
  const Tensor keys = random_tensor({kBlocks, kKv, kBlock, kDim}, 3, dtype);
  const Tensor values = random_tensor({kBlocks, kKv, kBlock, kDim}, 4, dtype);
  const std::vector<int32_t> table{5, 0, -1, 3, 1, 6};
  const Attributes attributes{{"num_heads", kHeads}, {"kv_heads", kKv},
                              {"head_dim", kDim},    {"rotary_dim", kRotary},
                              {"scale", 0.4},        {"interleaved", int64_t(interleaved)}};
  const auto out =
      evaluate(get_op("lathe.PagedAttention"),
               {qkv, cos, sin, Tensor::of<int32_t>({3}, {0, 5, 8}), Tensor::of<int32_t>({2}, {0, 6}),
                Tensor::of<int32_t>({2, 3}, std::span<const int32_t>(table)), keys, values},
               attributes, 3);

  const auto rows = [](const Tensor& x, int64_t begin, int64_t end, int64_t axis) {
    return run("Slice", {x, Tensor::of<int64_t>({1}, {begin}), Tensor::of<int64_t>({1}, {end}),
                         Tensor::of<int64_t>({1}, {axis})});
  };
  // [length, kv heads, dim] of one sequence, read block by block.
  const auto cached = [&](const Tensor& cache, int64_t s, int64_t length) {
    const auto from = load<double>(cache);
    std::vector<double> to;
    for (int64_t h = 0; h < kKv; ++h) {
      for (int64_t p = 0; p < length; ++p) {
        const int64_t block = table[size_t(s * 3 + p / kBlock)];
        const int64_t at = ((block * kKv + h) * kBlock + p % kBlock) * kDim;
        to.insert(to.end(), from.begin() + at, from.begin() + at + kDim);
      }
    }
    return store(DType::f32, {1, kKv, length, kDim}, to);
  };
  const auto as_heads = [](const Tensor& x, int64_t heads) {
    const Tensor split = x.reshaped({1, x.dims()[0], heads, kDim});
    return run("Transpose", {split}, {{"perm", std::vector<int64_t>{0, 2, 1, 3}}});
  };
  for (int64_t s = 0; s < 2; ++s) {
    SCOPED_TRACE(s);
    const int64_t begin = s == 0 ? 0 : 5;
    const Tensor own = rows(qkv, begin, begin + fresh[s], 0);
    const auto unsqueezed = [&](const Tensor& t) {
      return rows(t, begin, begin + fresh[s], 0).reshaped({1, fresh[s], kRotary / 2});
    };
    const Attributes rotary{{"interleaved", int64_t(interleaved)}, {"rotary_embedding_dim", kRotary}};
    const auto rotated = [&](const Tensor& x, int64_t heads) {
      return run("RotaryEmbedding", {as_heads(x, heads), unsqueezed(cos), unsqueezed(sin)}, rotary);
    };
    const Tensor q = rotated(rows(own, 0, kHeads * kDim, 1), kHeads);
    const auto through_cache = [dtype = dtype](const Tensor& x) {
      return tensor::cast(tensor::cast(x, dtype), DType::f32);
    };
    const Tensor k = through_cache(rotated(rows(own, kHeads * kDim, (kHeads + kKv) * kDim, 1), kKv));
    const Tensor v = through_cache(as_heads(rows(own, (kHeads + kKv) * kDim, width, 1), kKv));
    const auto expected =
        evaluate(get_op("Attention"), {q, k, v, {}, cached(keys, s, past[s]), cached(values, s, past[s])},
                 {{"is_causal", int64_t{1}}, {"scale", 0.4}}, 3);
    const Tensor y = as_heads(rows(out[0], begin, begin + fresh[s], 0), kHeads);
    expect_close(y, expected[0], 2e-6);
    expect_close(cached(out[1], s, past[s] + fresh[s]), expected[1], 1e-6);
    expect_close(cached(out[2], s, past[s] + fresh[s]), expected[2], 0);
  }
  // Blocks that belong to nobody stay as they were.
  expect_close(rows(out[1], 2, 3, 0), rows(keys, 2, 3, 0), 0);
  expect_close(rows(out[1], 4, 5, 0), rows(keys, 4, 5, 0), 0);
}

INSTANTIATE_TEST_SUITE_P(Caches, PagedAttention,
                         testing::Combine(testing::Values(DType::f32, DType::f16, DType::bf16),
                                          testing::Values(0, 1)));

TEST(PagedAttentionErrors, TablesOutsideOfTheCacheAreRefused) {
  const Tensor cache = random_tensor({2, 1, 4, 2}, 1);
  const auto code = [&](int32_t position, int32_t block) {
    try {
      evaluate(get_op("lathe.PagedAttention"),
               {random_tensor({1, 6}, 2),
                {},
                {},
                Tensor::of<int32_t>({2}, {0, 1}),
                Tensor::of<int32_t>({1}, {position}),
                Tensor::of<int32_t>({1, 1}, {block}),
                cache,
                cache},
               {{"num_heads", int64_t{1}}, {"kv_heads", int64_t{1}}, {"head_dim", int64_t{2}}}, 1);
    } catch (const Error& error) {
      return std::optional(error.code());
    }
    return std::optional<ErrorCode>();
  };
  EXPECT_EQ(code(3, 1), std::nullopt);
  EXPECT_EQ(code(4, 1), ErrorCode::invalid_input);
  EXPECT_EQ(code(-1, 1), ErrorCode::invalid_input);
  EXPECT_EQ(code(0, 2), ErrorCode::invalid_input);
  EXPECT_EQ(code(0, -1), ErrorCode::invalid_input);
}

}  // namespace
}  // namespace lathe::op
