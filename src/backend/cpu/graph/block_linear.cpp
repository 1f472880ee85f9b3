// lathe.BlockLinear: many rows on panels of codes that are decoded to f32 once for all of them, few rows on the codes
// as they are.
#include <algorithm>

#include "backend/cpu/block_layouts.h"
#include "backend/cpu/block_products.h"
#include "backend/cpu/products.h"
#include "backend/cpu/tiers.h"

namespace lathe::backend {
namespace {

enum Input : size_t { kX, kCodes, kScales, kZeros };
constexpr int64_t kPanel = 16;
constexpr int64_t kFewRows = 12;                       // decoding costs about what a dozen rows do
constexpr int64_t kDecodedBytes = int64_t{512} << 10;  // of panels that are decoded at once: half of the second cache

struct Prepared {
  int64_t rows, columns, outputs, block;
  int64_t panel_run;  // panels that are decoded at once
  bool halves;
  float shift;

  int64_t blocks() const { return (columns + block - 1) / block; }
};

const cpu::BlockTier& tier_of(const Problem& problem) noexcept {
  return cpu::isa_of(problem) == cpu::Isa::avx2 ? cpu::avx2::kBlockTier : cpu::avx512::kBlockTier;
}

std::optional<std::string> fit(Problem& problem) {
  if (problem.inputs[kCodes].layout != cpu::kCodePanel || problem.inputs[kScales].layout != cpu::kBlockPanel) {
    return "weights that are not packed";
  }
  if (problem.has_input(kZeros) && problem.inputs[kZeros].layout != cpu::kBlockPanel)
    return "zeros that are not packed";
  for (ProblemValue& input : problem.inputs) input.order = Order::plain;
  return std::nullopt;
}

Prepared sizes_of(const Problem& problem) {
  const ProblemValue& x = problem.inputs[kX];
  Prepared p{};
  p.columns = x.dims.back();
  p.rows = tensor::element_count(std::span(x.dims).first(x.dims.size() - 1));
  p.outputs = problem.inputs[kCodes].dims[0];
  p.block = problem.attributes().get_int("block_size", 1);
  p.halves = cpu::is_half_byte(problem.inputs[kCodes].dtype);
  p.shift = float(cpu::code_shift(problem.inputs[kCodes].dtype));
  const int64_t panels = kDecodedBytes / std::max<int64_t>(1, p.columns * kPanel * 4);
  p.panel_run = std::clamp<int64_t>(panels, 1, cpu::conv_tier(problem).max_panels);
  return p;
}

std::shared_ptr<const void> prepare(const Problem& problem) {
  return std::make_shared<Prepared>(sizes_of(problem));
}

// Of a member: decoded panels and the sums of a tile.
int64_t member_floats(const Prepared& p) {
  const int64_t decoded = p.rows > kFewRows ? p.panel_run * p.columns * kPanel : 0;
  return decoded + std::max(cpu::kTileFloats, cpu::kMaxBlockRows * kPanel);
}

size_t scratch_size(const Problem& problem) {
  return size_t(member_floats(sizes_of(problem)) * problem.threads) * sizeof(float);
}

cpu::BlockPanel panel_of(const GraphCall& call, const Prepared& p, int64_t panel) noexcept {
  const int64_t numbers = panel * p.blocks() * kPanel;
  const float* zeros = call.input(kZeros);
  return {.codes = call.input<uint8_t>(kCodes) + panel * p.columns * kPanel / (p.halves ? 2 : 1),
          .halves = p.halves,
          .scales = call.input(kScales) + numbers,
          .zeros = zeros ? zeros + numbers : nullptr,
          .shift = p.shift,
          .columns = p.columns,
          .block = p.block};
}

void run_few(const GraphCall& call, const Prepared& p, int64_t first, int64_t end, float* sums) noexcept {
  for (int64_t panel = first; panel < end; ++panel) {
    const int64_t outputs = std::min(kPanel, p.outputs - panel * kPanel);
    for (int64_t row = 0; row < p.rows; row += cpu::kMaxBlockRows) {
      const int64_t count = std::min(cpu::kMaxBlockRows, p.rows - row);
      tier_of(*call.problem)
          .rows({.panel = panel_of(call, p, panel),
                 .x = call.input(kX) + row * p.columns,
                 .x_stride = p.columns,
                 .row_count = count,
                 .sums = sums});
      for (int64_t r = 0; r < count; ++r) {
        std::copy(sums + r * kPanel, sums + r * kPanel + outputs,
                  call.output() + (row + r) * p.outputs + panel * kPanel);
      }
    }
  }
}

void run_many(const GraphCall& call, const Prepared& p, int64_t first, int64_t end, float* own) noexcept {
  float* decoded = own;
  float* sums = decoded + p.panel_run * p.columns * kPanel;
  for (int64_t panel = first; panel < end; panel += p.panel_run) {
    const int64_t count = std::min(p.panel_run, end - panel);
    for (int64_t i = 0; i < count; ++i) {
      tier_of(*call.problem).decode(panel_of(call, p, panel + i), decoded + i * p.columns * kPanel);
    }
    cpu::multiply_panels(cpu::conv_tier(*call.problem), {.a = call.input(kX),
                                                         .a_stride = p.columns,
                                                         .rows = p.rows,
                                                         .k = p.columns,
                                                         .n = std::min(count * kPanel, p.outputs - panel * kPanel),
                                                         .panels = decoded,
                                                         .first = 0,
                                                         .end = count,
                                                         .y = call.output() + panel * kPanel,
                                                         .y_stride = p.outputs,
                                                         .sums = sums});
  }
}

void run(const GraphCall& call, TeamMember& member) noexcept {
  const auto& p = *static_cast<const Prepared*>(call.prepared);
  if (p.rows == 0) return;
  float* own = reinterpret_cast<float*>(call.scratch) + member_floats(p) * member.index();
  const auto [first, end] = member.share((p.outputs + kPanel - 1) / kPanel);
  return p.rows > kFewRows ? run_many(call, p, first, end, own) : run_few(call, p, first, end, own);
}

}  // namespace

const GraphKernel& block_linear_graph_kernel() {
  static const GraphKernel kernel = {.name = "cpu.block_linear",
                                     .ops = {"lathe.BlockLinear"},
                                     .fit = fit,
                                     .scratch_size = scratch_size,
                                     .prepare = prepare,
                                     .run = run};
  return kernel;
}

}  // namespace lathe::backend
