// The lines of tests/op/linear.cases that drive the CPU's kernels, on the emulated device.
#include "backend/cuda/kernels/linear_decode.h"

#include <gtest/gtest.h>

#include "backend/cpu/linear_definition.h"

namespace lathe::backend::cuda {
namespace {

using cpu::Compute;
using cpu::Layout;
using cpu::LinearData;
using cpu::LinearProblem;
using emulated::Buffer;

constexpr int64_t kMostTokens = 5;  // one whole block of tokens and a part of one

bool is_plain(Layout layout) {
  return layout == Layout::f32_panel || layout == Layout::f16_panel || layout == Layout::bf16_panel;
}

template <class Format>
Buffer<typename Format::Stored> stored(const tensor::Source& source, const char* name) {
  std::vector<typename Format::Stored> elements(size_t(source.rows() * source.row_elements()));
  source.read_rows(0, source.rows(), std::as_writable_bytes(std::span(elements)));
  return {name, std::move(elements)};
}

template <class Format, int kTokens>
void launch_part(const LinearDecode<Format>& call, unsigned seed) {
  const emulated::Dim grid = {linear_decode_blocks(call.rows), unsigned((call.tokens + kTokens - 1) / kTokens)};
  const size_t shared = size_t(kTokens) * size_t(call.columns) * sizeof(float);
  emulated::launch({"linear_decode", grid, {kDecodeThreads}, shared, seed}, [&] {
    if (call.columns % Format::kInQuad == 0)
      linear_decode<Format, true, kTokens>(call);
    else
      linear_decode<Format, false, kTokens>(call);
  });
}

// One part of the problem into y.
template <class Format, int kTokens>
void run_part(const LinearData& linear, size_t part, int first, int tokens, Buffer<float>& y, unsigned seed) {
  const LinearProblem& p = linear.problem;
  Buffer<float> x("x", linear.x), scale("norm_scale", linear.norm_scale), norm_bias("norm_bias", linear.norm_bias);
  Buffer<float> bias("bias", linear.biases[part]), residual("residual", linear.residual);
  auto weights = stored<Format>(*linear.sources[part], "weights");
  LinearDecode<Format> call{};
  call.x = x;
  call.tokens = tokens;
  call.columns = int(p.columns);
  call.norm = NormKind(int(p.norm));
  if (p.norm != cpu::Norm::none) call.norm_scale = scale;
  if (!linear.norm_bias.empty()) call.norm_bias = norm_bias;
  call.epsilon = LinearData::kEpsilon;
  call.rounding = p.compute == Compute::f16    ? Rounding::f16
                  : p.compute == Compute::bf16 ? Rounding::bf16
                                               : Rounding::none;
  call.weights = weights;
  if (p.bias) call.bias = bias;
  call.rows = int(p.rows[part]);
  call.function = Function(int(p.activation));
  if (p.residual) call.residual = residual;
  call.y = y;
  call.y_stride = int(linear.outputs);
  call.y_first = first;
  if (!linear.gated()) return launch_part<Format, kTokens>(call, seed);
  auto gate = stored<Format>(*linear.sources[1], "gate");
  Buffer<float> gate_bias("gate_bias", linear.biases[1]);
  call.gate = gate;
  if (p.bias) call.gate_bias = gate_bias;
  launch_part<Format, kTokens>(call, seed);
}

template <int kTokens>
std::vector<float> run(const LinearData& linear, int tokens, unsigned seed) {
  Buffer<float> y("y", size_t(tokens * linear.outputs));
  int first = 0;
  for (size_t part = 0; part < (linear.gated() ? 1 : linear.sources.size()); ++part) {
    switch (linear.problem.layouts[part]) {
      case Layout::f32_panel:
        run_part<F32Format, kTokens>(linear, part, first, tokens, y, seed);
        break;
      case Layout::f16_panel:
        run_part<F16Format, kTokens>(linear, part, first, tokens, y, seed);
        break;
      default:
        run_part<Bf16Format, kTokens>(linear, part, first, tokens, y, seed);
        break;
    }
    first += int(linear.problem.rows[part]);
  }
  return y.elements();
}

// What emulation gets through, and this kernel takes.
bool taken(const LinearProblem& problem) {
  for (const Layout layout : problem.layouts) {
    if (!is_plain(layout) || (problem.activation >= cpu::Activation::silu_gate &&
                              problem.activation <= cpu::Activation::gelu_tanh_gate && layout != problem.layouts[0])) {
      return false;
    }
  }
  int64_t rows = 0;
  for (const int64_t r : problem.rows) rows += r;
  return problem.compute != Compute::i8 && problem.compute != Compute::i16 && rows * problem.columns <= 200'000;
}

TEST(LinearDecode, EqualsTheDefinition) {
  int problems = 0;
  for (const std::string& line : cpu::case_lines()) {
    if (line.starts_with("bench")) continue;
    for (LinearProblem problem : cpu::expand_line(line)) {
      if (!taken(problem)) continue;
      SCOPED_TRACE(problem.text);
      problem.tokens = std::min(problem.tokens, kMostTokens);
      const LinearData linear(problem);
      const auto expected = cpu::expect(linear);
      const auto found = run<kDecodeTokens>(linear, int(problem.tokens), unsigned(++problems));
      cpu::compare(linear, expected, found, problem.tokens);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
  EXPECT_GE(problems, 100);
}

// A token's bits do not depend on how many are with it.
TEST(LinearDecode, ATokenAloneHasTheSameBits) {
  for (const char* line : {"parts=bf16 compute=f32 columns=576 rows=33 tokens=5 norm=rms",
                           "parts=f16+f16 compute=f32 columns=96 rows=40 tokens=3 norm=layer activation=silu_gate"}) {
    const LinearData linear(cpu::expand_line(line).front());
    const int tokens = int(linear.problem.tokens);
    const auto together = run<kDecodeTokens>(linear, tokens, 1);
    EXPECT_EQ(together, run<1>(linear, tokens, 2));
    EXPECT_EQ(together, run<3>(linear, tokens, 3));
  }
}

}  // namespace
}  // namespace lathe::backend::cuda
