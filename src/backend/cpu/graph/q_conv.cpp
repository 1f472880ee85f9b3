// lathe.QConv over channels-last bytes: an indirect convolution like cpu.conv's, in exact sums of integers. Depthwise
// convolutions go position by position over all channels.
#include <algorithm>
#include <cstring>

#include "backend/cpu/byte_epilogue.h"
#include "backend/cpu/byte_layouts.h"
#include "backend/cpu/conv_windows.h"
#include "backend/cpu/tiers.h"
#include "op/quantized_product.h"

namespace lathe::backend {
namespace {

constexpr int64_t kPanel = 16;
constexpr int64_t kGatherChannels = 16;  // fewer than that are gathered to one long row

using cpu::kMaxTaps;
using Position = cpu::WindowPosition;

struct Prepared : cpu::ConvWindows {
  bool depthwise = false;
  bool gather = false;  // also where channels are no whole words of four
  cpu::ByteEpilogue epilogue;
  const cpu::ByteTier* tier;

  int64_t gather_pitch() const { return (columns() + 3) / 4 * 4; }
};

std::optional<std::string> fit(Problem& problem) {
  const ProblemValue& w = problem.inputs[op::kQWeights];
  if (!cpu::is_byte_panel(w.layout) && w.layout != cpu::kByteDepthwise) return "weights that are not packed";
  problem.inputs[op::kQX].order = Order::channels_last;
  if (problem.has_input(op::kQResidual)) problem.inputs[op::kQResidual].order = Order::channels_last;
  problem.outputs[0].order = Order::channels_last;
  return std::nullopt;
}

std::shared_ptr<const void> prepare(const Problem& problem) {
  auto p = std::make_shared<Prepared>();
  const ProblemValue& w = problem.inputs[op::kQWeights];
  static_cast<cpu::ConvWindows&>(*p) = cpu::conv_windows(problem, problem.inputs[op::kQX], w);
  p->depthwise = w.layout == cpu::kByteDepthwise;
  p->gather = p->channels % 4 != 0 || (p->channels < kGatherChannels && p->taps > 1);
  p->epilogue = cpu::make_byte_epilogue(problem);
  p->tier = &cpu::byte_tier(problem);
  return p;
}

// A member's own memory.
struct MemberMemory {
  cpu::FeatureNumbers numbers;
  uint8_t* padding;  // a row of x's zero point
  int32_t* sums;     // of a tile, or of all channels of a position
  uint8_t* gathered;
  int16_t* weight_zeros;  // as pairs of taps, for depthwise ones
  cpu::TileShape* tiles;
};
struct MemorySizes {
  int64_t numbers, padding, sums, gathered, weight_zeros;
  int64_t total() const { return numbers + padding + sums + gathered + weight_zeros; }
};
int64_t rounded(int64_t bytes) {
  return (bytes + 63) / 64 * 64;
}
MemorySizes memory_sizes(const Problem& problem) {
  const ProblemValue& w = problem.inputs[op::kQWeights];
  const int64_t features = w.dims[0], columns = features == 0 ? 0 : w.size() / features;
  const bool depthwise = w.layout == cpu::kByteDepthwise;
  const int64_t rows = cpu::most_rows(cpu::byte_tier(problem));
  const int64_t pitch = (features + 15) / 16 * 16;
  MemorySizes sizes{};
  sizes.numbers = rounded(cpu::feature_numbers_size(features));
  sizes.padding = rounded(problem.inputs[op::kQX].dims[1] + 64);
  sizes.sums = depthwise ? rounded(pitch * 4) : rows * cpu::kMaxBytePanels * kPanel * 4;
  sizes.gathered = depthwise ? 0 : rounded((columns + 4) * rows + cpu::kGatherChunk<uint8_t>);
  sizes.weight_zeros = depthwise ? (columns + 1) / 2 * pitch * 4 : 0;
  return sizes;
}

size_t scratch_size(const Problem& problem) {
  return size_t(memory_sizes(problem).total() * problem.threads);
}

MemberMemory member_memory(const GraphCall& call, const Prepared& p, int member) noexcept {
  const MemorySizes sizes = memory_sizes(*call.problem);
  std::byte* at = call.scratch + sizes.total() * member;
  const auto take = [&](int64_t bytes) {
    std::byte* taken = at;
    at += bytes;
    return taken;
  };
  MemberMemory memory{};
  std::byte* numbers = take(sizes.numbers);
  memory.padding = reinterpret_cast<uint8_t*>(take(sizes.padding));
  memory.sums = reinterpret_cast<int32_t*>(take(sizes.sums));
  memory.gathered = reinterpret_cast<uint8_t*>(take(sizes.gathered));
  memory.weight_zeros = reinterpret_cast<int16_t*>(take(sizes.weight_zeros));
  const cpu::WeightSums sums{
      .first = call.inputs[op::kQWeights],
      .group_stride = p.depthwise ? 0 : cpu::byte_group_size(p.features, p.columns()),
      .features = p.depthwise ? p.all_features() : p.features,
      .columns = p.columns(),
      .raw = p.depthwise,
  };
  memory.numbers = cpu::fill_features(call, p.epilogue, sums, p.all_features(), numbers);
  std::memset(memory.padding, cpu::x_zero_byte(call), size_t(sizes.padding));
  if (p.gather) std::memset(memory.gathered, 0, size_t(sizes.gathered));
  return memory;
}

// Output positions [begin, end) and runs of panels [run_begin, run_end) of a group.
void run_block(const GraphCall& call, const Prepared& p, const MemberMemory& memory, int64_t group, int64_t begin,
               int64_t end, int64_t run_begin, int64_t run_end, int64_t runs) noexcept {
  const uint8_t* rows[kMaxTaps * cpu::kMaxByteRows];
  Position positions[cpu::kMaxByteRows];
  const int64_t panels = (p.features + kPanel - 1) / kPanel;
  const int64_t panel_stride = cpu::byte_panel_size(p.columns());
  const uint8_t* x = call.input<uint8_t>(op::kQX) + group * p.channels;
  const uint8_t* end_of_x = call.input<uint8_t>(op::kQX) + call.problem->inputs[op::kQX].size();
  const int8_t* sums = call.input<int8_t>(op::kQWeights) + group * cpu::byte_group_size(p.features, p.columns());
  const int8_t* weights = sums + cpu::byte_sums_size(p.features);
  for (int64_t run = run_begin; run < run_end; ++run) {
    const cpu::PanelRun part = cpu::panel_run(panels, run, runs);
    const int64_t tile_rows = p.tier->tile_rows[part.count];
    Position last{};
    for (int64_t row = begin; row < end; row += tile_rows) {
      const int64_t count = std::min(tile_rows, end - row);
      if (!p.matrix || p.gather) {
        positions[0] = row == begin ? cpu::position_of(p, row) : cpu::next_position(p, last);
        for (int64_t r = 1; r < count; ++r) positions[r] = cpu::next_position(p, positions[r - 1]);
        last = positions[count - 1];
      }
      if (p.gather) {
        cpu::gather_rows(p, positions, count, x, end_of_x, memory.padding[0], p.gather_pitch(), memory.gathered, rows);
      } else if (p.matrix) {
        for (int64_t r = 0; r < count; ++r) rows[r] = x + (row + r) * p.all_channels();
      } else {
        cpu::find_rows(p, positions, count, x, memory.padding, rows);
      }
      const cpu::ByteTileCall tile{.rows = rows,
                                   .row_count = count,
                                   .taps = p.gather ? 1 : p.taps,
                                   .columns = p.gather ? p.gather_pitch() : p.channels,
                                   .flip = p.epilogue.flip,
                                   .panels = weights + part.first * panel_stride,
                                   .panel_stride = panel_stride,
                                   .panel_count = part.count,
                                   .sums = memory.sums,
                                   .sum_stride = part.count * kPanel,
                                   .weight_sums = reinterpret_cast<const int32_t*>(sums) + part.first * kPanel,
                                   .tiles = memory.tiles};
      const int64_t feature = part.first * kPanel;
      cpu::run_byte_tile(call, *p.tier, p.epilogue, memory.numbers, tile,
                         {.row = row,
                          .feature = group * p.features + feature,
                          .features = std::min(part.count * kPanel, p.features - feature),
                          .pitch = p.all_features(),
                          .row_columns = p.gather ? p.columns() : p.channels});
    }
  }
}

// Zero points of weights in pairs of taps, 0 behind the last tap.
void fill_pairs(const Prepared& p, const MemberMemory& memory) noexcept {
  const int64_t channels = p.all_channels(), pitch = (channels + 15) / 16 * 16;
  for (int64_t t = 0; t < (p.taps + 1) / 2 * 2; ++t) {
    for (int64_t c = 0; c < pitch; ++c) {
      const bool there = t < p.taps && c < channels;
      memory.weight_zeros[(t / 2 * pitch + c) * 2 + t % 2] =
          there ? int16_t(memory.numbers.weight_zeros[c]) : int16_t(0);
    }
  }
}

void run_depthwise(const GraphCall& call, const Prepared& p, const MemberMemory& memory, int64_t begin,
                   int64_t end) noexcept {
  const uint8_t* rows[kMaxTaps + 1];
  rows[p.taps] = memory.padding;
  const int64_t channels = p.all_channels(), pitch = (channels + 15) / 16 * 16;
  if (memory.numbers.has_weight_zeros) fill_pairs(p, memory);
  Position position = cpu::position_of(p, begin);
  bool was_inside = false;
  for (int64_t row = begin; row < end; ++row) {
    if (row > begin) position = cpu::next_position(p, position);
    const bool inside_now = cpu::is_inside(p, position);
    if (inside_now && was_inside && position.index[2] > 0) {  // the neighbour sees the same, one step further
      for (int64_t t = 0; t < p.taps; ++t) rows[t] += p.strides[2] * channels;
    } else {
      cpu::find_rows(p, &position, 1, call.input<uint8_t>(op::kQX), memory.padding, rows);
    }
    was_inside = inside_now;
    p.tier->depthwise({.rows = rows,
                       .is_signed = p.epilogue.flip,
                       .weights = reinterpret_cast<const int16_t*>(call.inputs[op::kQWeights] + pitch * 4),
                       .weight_stride = pitch,
                       .weight_zeros = memory.numbers.has_weight_zeros ? memory.weight_zeros : nullptr,
                       .pairs = (p.taps + 1) / 2,
                       .count = channels,
                       .sums = memory.sums});
    cpu::finish_byte_row(call, *p.tier, p.epilogue, memory.numbers, memory.sums,
                         {.row = row, .feature = 0, .features = channels, .pitch = channels, .row_columns = 0});
  }
}

// Whether members take positions each and not runs of panels: what leaves the slowest of them fewer tiles.
bool shares_positions(const Prepared& p, int64_t runs, int64_t members) noexcept {
  const int64_t grain = p.tier->grain;
  const int64_t rows = p.tier->tile_rows[p.tier->max_panels];
  const auto tiles = [&](int64_t positions) { return (positions + rows - 1) / rows; };
  const int64_t grains = (p.positions + grain - 1) / grain;
  const int64_t most = std::min((grains + members - 1) / members * grain, p.positions);
  return tiles(most) * runs <= tiles(p.positions) * ((runs + members - 1) / members);
}

void run(const GraphCall& call, TeamMember& member) noexcept {
  const auto& p = *static_cast<const Prepared*>(call.prepared);
  if (p.positions == 0 || p.features == 0) return;
  MemberMemory memory = member_memory(call, p, member.index());
  if (p.depthwise) {
    const auto [begin, end] = member.share(p.positions);
    return run_depthwise(call, p, memory, begin, end);
  }
  cpu::TileUse tiles(p.tier->release);
  memory.tiles = tiles.shape();
  const int64_t panels = (p.features + kPanel - 1) / kPanel, grain = p.tier->grain;
  const int64_t together = cpu::run_panels(*p.tier, cpu::byte_panel_size(p.columns()));
  const int64_t runs = (panels + together - 1) / together;
  const bool by_positions = shares_positions(p, runs, member.size());
  const auto [begin, end] = by_positions ? member.share(p.positions, grain) : TeamMember::Range{0, p.positions};
  const auto [run_begin, run_end] = by_positions ? TeamMember::Range{0, runs} : member.share(runs);
  // Blocks of positions whose inputs stay in the second cache while all features are made of them.
  const int64_t row_bytes = std::max<int64_t>(p.columns() / std::max<int64_t>(1, p.kernel[1]), 1);
  const int64_t block = std::max(grain, p.tier->block_bytes / row_bytes / grain * grain);
  for (int64_t group = 0; group < p.group; ++group) {
    for (int64_t at = begin; at < end; at += block) {
      run_block(call, p, memory, group, at, std::min(at + block, end), run_begin, run_end, runs);
    }
  }
}

}  // namespace

const GraphKernel& q_conv_graph_kernel() {
  static const GraphKernel kernel = {.name = "cpu.q_conv",
                                     .ops = {"lathe.QConv"},
                                     .fit = fit,
                                     .scratch_size = scratch_size,
                                     .prepare = prepare,
                                     .run = run};
  return kernel;
}

}  // namespace lathe::backend
