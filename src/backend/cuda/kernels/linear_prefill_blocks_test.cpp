// Tensor-core products with block-quantised weights on the emulated device: activations are rounded by
// round_activations, norms included, so that the lines of tests/op/linear.cases can be asked whole.
#include "backend/cuda/kernels/linear_prefill_blocks.h"

#include <gtest/gtest.h>

#include "backend/cuda/kernels/blocks_testing.h"
#include "backend/cuda/kernels/round_activations.h"

namespace lathe::backend::cuda {
namespace {

using cpu::Compute;
using cpu::LinearData;
using cpu::LinearProblem;
using emulated::Buffer;

struct RoundedX {
  Buffer<uint8_t> numbers;
  Buffer<float> blocks;
};

RoundedX round_x(const LinearData& linear, unsigned seed) {
  const LinearProblem& p = linear.problem;
  const bool integers = cpu::is_integer(p.compute);
  const size_t count = size_t(p.tokens * p.columns);
  RoundedX out = {{"rounded x", count * (p.compute == Compute::i8 ? 1 : 2)}, {"x blocks", integers ? count / 16 : 0}};
  Buffer<float> x("x", linear.x), scale("norm_scale", linear.norm_scale), norm_bias("norm_bias", linear.norm_bias);
  RoundActivations call{};
  call.x = x;
  call.tokens = int(p.tokens);
  call.columns = int(p.columns);
  call.norm.kind = NormKind(int(p.norm));
  if (p.norm != cpu::Norm::none) call.norm.scale = scale;
  if (!linear.norm_bias.empty()) call.norm.bias = norm_bias;
  call.norm.epsilon = LinearData::kEpsilon;
  call.rounding = p.compute == Compute::bf16 ? Rounding::bf16 : Rounding::f16;
  call.out = out.numbers;
  call.blocks = out.blocks;
  emulated::launch({"round_activations", {unsigned(p.tokens)}, {kDecodeThreads}, 0, seed}, [&] {
    if (p.compute == Compute::i8)
      round_activations<Integers<8>>(call);
    else if (p.compute == Compute::i16)
      round_activations<Integers<16>>(call);
    else
      round_activations<Halves>(call);
  });
  return out;
}

template <class Shape, class Numbers>
void launch(const LinearPrefillBlocks& call, unsigned seed) {
  const emulated::Dim grid = {unsigned((call.rows + kTileRows - 1) / kTileRows),
                              unsigned((call.tokens + kTileTokens - 1) / kTileTokens)};
  emulated::launch({"linear_prefill_blocks", grid, {kPrefillThreads}, Staged<Shape, Numbers>::kBytes, seed},
                   [&] { linear_prefill_blocks<Shape, Numbers>(call); });
}

void launch_shape(cpu::Layout layout, Compute compute, const LinearPrefillBlocks& call, unsigned seed) {
  with_shape(layout, [&](auto shape) {
    using Shape = decltype(shape);
    switch (compute) {
      case Compute::i8:
        return launch<Shape, CodeNumbers<1>>(call, seed);
      case Compute::i16:
        return launch<Shape, CodeNumbers<2>>(call, seed);
      case Compute::bf16:
        return launch<Shape, HalfNumbers<true>>(call, seed);
      default:
        return launch<Shape, HalfNumbers<false>>(call, seed);
    }
  });
}

std::vector<float> results(const LinearData& linear, unsigned seed) {
  const LinearProblem& p = linear.problem;
  RoundedX x = round_x(linear, seed);
  Buffer<float> residual("residual", linear.residual), y("y", size_t(p.tokens * linear.outputs));
  LinearPrefillBlocks call{};
  call.x = x.numbers;
  if (cpu::is_integer(p.compute)) call.x_blocks = x.blocks;
  call.tokens = int(p.tokens);
  call.columns = int(p.columns);
  call.function = Function(int(p.activation));
  if (p.residual) call.residual = residual;
  call.y = y;
  call.y_stride = int(linear.outputs);
  for (size_t part = 0; part < linear.sources.size(); ++part) {
    Buffer<uint8_t> weights = packed_weights(*linear.sources[part], "weights");
    Buffer<float> bias("bias", linear.biases[part]);
    call.weights = weights;
    if (p.bias) call.bias = bias;
    call.rows = int(p.rows[part]);
    launch_shape(p.layouts[part], p.compute, call, seed);
    call.y_first += call.rows;
  }
  return y.elements();
}

void expect_defined(const LinearProblem& problem, unsigned seed) {
  SCOPED_TRACE(problem.text);
  const LinearData linear(problem);
  cpu::compare(linear, cpu::expect(linear), results(linear, seed), problem.tokens);
}

TEST(LinearPrefillBlocks, EqualsTheDefinition) {
  int seen = 0, problems = 0;
  for (const std::string& line : cpu::case_lines()) {
    if (line.starts_with("bench")) continue;
    for (const LinearProblem& problem : cpu::expand_line(line)) {
      if (!is_of_blocks(problem) || gates(problem) || problem.compute == Compute::f32) continue;
      if (problem.rows[0] * problem.columns > 60'000 || seen++ % 3 != 0) continue;
      expect_defined(problem, unsigned(++problems));
      if (testing::Test::HasFatalFailure()) return;
    }
  }
  EXPECT_GE(problems, 150);
}

TEST(LinearPrefillBlocks, ActivationsInFloatsOf16Bits) {
  for (const char* line :
       {"parts=q4_0,q4_1,q5_0,q5_1,q8_0 compute=f16,bf16 rows=19 columns=32,224,256 tokens=18 norm=rms bias=1",
        "parts=q4_k,q5_k,q6_k compute=f16,bf16 rows=33 columns=256,768 tokens=17 residual=1 activation=silu"}) {
    for (const LinearProblem& problem : cpu::expand_line(line)) {
      expect_defined(problem, 3);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

TEST(LinearPrefillBlocks, SeveralTilesAndWhatIsLeftOver) {
  for (const char* line : {"parts=q4_1 compute=i16,bf16 rows=137 columns=160 tokens=70 bias=1 residual=1",
                           "parts=q8_0 compute=i8,f16 rows=257 columns=96 tokens=65",
                           "parts=q6_k+q4_k:131 compute=i16 rows=5 columns=1280 tokens=64"}) {
    for (const LinearProblem& problem : cpu::expand_line(line)) expect_defined(problem, 7);
  }
}

// Every code of every format, against 1 alone: nothing but the sum of the scaled code and its minimum is rounded, and
// with integers the scale of 1, too.
TEST(LinearPrefillBlocks, EveryCodeIsExact) {
  for (const char* line :
       {"parts=q4_0,q4_1,q5_0,q5_1,q8_0,q4_k,q5_k,q6_k compute=i8,i16,f16,bf16 rows=16 columns=256 tokens=256"}) {
    for (const LinearProblem& problem : cpu::expand_line(line)) {
      SCOPED_TRACE(problem.text);
      LinearData linear(problem);
      std::fill(linear.x.begin(), linear.x.end(), 0.0f);
      for (size_t c = 0; c < 256; ++c) linear.x[c * 256 + c] = 1;
      const auto y = results(linear, 1);
      std::vector<float> weights(16 * 256);
      linear.sources[0]->read_rows_f32(0, 16, weights);
      double largest = 0;
      for (const float w : weights) largest = std::max(largest, double(std::abs(w)));
      for (size_t c = 0; c < 256; ++c) {
        for (size_t r = 0; r < 16; ++r) {
          const double w = weights[r * 256 + c], bound = cpu::is_integer(problem.compute) ? largest : std::abs(w);
          ASSERT_NEAR(y[c * 16 + r], w, 2.4e-7 * bound) << "column " << c << " row " << r;
        }
      }
    }
  }
}

// One shape of the instruction by itself: every product of codes is different.
TEST(MmaOfCodes, MultipliesWhatItShould) {
  emulated::launch({"mma", {1}, {32}, 0, 1}, [] {
    uint32_t a[4], b[2];
    const int group = int(lane()) / 4, first = 4 * (int(lane()) % 4);
    const auto number = [](int row, int column) { return uint32_t(uint8_t(row * 37 + column * 11)); };
    for (int i = 0; i < 4; ++i) {
      a[i] = 0;
      for (int j = 0; j < 4; ++j) a[i] |= number(group + i % 2 * 8, first + i / 2 * 16 + j) << (8 * j);
    }
    for (int i = 0; i < 2; ++i) {
      b[i] = 0;
      for (int j = 0; j < 4; ++j) b[i] |= number(first + i * 16 + j, group + 3) << (8 * j);
    }
    int plain[4] = {5, 5, 5, 5}, without_sign[4] = {};
    multiply_codes<false>(plain, a, b);
    multiply_codes<true>(without_sign, a, b);
    for (int i = 0; i < 4; ++i) {
      int expected = 5, expected_without = 0;
      for (int k = 0; k < 32; ++k) {
        const uint32_t x = number(group + i / 2 * 8, k), w = number(k, first / 2 + i % 2 + 3);
        expected += int(int8_t(x)) * int(int8_t(w));
        expected_without += int(x) * int(int8_t(w));
      }
      if (plain[i] != expected || without_sign[i] != expected_without) emulated::fault("a wrong product");
    }
  });
}

}  // namespace
}  // namespace lathe::backend::cuda
