// lathe.Linear of several rows on weights in f32_panel, without norm and gates: tiles of rows as they lie times panels.
#include <algorithm>

#include "backend/cpu/graph_attributes.h"
#include "backend/cpu/epilogue.h"
#include "backend/cpu/linear_steps.h"
#include "backend/cpu/tiers.h"

namespace lathe::backend {
namespace {

// Inputs of lathe.Linear, see op/lathe_linear.cpp.
constexpr size_t kX = 0, kResidual = 1, kWeights = 4, kBias = 5;
constexpr int64_t kMinRows = 4;  // fewer are bound by the weights' bytes: cpu.linear streams them
constexpr int64_t kPanel = 16;
constexpr int64_t kSums = cpu::kMaxTileRows * cpu::kMaxTilePanels * kPanel;

struct Prepared {
  int64_t rows, columns, outputs;
  cpu::Epilogue epilogue;  // the residual is added last
};

int64_t rows_of(const Problem& problem) {
  const ProblemValue& y = problem.outputs[0];
  return y.dims.back() == 0 ? 0 : y.size() / y.dims.back();
}

std::optional<std::string> fit(Problem& problem) {
  const op::Attributes& attributes = problem.attributes();
  if (!is_f32(problem.inputs[kX]) || problem.inputs[kWeights].layout != "f32_panel") return "not f32";
  if (attributes.get_int("parts", 1) != 1) return "several parts";
  if (attributes.get_string("norm", "none") != "none") return "a norm";
  if (!cpu::find_step(attributes.get_string("activation", "none"))) return "a gate";
  if (rows_of(problem) < kMinRows) return "few rows";
  for (ProblemValue& input : problem.inputs) input.order = Order::plain;
  return std::nullopt;
}

size_t scratch_size(const Problem& problem) {
  return size_t(kSums * problem.threads) * sizeof(float);
}

std::shared_ptr<const void> prepare(const Problem& problem) {
  auto p = std::make_shared<Prepared>();
  p->rows = rows_of(problem);
  p->columns = problem.inputs[kX].dims.back();
  p->outputs = problem.outputs[0].dims.back();
  const std::string activation = problem.attributes().get_string("activation", "none");
  p->epilogue = cpu::make_epilogue(*cpu::find_step(activation), problem.has_input(kResidual), cpu::isa_of(problem));
  return p;
}

void run(const GraphCall& call, TeamMember& member) noexcept {
  const auto& p = *static_cast<const Prepared*>(call.prepared);
  const cpu::ConvTier& tier = cpu::conv_tier(*call.problem);
  float* sums = reinterpret_cast<float*>(call.scratch) + kSums * member.index();
  const int64_t panels = (p.outputs + kPanel - 1) / kPanel;
  const int64_t stride = p.columns * kPanel;
  const bool by_rows = p.rows >= member.size() * 4 * cpu::kMaxTileRows;
  const auto [first_row, last_row] = by_rows ? member.share(p.rows, 24) : TeamMember::Range{0, p.rows};
  const auto [first_panel, last_panel] = by_rows ? TeamMember::Range{0, panels} : member.share(panels);
  const int64_t own_panels = last_panel - first_panel;
  const int64_t runs = (own_panels + tier.max_panels - 1) / tier.max_panels;
  // Rows that stay in the second cache while all panels pass.
  const int64_t block = std::max<int64_t>(24, (int64_t{256} << 10) / std::max<int64_t>(1, p.columns * 4) / 24 * 24);
  const float* bias = call.input(kBias);
  const float* residual = call.input(kResidual);
  const float* rows[cpu::kMaxTileRows];
  for (int64_t at = first_row; at < last_row; at += block) {
    const int64_t end = std::min(at + block, last_row);
    for (int64_t run = 0; run < runs; ++run) {
      const int64_t first = first_panel + own_panels * run / runs;
      const int64_t count = first_panel + own_panels * (run + 1) / runs - first;
      const int64_t tile_rows = tier.tile_rows[count];
      for (int64_t row = at; row < end; row += tile_rows) {
        const int64_t row_count = std::min(tile_rows, end - row);
        for (int64_t r = 0; r < row_count; ++r) rows[r] = call.input(kX) + (row + r) * p.columns;
        tier.tile({.rows = rows,
                   .row_count = row_count,
                   .taps = 1,
                   .columns = p.columns,
                   .panels = call.input(kWeights) + first * stride,
                   .panel_stride = stride,
                   .panel_count = count,
                   .sums = sums,
                   .sum_stride = count * kPanel});
        const int64_t feature = first * kPanel, at_y = row * p.outputs + feature;
        cpu::finish_rows(tier, p.epilogue,
                         {.sums = sums,
                          .sum_stride = count * kPanel,
                          .count = row_count,
                          .features = std::min(count * kPanel, p.outputs - feature),
                          .bias = bias ? bias + feature : nullptr,
                          .residual = residual ? residual + at_y : nullptr,
                          .y = call.output() + at_y,
                          .pitch = p.outputs});
      }
    }
  }
}

}  // namespace

const GraphKernel& product_graph_kernel() {
  static const GraphKernel kernel = {.name = "cpu.product",
                                     .ops = {"lathe.Linear"},
                                     .fit = fit,
                                     .scratch_size = scratch_size,
                                     .prepare = prepare,
                                     .run = run};
  return kernel;
}

}  // namespace lathe::backend
