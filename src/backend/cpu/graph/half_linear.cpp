// lathe.Linear on 16-bit weights (half_layouts.h), without norm and gates: rows, rounded to bf16 where that is asked
// for, times panels.
#include <algorithm>

#include "backend/cpu/epilogue.h"
#include "backend/cpu/graph_attributes.h"
#include "backend/cpu/half_layouts.h"
#include "backend/cpu/half_rows.h"
#include "backend/cpu/linear_steps.h"

namespace lathe::backend {
namespace {

// Inputs of lathe.Linear, see op/lathe_linear.cpp.
constexpr size_t kX = 0, kResidual = 1, kWeights = 4, kBias = 5;
constexpr int64_t kPanel = 16;

struct Prepared {
  int64_t rows, outputs;
  cpu::HalfRows x;
  cpu::HalfPanels panels;
  const cpu::HalfTileForm* form;
  cpu::Epilogue epilogue;  // the residual is added last

  int64_t sums() const { return cpu::most_rows(*form) * cpu::kMaxTilePanels * kPanel; }  // of a member
};

std::optional<std::string> fit(Problem& problem) {
  const op::Attributes& attributes = problem.attributes();
  const std::string_view layout = problem.inputs[kWeights].layout;
  if (layout != cpu::kLinearBf16 && layout != cpu::kLinearF16) return "weights that are not in 16 bits";
  if (!is_f32(problem.inputs[kX])) return "x that is not f32";
  if (attributes.get_string("norm", "none") != "none") return "a norm";
  if (!cpu::find_step(attributes.get_string("activation", "none"))) return "a gate";
  for (ProblemValue& input : problem.inputs) input.order = Order::plain;
  return std::nullopt;
}

Prepared sizes_of(const Problem& problem) {
  Prepared p{};
  const ProblemValue& y = problem.outputs[0];
  const int64_t columns = problem.inputs[kX].dims.back();
  p.outputs = y.dims.back();
  p.rows = p.outputs == 0 ? 0 : y.size() / p.outputs;
  p.x = cpu::half_rows(problem, columns, true);
  p.panels = cpu::half_panels(p.outputs, 1, columns, p.x.form);
  p.form = &cpu::half_tile_form(cpu::isa_of(problem), p.x.form);
  return p;
}

std::shared_ptr<const void> prepare(const Problem& problem) {
  auto p = std::make_shared<Prepared>(sizes_of(problem));
  const std::string activation = problem.attributes().get_string("activation", "none");
  p->epilogue = cpu::make_epilogue(*cpu::find_step(activation), problem.has_input(kResidual), cpu::isa_of(problem));
  return p;
}

size_t scratch_size(const Problem& problem) {
  const Prepared p = sizes_of(problem);
  return size_t(p.x.bytes(p.rows)) + size_t(p.sums() * problem.threads) * sizeof(float);
}

// Rows [begin, end) times panels [first, first + count).
void run_panels(const GraphCall& call, const Prepared& p, const std::byte* x, float* sums, cpu::TileShape* tiles,
                int64_t begin, int64_t end, int64_t first, int64_t count) noexcept {
  const int64_t tile_rows = p.form->tile_rows[count];
  const int64_t row_bytes = p.x.pitch * p.x.number_bytes();
  const int64_t stride = p.panels.panel_numbers();
  const float* bias = call.input(kBias);
  const float* residual = call.input(kResidual);
  const void* rows[cpu::kMaxHalfRows];
  for (int64_t row = begin; row < end; row += tile_rows) {
    const int64_t row_count = std::min(tile_rows, end - row);
    for (int64_t r = 0; r < row_count; ++r) rows[r] = x + (row + r) * row_bytes;
    p.form->tile({.rows = rows,
                  .row_count = row_count,
                  .taps = 1,
                  .steps = p.panels.steps,
                  .panels = call.input<uint16_t>(kWeights) + first * stride,
                  .panel_stride = stride,
                  .panel_count = count,
                  .sums = sums,
                  .sum_stride = count * kPanel,
                  .tiles = tiles});
    const int64_t feature = first * kPanel, at_y = row * p.outputs + feature;
    cpu::finish_rows(cpu::conv_tier(*call.problem), p.epilogue,
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

void run(const GraphCall& call, TeamMember& member) noexcept {
  const auto& p = *static_cast<const Prepared*>(call.prepared);
  const std::byte* x = call.inputs[kX];
  float* sums = reinterpret_cast<float*>(call.scratch + p.x.bytes(p.rows)) + p.sums() * member.index();
  if (p.x.copied()) {
    const auto [first, end] = member.share(p.rows);
    cpu::copy_rows(cpu::half_tier(*call.problem), p.x, call.input(kX), first, end, call.scratch);
    x = call.scratch;
    member.barrier();
  }
  const int64_t panels = p.panels.panels(), grain = p.form->grain;
  const bool by_rows = p.rows >= member.size() * 2 * grain;
  const auto [first_row, last_row] = by_rows ? member.share(p.rows, grain) : TeamMember::Range{0, p.rows};
  const auto [first_panel, last_panel] = by_rows ? TeamMember::Range{0, panels} : member.share(panels);
  const int64_t own = last_panel - first_panel;
  const int64_t together = cpu::run_panels(*p.form, p.panels.panel_numbers() * 2);
  const int64_t runs = (own + together - 1) / together;
  // Rows that stay in the second cache while all panels pass.
  const int64_t row_bytes = std::max<int64_t>(1, p.x.pitch * p.x.number_bytes());
  const int64_t block = std::max(grain, p.form->block_bytes / row_bytes / grain * grain);
  cpu::TileUse tiles(p.form->release);
  for (int64_t at = first_row; at < last_row; at += block) {
    for (int64_t run = 0; run < runs; ++run) {
      const int64_t first = first_panel + own * run / runs, next = first_panel + own * (run + 1) / runs;
      run_panels(call, p, x, sums, tiles.shape(), at, std::min(at + block, last_row), first, next - first);
    }
  }
}

}  // namespace

const GraphKernel& half_linear_graph_kernel() {
  static const GraphKernel kernel = {.name = "cpu.half_linear",
                                     .ops = {"lathe.Linear"},
                                     .fit = fit,
                                     .scratch_size = scratch_size,
                                     .prepare = prepare,
                                     .run = run};
  return kernel;
}

}  // namespace lathe::backend
