// Tensor-core products on the emulated device: the lines of tests/op/linear.cases whose weights and activations are
// 16-bit floats, and the two instructions by themselves.
#include "backend/cuda/kernels/linear_prefill.h"

#include <gtest/gtest.h>

#include "backend/cpu/linear_definition.h"

namespace lathe::backend::cuda {
namespace {

using cpu::Compute;
using cpu::Layout;
using cpu::LinearData;
using cpu::LinearProblem;
using emulated::Buffer;

bool taken(const LinearProblem& p) {
  const bool bf16 = p.compute == Compute::bf16, f16 = p.compute == Compute::f16;
  const bool gated = p.activation >= cpu::Activation::silu_gate && p.activation <= cpu::Activation::gelu_tanh_gate;
  if ((!bf16 && !f16) || p.norm != cpu::Norm::none || gated || p.columns % kDepth != 0) return false;
  return std::all_of(p.layouts.begin(), p.layouts.end(),
                     [&](Layout layout) { return layout == (bf16 ? Layout::bf16_panel : Layout::f16_panel); });
}

std::vector<float> run(const LinearData& linear, unsigned seed) {
  const LinearProblem& p = linear.problem;
  const bool bf16 = p.compute == Compute::bf16;
  std::vector<uint16_t> narrow;
  for (const float x : linear.x) narrow.push_back(bf16 ? to_bf16(x) : to_f16(x));
  Buffer<uint16_t> x("x", narrow);
  Buffer<float> residual("residual", linear.residual), y("y", size_t(p.tokens * linear.outputs));
  int first = 0;
  for (size_t part = 0; part < linear.sources.size(); ++part) {
    const tensor::Source& source = *linear.sources[part];
    std::vector<uint16_t> numbers(size_t(source.rows() * source.row_elements()));
    source.read_rows(0, source.rows(), std::as_writable_bytes(std::span(numbers)));
    Buffer<uint16_t> weights("weights", numbers);
    Buffer<float> bias("bias", linear.biases[part]);
    LinearPrefill call{};
    call.x = x;
    call.weights = weights;
    call.tokens = int(p.tokens);
    call.rows = int(p.rows[part]);
    call.columns = int(p.columns);
    if (p.bias) call.bias = bias;
    call.function = Function(int(p.activation));
    if (p.residual) call.residual = residual;
    call.y = y;
    call.y_stride = int(linear.outputs);
    call.y_first = first;
    const emulated::Dim grid = {unsigned((call.rows + kTile - 1) / kTile), unsigned((call.tokens + kTile - 1) / kTile)};
    emulated::launch({"linear_prefill", grid, {kPrefillThreads}, kStages * kStageNumbers * sizeof(uint16_t), seed},
                     [&] {
                       if (bf16)
                         linear_prefill<true>(call);
                       else
                         linear_prefill<false>(call);
                     });
    first += call.rows;
  }
  return y.elements();
}

TEST(LinearPrefill, EqualsTheDefinition) {
  int problems = 0;
  for (const std::string& line : cpu::case_lines()) {
    if (line.starts_with("bench")) continue;
    for (const LinearProblem& problem : cpu::expand_line(line)) {
      if (!taken(problem) || problem.rows[0] * problem.columns > 60'000) continue;
      SCOPED_TRACE(problem.text);
      const LinearData linear(problem);
      cpu::compare(linear, cpu::expect(linear), run(linear, unsigned(++problems)), problem.tokens);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
  EXPECT_GE(problems, 10);
}

TEST(LinearPrefill, SeveralTilesAndWhatIsLeftOver) {
  for (const char* line : {"parts=f16 compute=f16 rows=130 columns=96 tokens=70 bias=1 residual=1 activation=gelu",
                           "parts=bf16 compute=bf16 rows=64 columns=32 tokens=65"}) {
    const LinearData linear(cpu::expand_line(line).front());
    cpu::compare(linear, cpu::expect(linear), run(linear, 9), linear.problem.tokens);
  }
}

// Rows of other columns than the one that is meant would show: every number is different.
TEST(Ldmatrix, GivesEveryLaneItsNumbers) {
  emulated::launch({"ldmatrix", {1}, {32}, 0, 1}, [] {
    LATHE_SHARED(uint16_t, numbers, 4 * 64);
    for (int i = int(lane()); i < 4 * 64; i += 32) numbers[i] = uint16_t(i);
    sync_warp();
    uint32_t plain[4], transposed[4];
    load_matrices<4>(numbers, int64_t(lane()) * 8, plain);
    load_matrices<4, true>(numbers, int64_t(lane()) * 8, transposed);
    for (unsigned m = 0; m < 4; ++m) {
      const unsigned row = lane() / 4, column = lane() % 4 * 2, first = m * 64 + row * 8 + column;
      if (plain[m] != (first | (first + 1) << 16)) emulated::fault("a wrong number");
      const unsigned there = m * 64 + column * 8 + row;
      if (transposed[m] != (there | (there + 8) << 16)) emulated::fault("a wrong transposed number");
    }
  });
}

}  // namespace
}  // namespace lathe::backend::cuda
