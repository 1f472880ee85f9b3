// Block-quantised weights on the emulated device: the lines of tests/op/linear.cases that drive the CPU's kernels, and
// more with activations in 16-bit floats.
#include "backend/cuda/kernels/linear_decode_blocks.h"

#include <gtest/gtest.h>

#include "backend/cuda/kernels/blocks_testing.h"

namespace lathe::backend::cuda {
namespace {

using cpu::Compute;
using cpu::LinearData;
using cpu::LinearProblem;
using emulated::Buffer;

constexpr int64_t kMostTokens = 5;

struct Run {
  const LinearData& linear;
  int tokens;
  unsigned seed;
  int split = 0;        // 0: as the rule says
  unsigned blocks = 0;  // 0: as many as have work
};

template <class Shape, class Numbers, int kTokens>
void launch(const Run& run, LinearDecodeBlocks& call) {
  call.split = run.split > 0 ? run.split : decode_split(call.rows, call.columns);
  const emulated::Dim grid = {run.blocks > 0 ? run.blocks : decode_blocks(call.rows, call.split),
                              unsigned((call.tokens + kTokens - 1) / kTokens)};
  const size_t shared = size_t(sums_bytes(kTokens) + kTokens * token_bytes(call.columns, Numbers::kBytes));
  emulated::launch({"linear_decode_blocks", grid, {kDecodeThreads}, shared, run.seed},
                   [&] { linear_decode_blocks<Shape, Numbers, kTokens>(call); });
}

template <int kTokens>
void launch_shape(const Run& run, cpu::Layout layout, LinearDecodeBlocks& call) {
  with_shape(layout, [&](auto shape) {
    using Shape = decltype(shape);
    switch (run.linear.problem.compute) {
      case Compute::i8:
        return launch<Shape, IntegerNumbers<8>, kTokens>(run, call);
      case Compute::i16:
        return launch<Shape, IntegerNumbers<16>, kTokens>(run, call);
      default:
        return launch<Shape, FloatNumbers, kTokens>(run, call);
    }
  });
}

template <int kTokens>
std::vector<float> results(const Run& run) {
  const LinearData& linear = run.linear;
  const LinearProblem& p = linear.problem;
  Buffer<float> x("x", linear.x), scale("norm_scale", linear.norm_scale), norm_bias("norm_bias", linear.norm_bias);
  Buffer<float> residual("residual", linear.residual), y("y", size_t(run.tokens * linear.outputs));
  LinearDecodeBlocks call{};
  call.x = x;
  call.tokens = run.tokens;
  call.columns = int(p.columns);
  call.norm.kind = NormKind(int(p.norm));
  if (p.norm != cpu::Norm::none) call.norm.scale = scale;
  if (!linear.norm_bias.empty()) call.norm.bias = norm_bias;
  call.norm.epsilon = LinearData::kEpsilon;
  call.rounding = p.compute == Compute::f16    ? Rounding::f16
                  : p.compute == Compute::bf16 ? Rounding::bf16
                                               : Rounding::none;
  call.function = Function(int(p.activation));
  if (p.residual) call.residual = residual;
  call.y = y;
  call.y_stride = int(linear.outputs);
  for (size_t part = 0; part < (linear.gated() ? 1 : linear.sources.size()); ++part) {
    Buffer<uint8_t> weights = packed_weights(*linear.sources[part], "weights");
    Buffer<uint8_t> gate = packed_weights(*linear.sources[linear.gated() ? 1 : 0], "gate");
    Buffer<float> bias("bias", linear.biases[part]), gate_bias("gate_bias", linear.biases[linear.gated() ? 1 : 0]);
    call.weights = weights;
    if (linear.gated()) call.gate = gate;
    if (p.bias) call.bias = bias;
    if (p.bias && linear.gated()) call.gate_bias = gate_bias;
    call.rows = int(p.rows[part]);
    launch_shape<kTokens>(run, p.layouts[part], call);
    call.y_first += call.rows;
  }
  return y.elements();
}

// Norms, functions, bias and residual do not depend on the shape of blocks, so every problem of the file is not needed:
// one in three of them, in turn.
TEST(LinearDecodeBlocks, EqualsTheDefinition) {
  int seen = 0, problems = 0;
  for (const std::string& line : cpu::case_lines()) {
    if (line.starts_with("bench")) continue;
    for (LinearProblem problem : cpu::expand_line(line)) {
      if (!is_of_blocks(problem) || problem.rows[0] * problem.columns > 60'000 || seen++ % 3 != 0) continue;
      SCOPED_TRACE(problem.text);
      problem.tokens = std::min(problem.tokens, kMostTokens);
      const LinearData linear(problem);
      const int tokens = int(problem.tokens);
      cpu::compare(linear, cpu::expect(linear), results<4>({linear, tokens, unsigned(++problems)}), tokens);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
  EXPECT_GE(problems, 250);
}

TEST(LinearDecodeBlocks, RoundsToFloatsOf16Bits) {
  for (const char* line : {"parts=q4_0,q4_1,q5_0,q5_1,q8_0 compute=f16,bf16 rows=17 columns=224 tokens=2 norm=rms",
                           "parts=q4_k,q5_k,q6_k compute=f16,bf16 rows=9 columns=512 tokens=2 residual=1"}) {
    for (const LinearProblem& problem : cpu::expand_line(line)) {
      SCOPED_TRACE(problem.text);
      const LinearData linear(problem);
      cpu::compare(linear, cpu::expect(linear), results<2>({linear, 2, 5}), 2);
    }
  }
}

// A token's bits depend neither on how many are with it nor on how many blocks share the work.
TEST(LinearDecodeBlocks, ATokenAloneHasTheSameBits) {
  for (const char* line :
       {"parts=q4_1 compute=i16 columns=576 rows=33 tokens=3 norm=rms",
        "parts=q4_k+q4_k compute=f32 columns=512 rows=40 tokens=3 norm=layer activation=silu_gate"}) {
    const LinearData linear(cpu::expand_line(line).front());
    const auto together = results<4>({linear, 3, 1});
    EXPECT_EQ(together, results<1>({linear, 3, 2}));
    EXPECT_EQ(together, results<2>({linear, 3, 3, 0, 1}));
  }
}

TEST(LinearDecodeBlocks, WarpsShareColumns) {
  const LinearData linear(
      cpu::expand_line("parts=q6_k compute=i16 columns=1024 rows=41 tokens=2 bias=1 residual=1").front());
  const auto expected = cpu::expect(linear);
  for (const int split : {1, 2, 4, 8}) {
    SCOPED_TRACE(split);
    cpu::compare(linear, expected, results<2>({linear, 2, unsigned(split), split, 2}), 2);
  }
  EXPECT_EQ(decode_split(576, 576), 4);
  EXPECT_EQ(decode_split(4096, 4096), 4);
  EXPECT_EQ(decode_split(49152, 576), 1);
  EXPECT_EQ(decode_split(8, 32), 1);
  EXPECT_EQ(decode_blocks(100, 8), 13u);
  EXPECT_EQ(decode_blocks(100, 2), 4u);
}

// What cannot be a number shows in the results.
TEST(LinearDecodeBlocks, NanAndInfinityAreNotRoundedAway) {
  for (const char* line : {"parts=q4_0 compute=i8,i16,f32 columns=64 rows=8 tokens=1"}) {
    for (const LinearProblem& problem : cpu::expand_line(line)) {
      for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
        LinearData linear(problem);
        linear.x[40] = bad;
        for (const float y : results<1>({linear, 1, 1})) EXPECT_FALSE(std::isfinite(y));
      }
    }
  }
}

}  // namespace
}  // namespace lathe::backend::cuda
