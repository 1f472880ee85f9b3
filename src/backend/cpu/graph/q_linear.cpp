// lathe.QLinear: rows of bytes times packed bytes, in exact sums of integers.
#include <algorithm>
#include <cstring>

#include "backend/cpu/byte_epilogue.h"
#include "backend/cpu/byte_layouts.h"
#include "backend/cpu/tiers.h"
#include "op/quantized_product.h"

namespace lathe::backend {
namespace {

constexpr int64_t kPanel = 16;

struct Prepared {
  int64_t rows, columns, features;
  bool copies;  // rows that are no whole words of four are filled up
  const cpu::ByteTier* tier;
  cpu::ByteEpilogue epilogue;

  int64_t pitch() const { return (columns + 3) / 4 * 4; }
  int64_t sums() const { return cpu::most_rows(*tier) * cpu::kMaxBytePanels * kPanel; }  // of a member
};

Prepared sizes_of(const Problem& problem) {
  const ProblemValue& x = problem.inputs[op::kQX];
  Prepared p{};
  p.columns = x.dims.back();
  p.features = problem.inputs[op::kQWeights].dims[0];
  p.rows = tensor::element_count(std::span(x.dims).first(x.dims.size() - 1));
  p.copies = p.columns % 4 != 0;
  p.tier = &cpu::byte_tier(problem);
  return p;
}

std::optional<std::string> fit(Problem& problem) {
  if (!cpu::is_byte_panel(problem.inputs[op::kQWeights].layout)) return "weights that are not packed";
  for (ProblemValue& input : problem.inputs) input.order = Order::plain;
  return std::nullopt;
}

std::shared_ptr<const void> prepare(const Problem& problem) {
  auto p = std::make_shared<Prepared>(sizes_of(problem));
  p->epilogue = cpu::make_byte_epilogue(problem);
  return p;
}

// Of a member: numbers of the features, sums of a tile, rows filled up.
int64_t member_bytes(const Prepared& p) {
  const int64_t copied = p.copies ? p.pitch() * cpu::most_rows(*p.tier) : 0;
  return (cpu::feature_numbers_size(p.features) + p.sums() * 4 + copied + 63) / 64 * 64;
}

size_t scratch_size(const Problem& problem) {
  return size_t(member_bytes(sizes_of(problem)) * problem.threads);
}

// Panels [first, first + count) for rows [begin, end).
void multiply(const GraphCall& call, const Prepared& p, const cpu::FeatureNumbers& numbers, int32_t* sums,
              uint8_t* copied, cpu::TileShape* tiles, int64_t begin, int64_t end, int64_t first,
              int64_t count) noexcept {
  const cpu::ByteTier& tier = *p.tier;
  const uint8_t* rows[cpu::kMaxByteRows];
  const int64_t panel_stride = cpu::byte_panel_size(p.columns);
  const int8_t* panels = call.input<int8_t>(op::kQWeights) + cpu::byte_sums_size(p.features) + first * panel_stride;
  const int64_t tile_rows = tier.tile_rows[count];
  for (int64_t row = begin; row < end; row += tile_rows) {
    const int64_t row_count = std::min(tile_rows, end - row);
    for (int64_t r = 0; r < row_count; ++r) {
      rows[r] = call.input<uint8_t>(op::kQX) + (row + r) * p.columns;
      if (!p.copies) continue;
      std::memcpy(copied + r * p.pitch(), rows[r], size_t(p.columns));
      rows[r] = copied + r * p.pitch();
    }
    const cpu::ByteTileCall tile{.rows = rows,
                                 .row_count = row_count,
                                 .taps = 1,
                                 .columns = p.pitch(),
                                 .flip = p.epilogue.flip,
                                 .panels = panels,
                                 .panel_stride = panel_stride,
                                 .panel_count = count,
                                 .sums = sums,
                                 .sum_stride = count * kPanel,
                                 .weight_sums = call.input<int32_t>(op::kQWeights) + first * kPanel,
                                 .tiles = tiles};
    cpu::run_byte_tile(call, tier, p.epilogue, numbers, tile,
                       {.row = row,
                        .feature = first * kPanel,
                        .features = std::min(count * kPanel, p.features - first * kPanel),
                        .pitch = p.features,
                        .row_columns = p.columns});
  }
}

void run(const GraphCall& call, TeamMember& member) noexcept {
  const auto& p = *static_cast<const Prepared*>(call.prepared);
  if (p.rows == 0 || p.features == 0) return;
  const cpu::ByteTier& tier = *p.tier;
  std::byte* own = call.scratch + member_bytes(p) * member.index();
  const cpu::WeightSums weights{.first = call.inputs[op::kQWeights],
                                .group_stride = 0,
                                .features = p.features,
                                .columns = p.columns,
                                .raw = false};
  const cpu::FeatureNumbers numbers = cpu::fill_features(call, p.epilogue, weights, p.features, own);
  auto* sums = reinterpret_cast<int32_t*>(own + cpu::feature_numbers_size(p.features));
  auto* copied = reinterpret_cast<uint8_t*>(sums + p.sums());
  if (p.copies) std::memset(copied, 0, size_t(p.pitch() * cpu::most_rows(tier)));
  const int64_t panels = (p.features + kPanel - 1) / kPanel, grain = tier.grain;
  const bool by_rows = p.rows >= member.size() * 2 * grain || panels < member.size();
  const auto [first_row, last_row] = by_rows ? member.share(p.rows, grain) : TeamMember::Range{0, p.rows};
  const auto [first_panel, last_panel] = by_rows ? TeamMember::Range{0, panels} : member.share(panels);
  const int64_t own_panels = last_panel - first_panel;
  const int64_t together = cpu::run_panels(tier, cpu::byte_panel_size(p.columns));
  const int64_t runs = (own_panels + together - 1) / together;
  // Rows that stay in the second cache while all panels pass.
  const int64_t block = std::max(grain, tier.block_bytes / std::max<int64_t>(1, p.columns) / grain * grain);
  cpu::TileUse tiles(tier.release);
  for (int64_t at = first_row; at < last_row; at += block) {
    for (int64_t run = 0; run < runs; ++run) {
      const int64_t first = first_panel + own_panels * run / runs;
      const int64_t end = first_panel + own_panels * (run + 1) / runs;
      multiply(call, p, numbers, sums, copied, tiles.shape(), at, std::min(at + block, last_row), first, end - first);
    }
  }
}

}  // namespace

const GraphKernel& q_linear_graph_kernel() {
  static const GraphKernel kernel = {.name = "cpu.q_linear",
                                     .ops = {"lathe.QLinear"},
                                     .fit = fit,
                                     .scratch_size = scratch_size,
                                     .prepare = prepare,
                                     .run = run};
  return kernel;
}

}  // namespace lathe::backend
